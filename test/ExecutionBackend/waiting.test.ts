import { assert, describe, it } from "@effect/vitest"
import type { Duration } from "effect"
import { Deferred, Effect, Fiber, FiberSet, Layer, Logger, ManagedRuntime, Schema, Stream, TestClock } from "effect"
import { ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import { TaskEvent } from "effect-rhapsody/TaskState"
import { executables, functions, idle, nothingLeft, Program, turns } from "../support.js"

const Outer = Task.function("Outer", { success: Schema.Number })
const Inner = Task.function("Inner", { success: Schema.Number })

const layerOf = (handler: Effect.Effect<number, never, ExecutionBackend.Any>, concurrency = 1) =>
  Layer.provideMerge(
    Layer.merge(
      Outer.toLayer(() => handler),
      Inner.toLayer(() => Effect.as(Effect.yieldNow(), 1))
    ),
    functions(concurrency)
  )

/** What a handler has at hand to wait with. */
interface Given {
  /** A task of another submitter. It is queued, for the handler has the one slot. */
  readonly other: TaskFiber.TaskFiber<number, unknown>
  /** Runs an effect outside of Effect: from a promise or a callback. */
  readonly runPromise: <A>(effect: Effect.Effect<A, unknown, any>) => Promise<A>
}

const inner = Effect.suspend(() => ExecutionBackend.execute(Inner.make())) as Effect.Effect<number, unknown, any>
const later = <A>(then: () => A) => new Promise<A>((resolve) => setTimeout(() => resolve(then()), 1))

const ways: Record<string, (given: Given) => Effect.Effect<unknown, unknown, ExecutionBackend.Any>> = {
  "a promise of execute": ({ runPromise }) => Effect.promise(() => runPromise(inner)),
  "a promise of execute, after others": ({ runPromise }) =>
    Effect.promise(async () => {
      await later(() => {})
      await runPromise(inner)
      return runPromise(Effect.zipRight(Effect.sleep(1), inner))
    }),
  "a promise of execute in a forked fiber": ({ runPromise }) =>
    Effect.promise(() => runPromise(Effect.flatMap(Effect.fork(inner), Fiber.join))),
  "a callback that executes": ({ runPromise }) =>
    Effect.async<number>((resume) => {
      setImmediate(() => runPromise(inner).then((value) => resume(Effect.succeed(value))))
    }),
  "Fiber.join": ({ other }) => Fiber.join(other),
  "yield*": ({ other }) => other,
  "Fiber.await": ({ other }) => Fiber.await(other),
  "Fiber.joinAll": ({ other }) => Fiber.joinAll([other]),
  "a race with a join": ({ other }) => Effect.raceFirst(Fiber.join(other), Effect.never),
  "a join with a timeout": ({ other }) => Effect.timeout(Fiber.join(other), "1 hour"),
  "a join in a fiber": ({ other }) => Effect.flatMap(Effect.fork(Fiber.join(other)), Fiber.join),
  "a join in a FiberSet": ({ other }) =>
    Effect.scoped(
      Effect.gen(function* () {
        const set = yield* FiberSet.make()
        yield* FiberSet.run(set, Fiber.join(other))
        yield* FiberSet.awaitEmpty(set)
      })
    ),
  "a promise of a join": ({ other, runPromise }) => Effect.promise(() => runPromise(Fiber.join(other))),
  awaitAll: () => ExecutionBackend.awaitAll(),
  "awaitAll with a timeout": () => ExecutionBackend.awaitAll({ timeout: "1 hour", failFast: true }),
  "a promise of awaitAll": ({ runPromise }) => Effect.promise(() => runPromise(ExecutionBackend.awaitAll()))
}

describe("a handler that waits for tasks of its backend, which has one slot, gives its slot up", () => {
  for (const [name, wait] of Object.entries(ways)) {
    it.live(`through ${name}`, () =>
      Effect.gen(function* () {
        const other = yield* Deferred.make<TaskFiber.TaskFiber<number, unknown>>()
        let given: Given["runPromise"] | undefined
        const handler = Effect.flatMap(Deferred.await(other), (other) => wait({ other, runPromise: given! })).pipe(
          Effect.as(2),
          Effect.orDie
        )
        const runtime = ManagedRuntime.make(layerOf(handler))
        given = runtime.runPromise as Given["runPromise"]
        const program = Effect.gen(function* () {
          const outer = yield* ExecutionBackend.submit(Outer.make())
          const queued = yield* ExecutionBackend.submit(Inner.make())
          assert.strictEqual(yield* TaskFiber.state(queued), "READY")
          yield* Deferred.succeed(other, queued)
          assert.deepStrictEqual(yield* Fiber.joinAll([outer, queued]), [2, 1])
          assert.deepStrictEqual(yield* idle, nothingLeft)
        })
        yield* Effect.promise(() => runtime.runPromise(program))
        yield* Effect.promise(() => runtime.dispose())
      })
    )
  }

  it.effect("and counts again when the wait is over, also when it was interrupted", () =>
    Effect.gen(function* () {
      const hold = yield* Deferred.make<void>()
      const other = yield* Deferred.make<TaskFiber.TaskFiber<number, unknown>>()
      const waits = yield* Deferred.make<void>()
      const stop = yield* Deferred.make<void>()
      const handler = Effect.gen(function* () {
        const fiber = yield* Effect.fork(Fiber.join(yield* Deferred.await(other)))
        yield* Deferred.await(waits)
        yield* Fiber.interrupt(fiber)
        yield* Deferred.await(stop)
        return 2
      })
      const Held = Task.function("Held", { success: Schema.Number })
      const held = Held.toLayer(() => Effect.as(Deferred.await(hold), 3))
      yield* Effect.gen(function* () {
        const outer = yield* ExecutionBackend.submit(Outer.make())
        const [second, third] = yield* Effect.replicateEffect(ExecutionBackend.submit(Held.make()), 2)
        yield* Deferred.succeed(other, second!)
        while ((yield* TaskFiber.state(second!)) !== "EXECUTING") yield* Effect.yieldNow()
        yield* Deferred.succeed(waits, undefined)
        yield* turns
        yield* Deferred.succeed(hold, undefined)
        yield* Fiber.join(second!)
        // the handler has its slot again, although the task that it waited for has ended
        yield* turns
        assert.deepStrictEqual([yield* TaskFiber.state(outer), yield* TaskFiber.state(third!)], ["EXECUTING", "READY"])
        yield* Deferred.succeed(stop, undefined)
        yield* Fiber.joinAll([outer, third!])
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(Layer.provideMerge(held, layerOf(handler))))
    })
  )
})

describe("awaitAll in a handler does not wait for", () => {
  /** Handlers call it, all at once; each ends when it has its answer. */
  const answers = (outers: number, before: Effect.Effect<unknown, never, ExecutionBackend.Any> = Effect.void) =>
    Effect.gen(function* () {
      let started = 0
      const all = yield* Deferred.make<void>()
      const seen: Array<ReadonlyArray<string>> = []
      const handler = Effect.gen(function* () {
        if (++started === outers) yield* Deferred.succeed(all, undefined)
        yield* Deferred.await(all)
        yield* before
        seen.push([...(yield* Effect.orDie(ExecutionBackend.awaitAll())).keys()])
        return 2
      })
      return { seen, layer: layerOf(handler, outers) }
    })

  it.effect("its own task, nor for another that waits for it", () =>
    Effect.gen(function* () {
      const { layer, seen } = yield* answers(3)
      yield* Effect.gen(function* () {
        const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(Outer.make()), 3)
        yield* Fiber.joinAll(fibers)
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(layer))
      // the first waits for the two others, which do not wait for it
      assert.strictEqual(seen.length, 3)
      assert.isTrue(seen.every((uids) => uids.length < 3))
    })
  )

  it.effect("the task that submitted its own", () =>
    Effect.gen(function* () {
      const { layer, seen } = yield* answers(1)
      const Parent = Task.function("Parent", { success: Schema.Number })
      const parent = Parent.toLayer(() => Effect.orDie(ExecutionBackend.execute(Outer.make())))
      const program = Effect.gen(function* () {
        assert.strictEqual(yield* ExecutionBackend.execute(Parent.make()), 2)
      })
      yield* Effect.provide(program, Layer.provideMerge(parent, layer))
      assert.deepStrictEqual(seen, [[]])
    })
  )
})

describe("what a handler only wakes", () => {
  for (const [name, fork] of Object.entries({
    "the caller itself": <A, E, R>(effect: Effect.Effect<A, E, R>) => effect,
    "a younger fiber": <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.flatMap(Effect.fork(effect), Fiber.join)
  })) {
    it.effect(`does not become a part of its task: ${name} submits on its own account`, () =>
      Effect.gen(function* () {
        const woken = yield* Deferred.make<void>()
        const woke = yield* Deferred.make<void>()
        const stop = yield* Deferred.make<void>()
        const handler = Effect.zipRight(
          Effect.zipRight(
            Effect.zipRight(Deferred.await(woken), Deferred.succeed(woke, undefined)),
            Deferred.await(stop)
          ),
          Effect.succeed(2)
        )
        yield* Effect.gen(function* () {
          const outer = yield* ExecutionBackend.submit(Outer.make())
          while ((yield* TaskFiber.state(outer)) !== "EXECUTING") yield* Effect.yieldNow()
          yield* turns
          const queued = yield* fork(
            Effect.zipRight(
              Deferred.succeed(woken, undefined),
              Effect.zipRight(Deferred.await(woke), ExecutionBackend.submit(Inner.make()))
            )
          )
          yield* turns
          // as a child of the handler's it would run now
          assert.strictEqual(yield* TaskFiber.state(queued), "READY")
          yield* Deferred.succeed(stop, undefined)
          yield* Fiber.joinAll([outer, queued])
        }).pipe(Effect.provide(layerOf(handler)))
      })
    )
  }
})

describe("a standstill", () => {
  /** A handler that waits in a way that the backend does not know of, with the one slot, and a task behind it. */
  const stuck = (before: Effect.Effect<unknown>) =>
    Effect.gen(function* () {
      const other = yield* Deferred.make<number>()
      const handler = Effect.zipRight(before, Deferred.await(other))
      const start = Effect.gen(function* () {
        const outer = yield* ExecutionBackend.submit(Outer.make(undefined, { uid: "outer" }))
        const queued = yield* ExecutionBackend.submit(Inner.make(undefined, { uid: "inner" }))
        yield* turns
        return { outer, queued }
      })
      return { other, layer: layerOf(handler), start }
    })
  const standstills = Effect.gen(function* () {
    const seen: Array<TaskEvent> = []
    const events = yield* ExecutionBackend.events
    yield* Effect.forkScoped(
      Stream.runForEach(events, (event) => Effect.sync(() => event._tag === "Standstill" && seen.push(event)))
    )
    return seen
  })
  const pass = (time: Duration.DurationInput) =>
    Effect.zipRight(TestClock.adjust(time), Effect.repeatN(Effect.yieldNow(), 50))
  const standstill = Effect.map(ExecutionBackend.state, ({ standstill }) => standstill)

  it.scoped("is an event, a line in the log and in the state, once, until something moves", () => {
    const log: Array<string> = []
    const logger = Logger.make(({ message }) => log.push(String(message)))
    return Effect.gen(function* () {
      const { layer, other, start } = yield* stuck(Effect.void)
      yield* Effect.gen(function* () {
        const seen = yield* standstills
        const { outer, queued } = yield* start
        yield* pass("29 seconds")
        assert.deepStrictEqual([seen, yield* standstill], [[], undefined])
        yield* pass("31 seconds")
        const event = { _tag: "Standstill" as const, backend: "functions", tasks: ["outer"], queued: 1, time: 60_000 }
        assert.deepStrictEqual([seen, yield* standstill], [[event], ["outer"]])
        assert.strictEqual(log.length, 1)
        assert.include(log[0], "Backend functions stands still: 1 tasks wait for a slot")
        assert.deepStrictEqual(yield* Schema.decode(TaskEvent)(event), event)
        yield* pass("10 minutes")
        assert.deepStrictEqual([seen.length, log.length], [1, 1])
        yield* Deferred.succeed(other, 2)
        assert.deepStrictEqual(yield* Fiber.joinAll([outer, queued]), [2, 1])
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(layer))
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })

  it.scoped("is none while a handler runs now and then, or a slot is held by something other than a handler", () =>
    Effect.gen(function* () {
      const polling = yield* stuck(Effect.repeatN(Effect.sleep("20 seconds"), 9))
      yield* Effect.gen(function* () {
        const seen = yield* standstills
        yield* polling.start
        yield* pass("200 seconds")
        assert.deepStrictEqual([seen, yield* standstill], [[], undefined])
        yield* pass("1 minute")
        assert.deepStrictEqual([seen.length, yield* standstill], [1, ["outer"]])
      }).pipe(Effect.provide(polling.layer))
      yield* Effect.gen(function* () {
        const seen = yield* standstills
        yield* Effect.replicateEffect(ExecutionBackend.submit(Program.make()), 2)
        yield* pass("10 minutes")
        assert.deepStrictEqual([seen, yield* standstill], [[], undefined])
      }).pipe(Effect.provide(executables(() => Effect.never)))
    })
  )
})
