import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Deferred,
  Effect,
  Exit,
  Fiber,
  FiberMap,
  FiberRef,
  FiberSet,
  FiberStatus,
  HashMap,
  Inspectable,
  Layer,
  Option,
  Runtime,
  Schema,
  Supervisor
} from "effect"
import { Driver, ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import { executables, functions, held, idle, nothingLeft, ok, Program } from "../support.js"

const Count = Task.function("Count", { payload: { values: Schema.Array(Schema.Number) }, success: Schema.Number })
const CountLive = Count.toLayer(({ values }) => (values.length === 0 ? Effect.never : Effect.succeed(values.length)))
const count = (...values: ReadonlyArray<number>) => ExecutionBackend.submit(Count.make({ values }))

describe("a task's fiber is a fiber", () => {
  it.effect("join, joinAll, zip, map, poll, awaitAll, race", () =>
    Effect.gen(function* () {
      const [a, b, never] = yield* Effect.all([count(1), count(1, 2), count()])
      assert.deepStrictEqual(yield* Fiber.joinAll([a, b]), [1, 2])
      assert.deepStrictEqual(yield* Fiber.join(Fiber.zip(a, b)), [1, 2])
      assert.strictEqual(yield* Fiber.join(Fiber.map(a, (n) => n + 1)), 2)
      assert.strictEqual((yield* Fiber.awaitAll([a, b])).length, 2)
      assert.isTrue(Option.isNone(yield* Fiber.poll(never)))
      assert.isTrue(Fiber.isFiber(never) && TaskFiber.isTaskFiber(never))
      assert.isTrue(Fiber.isRuntimeFiber(never))
      assert.strictEqual(yield* Effect.raceFirst(never, a), 1)
      assert.strictEqual(yield* a, 1)
    }).pipe(Effect.provide([CountLive, functions(4)]))
  )

  it.effect("Fiber.interruptAll ends what runs and leaves what has ended", () =>
    Effect.gen(function* () {
      const [a, never] = yield* Effect.all([count(1), count()])
      yield* a
      yield* Fiber.interruptAll([never, a])
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(never)))
      assert.strictEqual(yield* TaskFiber.state(never), "CANCELED")
      assert.strictEqual(yield* TaskFiber.state(a), "COMPLETED")
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide([CountLive, functions(2)]))
  )

  it.effect("Fiber.status is suspended, then done", () =>
    Effect.gen(function* () {
      const fiber = yield* count()
      yield* Effect.yieldNow()
      assert.isTrue(FiberStatus.isSuspended(yield* Fiber.status(fiber)))
      yield* Fiber.interrupt(fiber)
      assert.isTrue(FiberStatus.isDone(yield* Fiber.status(fiber)))
    }).pipe(Effect.provide([CountLive, functions(1)]))
  )

  it.scoped("FiberSet and FiberMap interrupt it and wait for it", () =>
    Effect.gen(function* () {
      const [inSet, inMap] = yield* Effect.all([count(), count()])
      yield* Effect.scoped(
        Effect.gen(function* () {
          const set = yield* FiberSet.make<number, unknown>()
          const map = yield* FiberMap.make<string, number, unknown>()
          yield* FiberSet.add(set, inSet)
          yield* FiberMap.set(map, "a", inMap)
          assert.strictEqual(yield* FiberSet.size(set), 1)
        })
      )
      assert.strictEqual(yield* TaskFiber.state(inSet), "CANCELED")
      assert.strictEqual(yield* TaskFiber.state(inMap), "CANCELED")
      const done = yield* count(1)
      const set = yield* FiberSet.make<number, unknown>()
      yield* FiberSet.add(set, done)
      yield* FiberSet.awaitEmpty(set)
      assert.strictEqual(yield* TaskFiber.state(done), "COMPLETED")
    }).pipe(Effect.provide([CountLive, functions(4)]))
  )

  it.effect("a Supervisor sees it start and end", () =>
    Effect.gen(function* () {
      const supervisor = yield* Supervisor.track
      const fiber = yield* Effect.supervised(count(), supervisor)
      yield* Effect.yieldNow()
      const seen = yield* supervisor.value
      assert.isTrue(seen.some((other) => other.id() === fiber.id()))
      yield* Fiber.interrupt(fiber)
      assert.isFalse((yield* supervisor.value).some((other) => other.id() === fiber.id()))
    }).pipe(Effect.provide([CountLive, functions(1)]))
  )

  it.effect("the end of the caller does not touch a submitted task; a timeout of submit does not kill it", () =>
    Effect.gen(function* () {
      const handed = yield* Deferred.make<TaskFiber.TaskFiber<number, unknown>>()
      const caller = yield* Effect.fork(
        Effect.flatMap(count(), (fiber) => Effect.zipRight(Deferred.succeed(handed, fiber), Effect.never))
      )
      const fiber = yield* Deferred.await(handed)
      yield* Fiber.interrupt(caller)
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      const timed = yield* count().pipe(Effect.timeout("1 second"))
      yield* Effect.yieldNow()
      assert.isTrue(Option.isNone(yield* Fiber.poll(timed)))
    }).pipe(Effect.provide([CountLive, functions(4)]))
  )

  it.effect(
    "it runs with the submitter's fiber refs, log annotations and span, not those of the handler's layer",
    () => {
      const Seen = Task.function("Seen", { success: Schema.String })
      const ref = FiberRef.unsafeMake("unset")
      const handler = Seen.toLayer(() =>
        Effect.gen(function* () {
          const notes = yield* Effect.logAnnotations
          const span = yield* Effect.option(Effect.currentSpan)
          const own = yield* FiberRef.get(ref)
          return [Option.getOrNull(HashMap.get(notes, "run")), Option.getOrNull(span)?.name ?? null, own].join(" ")
        })
      )
      return Effect.scoped(
        Effect.gen(function* () {
          const context = yield* Layer.build(Layer.merge(functions(1), handler)).pipe(Effect.withSpan("building"))
          const seen = Effect.provide(ExecutionBackend.execute(Seen.make()), context)
          assert.strictEqual(
            yield* seen.pipe(
              Effect.annotateLogs("run", "r1"),
              Effect.withSpan("workflow"),
              Effect.locally(ref, "mine")
            ),
            "r1 workflow mine"
          )
          assert.strictEqual(yield* seen, "  unset")
        })
      )
    }
  )

  it.effect("inspection of instances and fibers shows no payload and no secret", () => {
    const Secret = Task.function("Secret", { payload: { password: Schema.String }, success: Schema.Void })
    return Effect.gen(function* () {
      const instance = Secret.make({ password: "hunter2" }, { uid: "s1" })
      const fiber = yield* ExecutionBackend.submit(instance)
      yield* Effect.yieldNow()
      for (const value of [instance, fiber, { fiber }, [instance]]) {
        for (const text of [inspect(value, { depth: 10 }), JSON.stringify(value), Inspectable.toStringUnknown(value)]) {
          assert.notInclude(text, "hunter2")
          assert.include(text, "Secret")
        }
      }
      assert.notInclude(String(instance), "hunter2")
      assert.deepStrictEqual(JSON.parse(JSON.stringify(fiber)), {
        _id: "effect-rhapsody/TaskFiber",
        uid: "s1",
        task: "Secret",
        state: "EXECUTING"
      })
    }).pipe(Effect.provide([functions(1), Secret.toLayer(() => Effect.never)]))
  })
})

describe("who owns the fiber", () => {
  it.scoped("submitScoped: the caller's scope", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.scoped(
        Effect.gen(function* () {
          const fiber = yield* ExecutionBackend.submitScoped(Count.make({ values: [] }))
          yield* Effect.yieldNow()
          assert.strictEqual(yield* TaskFiber.state(fiber), "EXECUTING")
          return fiber
        })
      )
      assert.strictEqual(yield* TaskFiber.state(fiber), "CANCELED")
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide([CountLive, functions(1)]))
  )

  it.effect("execute: the caller itself, whose interruption waits until the work has stopped", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      let stopped = false
      const Slow = Task.function("Slow", {})
      const slow = Slow.toLayer(() =>
        Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
          Effect.onInterrupt(() =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => {
                stopped = true
              })
            )
          )
        )
      )
      yield* Effect.gen(function* () {
        const caller = yield* Effect.fork(ExecutionBackend.execute(Slow.make()))
        yield* Deferred.await(started)
        const exit = yield* Fiber.interrupt(caller)
        assert.isTrue(Exit.isInterrupted(exit))
        assert.isTrue(stopped)
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide([slow, functions(1)]))
    })
  )

  it.effect("execute of a task that another fiber cancels fails typed and does not interrupt the caller", () =>
    Effect.gen(function* () {
      const program = yield* held
      yield* Effect.gen(function* () {
        const caller = yield* Effect.fork(Effect.flip(ExecutionBackend.execute(Program.make(undefined, { uid: "x" }))))
        yield* program.started
        assert.isTrue(yield* ExecutionBackend.cancel("x"))
        const error = yield* Fiber.join(caller)
        assert.isTrue(error instanceof TaskError && error.reason === "Canceled")
      }).pipe(Effect.provide(executables(() => program.run)))
    })
  )
})

// The moments at which a task can be asked to stop, and both ways to ask it.
describe("each end gives its slot back once", () => {
  const ways = {
    "cancel by uid": (fiber: TaskFiber.TaskFiber<string, unknown>) => ExecutionBackend.cancel(fiber.uid),
    "cancel of the fiber": (fiber: TaskFiber.TaskFiber<string, unknown>) => ExecutionBackend.cancel(fiber),
    "Fiber.interrupt": (fiber: TaskFiber.TaskFiber<string, unknown>) => Effect.as(Fiber.interrupt(fiber), true)
  }
  for (const [way, end] of Object.entries(ways)) {
    const check = (fiber: TaskFiber.TaskFiber<string, unknown>) =>
      Effect.gen(function* () {
        const exit = yield* Fiber.await(fiber)
        assert.strictEqual(yield* TaskFiber.state(fiber), "CANCELED")
        if (way === "Fiber.interrupt") assert.isTrue(Exit.isInterrupted(exit), String(exit))
        else {
          assert.isTrue(Exit.isFailure(exit))
          const causes = Exit.isFailure(exit) ? [...Cause.failures(exit.cause)] : []
          assert.deepStrictEqual(
            causes.map((error) => error instanceof TaskError && error.reason),
            ["Canceled"]
          )
          assert.isFalse(Exit.isInterrupted(exit))
        }
      })

    for (const concurrency of [1, "unbounded"] as const) {
      it.effect(`${way}, before its fiber has run (${concurrency})`, () =>
        Effect.gen(function* () {
          let ran = false
          yield* Effect.gen(function* () {
            const fiber = yield* ExecutionBackend.submit(Program.make())
            assert.isTrue(yield* end(fiber))
            yield* check(fiber)
            assert.isFalse(ran)
            assert.deepStrictEqual(yield* idle, nothingLeft)
          }).pipe(
            Effect.provide(
              executables(
                () =>
                  Effect.suspend(() => {
                    ran = true
                    return ok
                  }),
                { concurrency }
              )
            )
          )
        })
      )
    }

    it.effect(`${way}, waiting for a slot`, () =>
      Effect.gen(function* () {
        const first = yield* held
        yield* Effect.gen(function* () {
          const running = yield* ExecutionBackend.submit(Program.make())
          yield* first.started
          const fiber = yield* ExecutionBackend.submit(Program.make())
          yield* Effect.yieldNow()
          assert.strictEqual(yield* TaskFiber.state(fiber), "READY")
          assert.isTrue(yield* end(fiber))
          yield* check(fiber)
          assert.deepStrictEqual(yield* idle, { ...nothingLeft, active: 1, status: "RUNNING" })
          yield* first.release
          assert.strictEqual(yield* running, "ok")
          assert.deepStrictEqual(yield* idle, nothingLeft)
        }).pipe(Effect.provide(executables(() => first.run)))
      })
    )

    it.effect(`${way}, given a slot and not yet running`, () =>
      Effect.gen(function* () {
        const first = yield* held
        const ran: Array<string> = []
        yield* Effect.gen(function* () {
          const running = yield* ExecutionBackend.submit(Program.make(undefined, { uid: "first" }))
          yield* first.started
          const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { uid: "second" }))
          yield* Effect.yieldNow()
          // The observer runs in the very step in which the first task gives its slot to the second.
          const reported = yield* Deferred.make<Fiber.Fiber<boolean, unknown>>()
          const runtime = yield* Effect.runtime<ExecutionBackend.Any>()
          running.addObserver(() => {
            const { active, queued } = Runtime.runSync(runtime)(idle)
            assert.deepStrictEqual({ active, queued }, { active: 1, queued: 0 })
            Deferred.unsafeDone(reported, Effect.succeed(Runtime.runFork(runtime)(end(fiber))))
          })
          yield* first.release
          yield* Effect.flatMap(Deferred.await(reported), Fiber.join)
          yield* check(fiber)
          assert.deepStrictEqual(ran, ["first"])
          assert.deepStrictEqual(yield* idle, nothingLeft)
          assert.strictEqual(yield* ExecutionBackend.execute(Program.make()), "ok")
        }).pipe(
          Effect.provide(
            executables(({ uid }) =>
              Effect.suspend(() => {
                ran.push(uid)
                return first.run
              })
            )
          )
        )
      })
    )

    it.effect(`${way}, running`, () =>
      Effect.gen(function* () {
        let stopped = 0
        const first = yield* held
        yield* Effect.gen(function* () {
          const fiber = yield* ExecutionBackend.submit(Program.make())
          const next = yield* ExecutionBackend.submit(Program.make(undefined, { uid: "next" }))
          yield* first.started
          assert.isTrue(yield* end(fiber))
          assert.strictEqual(stopped, 1)
          yield* check(fiber)
          yield* first.release
          assert.strictEqual(yield* next, "ok")
          assert.deepStrictEqual(yield* idle, nothingLeft)
        }).pipe(
          Effect.provide(
            executables(() =>
              Effect.onInterrupt(first.run, () =>
                Effect.zipRight(
                  Effect.yieldNow(),
                  Effect.sync(() => void stopped++)
                )
              )
            )
          )
        )
      })
    )

    it.effect(`${way}, waiting for another attempt`, () =>
      Effect.gen(function* () {
        const attempts: Array<number> = []
        yield* Effect.gen(function* () {
          const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { retry: { times: 3 } }))
          while ((yield* TaskFiber.state(fiber)) !== "WAITING") yield* Effect.yieldNow()
          assert.deepStrictEqual(yield* idle, { ...nothingLeft, status: "RUNNING", waiting: 1 })
          assert.isTrue(yield* end(fiber))
          yield* check(fiber)
          assert.deepStrictEqual(attempts, [1])
          assert.deepStrictEqual(yield* idle, nothingLeft)
        }).pipe(
          Effect.provide(
            executables(({ attempt }) =>
              Effect.sync(() => {
                attempts.push(attempt)
                return Driver.Outcome.exited({ exitCode: 1 })
              })
            )
          )
        )
      })
    )
  }

  it.effect("a result that was there first wins over a cancel", () =>
    Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(Program.make())
      assert.strictEqual(yield* fiber, "ok")
      assert.isFalse(yield* ExecutionBackend.cancel(fiber))
      assert.isFalse(yield* ExecutionBackend.cancel(fiber.uid))
      assert.strictEqual(yield* TaskFiber.state(fiber), "COMPLETED")
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.effect("cancel of an unknown uid is false; cancelAll counts", () =>
    Effect.gen(function* () {
      assert.isFalse(yield* ExecutionBackend.cancel("unknown"))
      const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(Program.make()), 5)
      assert.strictEqual(yield* ExecutionBackend.cancelAll, 5)
      const exits = yield* Fiber.awaitAll(fibers)
      assert.isTrue(exits.every((exit) => Exit.isFailure(exit) && Chunk.size(Cause.failures(exit.cause)) === 1))
      assert.strictEqual(yield* ExecutionBackend.cancelAll, 0)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(executables(() => Effect.never, { concurrency: 2 })))
  )

  it.effect("a backend that cannot stop work says so, and the work goes on", () =>
    Effect.gen(function* () {
      const program = yield* held
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Program.make())
        yield* program.started
        const error = yield* Effect.flip(ExecutionBackend.cancel(fiber.uid))
        assert.strictEqual(error.reason, "CancelUnsupported")
        assert.strictEqual(yield* ExecutionBackend.cancelAll, 0)
        yield* program.release
        assert.strictEqual(yield* fiber, "ok")
      }).pipe(Effect.provide(executables(() => program.run, { cancelable: false })))
    })
  )
})
