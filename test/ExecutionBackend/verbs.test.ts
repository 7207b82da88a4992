import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  Deferred,
  Duration,
  Effect,
  Either,
  Exit,
  Fiber,
  Layer,
  Option,
  Ref,
  Schedule,
  Schema,
  Scope,
  Stream,
  TestClock
} from "effect"
import { Backend, Driver, ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import { BackendError, ConfigurationError, TaskError } from "effect-rhapsody/Errors"
import { executables, functions, held, idle, isChange, nothingLeft, ok, Program, turns } from "../support.js"

const program = (uid?: string, options: Task.Options = {}) =>
  Program.make(undefined, uid === undefined ? options : { ...options, uid })
const programs = (count: number, prefix = "u") => Array.from({ length: count }, (_, i) => program(`${prefix}${i}`))

const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.zipRight(Effect.yieldNow(), until(condition))))
/** As long as anything may still happen by itself. */
const settle = turns

const pending = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Effect.map(Fiber.poll(fiber), (exit) => assert.isTrue(Option.isNone(exit), "has ended"))

const reasonOf = (error: unknown) =>
  error instanceof TaskError || error instanceof BackendError || error instanceof ConfigurationError
    ? error.reason
    : error
const endOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isSuccess(exit) ? exit.value : Exit.isInterrupted(exit) ? "interrupted" : reasonOf(Cause.squash(exit.cause))

const never = (options: Backend.Options = {}, driver: Partial<Driver.SlotDriver<"executable">> = {}) =>
  executables(() => Effect.never, { concurrency: "unbounded", ...driver }, options)

const closedState = { ...nothingLeft, status: "SHUTDOWN" as never }

describe("submitMany", () => {
  it.effect("answers in the order of input, each with its fiber or its refusal; the others go on", () =>
    Effect.gen(function* () {
      const answers = yield* ExecutionBackend.submitMany([
        program("a"),
        program("a"),
        program("b", { timeout: -1 }),
        undefined as never,
        program("c")
      ])
      assert.deepStrictEqual(
        answers.map((answer) => (Either.isRight(answer) ? answer.right.uid : reasonOf(answer.left))),
        ["a", "DuplicateUid", "InvalidOption", "NotATask", "c"]
      )
      const fibers = answers.filter(Either.isRight).map(({ right }) => right)
      assert.deepStrictEqual([...(yield* Fiber.joinAll(fibers))], ["ok", "ok"])
      assert.deepStrictEqual(yield* ExecutionBackend.submitMany([]), [])
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.effect("gives tasks of different definitions each its own", () => {
    const Twice = Task.function("Twice", { payload: { n: Schema.Number }, success: Schema.Number })
    const Text = Task.function("Text", { success: Schema.String })
    const handlers = Layer.merge(
      Twice.toLayer(({ n }) => Effect.succeed(2 * n)),
      Text.toLayer(() => Effect.succeed("text"))
    )
    return Effect.gen(function* () {
      const fibers = yield* ExecutionBackend.submitMany([Twice.make({ n: 4 }), Text.make()], { atomic: true })
      assert.deepStrictEqual([...(yield* Fiber.joinAll(fibers))], [8, "text"])
    }).pipe(Effect.provide([handlers, functions(2)]))
  })

  it.effect("interrupted while it waits to be admitted, it cancels what was accepted and leaves no trace", () =>
    Effect.gen(function* () {
      const other = yield* ExecutionBackend.submit(program("other"))
      const submitting = yield* Effect.fork(ExecutionBackend.submitMany(programs(10)))
      while ((yield* ExecutionBackend.state).active < 4) yield* Effect.yieldNow()
      yield* settle
      yield* pending(submitting)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(submitting)))
      assert.deepStrictEqual(
        [...(yield* ExecutionBackend.taskStates)],
        [
          ["u0", "CANCELED"],
          ["u1", "CANCELED"],
          ["u2", "CANCELED"],
          ["other", "EXECUTING"]
        ]
      )
      // no other task was touched, and all places are there again
      yield* pending(other)
      yield* Effect.all(Array.from({ length: 3 }, () => ExecutionBackend.submit(program())))
      assert.strictEqual(yield* ExecutionBackend.cancelAll, 4)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(never({ maxActiveTasks: 4 })))
  )

  it.effect("waits for its backend to close with the refusal of each that was not accepted", () =>
    Effect.gen(function* () {
      const submitting = yield* Effect.fork(ExecutionBackend.submitMany(programs(4)))
      while ((yield* ExecutionBackend.state).active < 2) yield* Effect.yieldNow()
      yield* ExecutionBackend.terminate
      const answers = yield* Fiber.join(submitting)
      assert.deepStrictEqual(
        answers.map((answer) => (Either.isRight(answer) ? "accepted" : reasonOf(answer.left))),
        ["accepted", "accepted", "Closed", "Closed"]
      )
    }).pipe(Effect.provide(never({ maxActiveTasks: 2 })))
  )

  describe("over two backends", () => {
    const F = Task.function("F", { success: Schema.String })
    const layers = (running: () => void, options: Backend.Options = {}) =>
      Layer.mergeAll(
        executables(
          () =>
            Effect.suspend(() => {
              running()
              return Effect.never
            }),
          { concurrency: "unbounded" },
          options
        ),
        functions(4)
      ).pipe(Layer.provideMerge(F.toLayer(() => Effect.succeed("function"))))

    it.effect("keeps the order of input", () =>
      Effect.gen(function* () {
        const answers = yield* ExecutionBackend.submitMany([
          program("p1"),
          F.make(undefined, { uid: "f1" }),
          program("p1"),
          program("p2"),
          F.make(undefined, { uid: "f2" })
        ])
        assert.deepStrictEqual(
          answers.map((answer) => (Either.isRight(answer) ? answer.right.uid : reasonOf(answer.left))),
          ["p1", "f1", "DuplicateUid", "p2", "f2"]
        )
      }).pipe(Effect.provide(layers(() => {})))
    )

    it.effect("is refused when it is atomic, and leaves nothing", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ExecutionBackend.submitMany([program(), F.make()], { atomic: true }))
        assert.isTrue(error instanceof ConfigurationError && error.configKey === "atomic")
        assert.strictEqual((yield* ExecutionBackend.taskStates).size, 0)
      }).pipe(Effect.provide(layers(() => {})))
    )

    it.effect("interrupted, it cancels what it had submitted to either", () =>
      Effect.gen(function* () {
        let running = 0
        yield* Effect.gen(function* () {
          // the second program has to wait for the first
          const submitting = yield* Effect.fork(
            ExecutionBackend.submitMany([F.make(), program("first"), program("second")])
          )
          yield* until(() => running === 1)
          yield* settle
          assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(submitting)))
          const programs = Backend.forKind("executable")
          const states = yield* Effect.flatMap(programs, ({ taskStates }) => taskStates)
          assert.deepStrictEqual([...states], [["first", "CANCELED"]])
        }).pipe(Effect.provide(layers(() => running++, { maxActiveTasks: 1 })))
      })
    )
  })
})

describe("submitMany, all or none", () => {
  const atomic = { atomic: true } as const

  it.effect("answers with all fibers, in order", () =>
    Effect.gen(function* () {
      const fibers = yield* ExecutionBackend.submitMany(programs(5), atomic)
      assert.deepStrictEqual(
        fibers.map(({ uid }) => uid),
        ["u0", "u1", "u2", "u3", "u4"]
      )
      yield* Fiber.joinAll(fibers)
      assert.deepStrictEqual(yield* ExecutionBackend.submitMany([], atomic), [])
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(executables(() => ok, {}, { maxActiveTasks: 5 })))
  )

  const refused: Record<string, readonly [tasks: () => ReadonlyArray<ReturnType<typeof program>>, reason: string]> = {
    "one that is wrong": [() => [program("a"), program("b", { timeout: -1 })], "InvalidOption"],
    "one that is no task": [() => [program("a"), undefined as never], "NotATask"],
    "the same uid twice": [() => [program("a"), program("b"), program("a")], "DuplicateUid"],
    "a uid that lives": [() => [program("a"), program("taken")], "DuplicateUid"],
    "more than are ever admitted": [() => programs(5), "Rejected"]
  }
  for (const [what, [tasks, reason]] of Object.entries(refused)) {
    it.effect(`with ${what} accepts none`, () =>
      Effect.gen(function* () {
        yield* ExecutionBackend.submit(program("taken"))
        const error = yield* Effect.flip(ExecutionBackend.submitMany(tasks(), atomic))
        assert.strictEqual(reasonOf(error), reason)
        assert.deepStrictEqual([...(yield* ExecutionBackend.taskStates).keys()], ["taken"])
        // no place is lost
        yield* ExecutionBackend.submitMany(programs(3, "v"), atomic)
        assert.strictEqual(yield* ExecutionBackend.cancelAll, 4)
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(never({ maxActiveTasks: 4 })))
    )
  }

  it.effect("an automatic uid takes none that another of them asks for", () =>
    Effect.gen(function* () {
      const fibers = yield* ExecutionBackend.submitMany([program(), program("task.000001"), program()], atomic)
      assert.deepStrictEqual(
        fibers.map(({ uid }) => uid),
        ["task.000002", "task.000001", "task.000003"]
      )
      yield* Fiber.joinAll(fibers)
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.live("no other submission takes a uid of theirs between the first and the last of many", () =>
    Effect.gen(function* () {
      const count = 5_000
      const batch = yield* Effect.fork(Effect.either(ExecutionBackend.submitMany(programs(count), atomic)))
      // the batch yields to others many times
      const last = yield* Effect.fork(
        Effect.gen(function* () {
          while (Option.isNone(yield* ExecutionBackend.taskState("u0"))) yield* Effect.yieldNow()
          return yield* Effect.either(ExecutionBackend.submit(program(`u${count - 1}`)))
        })
      )
      const [accepted, one] = yield* Fiber.join(Fiber.zip(batch, last))
      assert.isTrue(Either.isRight(accepted) && accepted.right.length === count)
      assert.isTrue(Either.isLeft(one) && reasonOf(one.left) === "DuplicateUid")
      yield* ExecutionBackend.awaitAll()
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(executables(() => ok, { concurrency: "unbounded" })))
  )

  it.effect("waits for all places at once, and no other submission overtakes it", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([ExecutionBackend.submit(program("a")), ExecutionBackend.submit(program("b"))])
      const batch = yield* Effect.fork(ExecutionBackend.submitMany(programs(3), atomic))
      yield* settle
      const later = yield* Effect.fork(ExecutionBackend.submit(program("later")))
      yield* settle
      // one place is free, and neither one of the batch nor a later task takes it
      assert.deepStrictEqual([...(yield* ExecutionBackend.taskStates).keys()], ["a", "b"])
      yield* ExecutionBackend.cancel(a)
      yield* settle
      yield* pending(batch)
      yield* ExecutionBackend.cancel(b)
      const fibers = yield* Fiber.join(batch)
      assert.strictEqual(fibers.length, 3)
      yield* settle
      yield* pending(later)
      yield* ExecutionBackend.cancel(fibers[0]!)
      yield* Fiber.join(later)
      assert.strictEqual(yield* ExecutionBackend.cancelAll, 3)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(never({ maxActiveTasks: 3 })))
  )

  it.effect("two that need all places each go one after the other", () =>
    Effect.gen(function* () {
      const all = (prefix: string) =>
        Effect.flatMap(ExecutionBackend.submitMany(programs(3, prefix), atomic), Fiber.joinAll)
      const both = yield* Effect.all([all("a"), all("b"), all("c")], { concurrency: "unbounded" })
      assert.deepStrictEqual(
        both.map((each) => [...each]),
        [0, 1, 2].map(() => ["ok", "ok", "ok"])
      )
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(executables(() => ok, {}, { maxActiveTasks: 3 })))
  )

  it.effect("interrupted while it waits, or just after it was let in, it leaves no trace", () =>
    Effect.gen(function* () {
      const first = yield* ExecutionBackend.submit(program("first"))
      const waiting = yield* Effect.fork(ExecutionBackend.submitMany(programs(2), atomic))
      const given = yield* Effect.fork(ExecutionBackend.submitMany(programs(2, "given"), atomic))
      yield* settle
      yield* Fiber.interrupt(waiting)
      // it is let in by the very step that ends the first, and interrupted before it goes on
      first.addObserver(() => given.unsafeInterruptAsFork(given.id()))
      yield* ExecutionBackend.cancel(first)
      assert.isTrue(Exit.isInterrupted(yield* Fiber.await(given)))
      assert.deepStrictEqual([...(yield* ExecutionBackend.taskStates)], [["first", "CANCELED"]])
      assert.strictEqual((yield* ExecutionBackend.submitMany(programs(2, "again"), atomic)).length, 2)
      assert.strictEqual(yield* ExecutionBackend.cancelAll, 2)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(never({ maxActiveTasks: 2 })))
  )

  it.effect("a close while it waits refuses it", () =>
    Effect.gen(function* () {
      yield* ExecutionBackend.submit(program("first"))
      const waiting = yield* Effect.fork(Effect.flip(ExecutionBackend.submitMany(programs(2), atomic)))
      yield* settle
      yield* ExecutionBackend.terminate
      assert.strictEqual(reasonOf(yield* Fiber.join(waiting)), "Closed")
      assert.deepStrictEqual([...(yield* ExecutionBackend.taskStates).keys()], ["first"])
    }).pipe(Effect.provide(never({ maxActiveTasks: 2 })))
  )

  it.effect("from a running task it does not wait, and is refused where there is no room", () => {
    const Child = Task.function("Child", {})
    const Parent = Task.function("Parent", { success: Schema.Array(Schema.Unknown) })
    const handler = Parent.toLayer(() =>
      Effect.gen(function* () {
        const many = (count: number) =>
          ExecutionBackend.submitMany(
            Array.from({ length: count }, () => Child.make()),
            atomic
          )
        const fibers = yield* many(2)
        const crowded = yield* Effect.flip(many(1))
        const large = yield* Effect.flip(many(3))
        yield* Fiber.joinAll(fibers)
        return [fibers.length, reasonOf(crowded), reasonOf(large)]
      }).pipe(Effect.orDie)
    )
    const backend = functions(1, { maxActiveTasks: 1, maxNestedTasks: 2 })
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* ExecutionBackend.execute(Parent.make()), [2, "Rejected", "Rejected"])
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(
      Effect.provide(
        Layer.provideMerge(
          handler,
          Layer.provideMerge(
            Child.toLayer(() => Effect.void),
            backend
          )
        )
      )
    )
  })
})

describe("submitAll", () => {
  /** A backend whose tasks run until they are let go. */
  const counted = (options: Backend.Options = {}) => {
    const seen = { running: 0, most: 0, all: 0, stopped: 0 }
    const layer = (run: Effect.Effect<Driver.Outcome>) =>
      executables(
        () =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              seen.all++
              seen.most = Math.max(seen.most, ++seen.running)
            }),
            () => Effect.onInterrupt(run, () => Effect.sync(() => void seen.stopped++)),
            () => Effect.sync(() => void seen.running--)
          ),
        { concurrency: "unbounded" },
        options
      )
    return { seen, layer }
  }
  const stream = (count: number) => Stream.fromIterable(programs(count))

  it.effect("gives how each task ended, a refused one with its refusal", () =>
    Effect.gen(function* () {
      const tasks = [program("a"), program("bad", { timeout: -1 }), program("a"), undefined as never, program("fails")]
      const ends = [...(yield* Stream.runCollect(ExecutionBackend.submitAll(Stream.fromIterable(tasks))))]
      assert.deepStrictEqual(ends.map(({ exit, task, uid }) => `${uid} ${task} ${endOf(exit)}`).sort(), [
        "a Program DuplicateUid",
        "a Program ok",
        "bad Program InvalidOption",
        "fails Program Exit",
        "undefined  NotATask"
      ])
      assert.strictEqual((yield* Stream.runCollect(ExecutionBackend.submitAll(Stream.empty))).length, 0)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(
      Effect.provide(
        executables(({ uid }) => (uid === "fails" ? Effect.succeed(Driver.Outcome.exited({ exitCode: 1 })) : ok))
      )
    )
  )

  it.effect("gives them in the order of ending", () =>
    Effect.gen(function* () {
      const program = yield* held
      yield* Effect.gen(function* () {
        const ends = yield* Ref.make<ReadonlyArray<string | undefined>>([])
        const reading = yield* Effect.fork(
          Stream.runForEach(ExecutionBackend.submitAll(stream(3)), ({ uid }) =>
            Effect.zipRight(
              Ref.update(ends, (_) => [..._, uid]),
              uid === "u2" ? program.release : Effect.void
            )
          )
        )
        yield* Fiber.join(reading)
        assert.deepStrictEqual(yield* Ref.get(ends), ["u1", "u2", "u0"])
      }).pipe(Effect.provide(executables(({ uid }) => (uid === "u0" ? program.run : ok), { concurrency: 3 })))
    })
  )

  it.effect("1,000 of them with a buffer of 10: never more than 10 at a time, and all are read", () => {
    const { layer, seen } = counted()
    return Effect.gen(function* () {
      const ends = [...(yield* Stream.runCollect(ExecutionBackend.submitAll(stream(1_000), { buffer: 10 })))]
      assert.strictEqual(new Set(ends.map(({ uid }) => uid)).size, 1_000)
      assert.isTrue(ends.every(({ exit }) => endOf(exit) === "ok"))
      assert.isAtMost(seen.most, 10)
      assert.isAbove(seen.most, 1)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(layer(Effect.zipRight(Effect.yieldNow(), ok))))
  })

  it.effect("a reader that is slow stops the intake: no more than the buffer are submitted and not read", () => {
    const { layer, seen } = counted()
    return Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      let pulled = 0
      const tasks = Stream.tap(Stream.rechunk(stream(100), 1), () => Effect.sync(() => void pulled++))
      let read = 0
      const reading = yield* ExecutionBackend.submitAll(tasks, { buffer: 5 }).pipe(
        Stream.runForEach(() =>
          Effect.suspend(() => {
            read++
            return Deferred.await(go)
          })
        ),
        Effect.fork
      )
      yield* until(() => read === 1)
      yield* settle
      assert.deepStrictEqual([seen.all, read], [5, 1])
      // one is at the door
      assert.isAtMost(pulled, 6)
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(reading)
      assert.deepStrictEqual([seen.all, read], [100, 100])
    }).pipe(Effect.provide(layer(ok)))
  })

  it.effect("waits for admission as any submission does", () => {
    const { layer, seen } = counted({ maxActiveTasks: 2 })
    return Effect.gen(function* () {
      const ends = yield* Stream.runCollect(ExecutionBackend.submitAll(stream(50)))
      assert.strictEqual(ends.length, 50)
      assert.isAtMost(seen.most, 2)
    }).pipe(Effect.provide(layer(ok)))
  })

  it.effect("a reader that stops cancels what is in flight, and waits until it has stopped", () => {
    const { layer, seen } = counted()
    return Effect.gen(function* () {
      const first = yield* Deferred.make<void>()
      yield* Effect.gen(function* () {
        // an end that is read at once: the refusal of the second
        const tasks = Stream.concat(Stream.make(program("x"), program("x")), stream(10))
        const reading = yield* Effect.fork(
          Stream.runCollect(
            Stream.take(
              Stream.tap(ExecutionBackend.submitAll(tasks, { buffer: 8 }), () => Deferred.await(first)),
              1
            )
          )
        )
        yield* until(() => seen.running === 7)
        yield* Deferred.succeed(first, undefined)
        assert.strictEqual((yield* Fiber.join(reading)).length, 1)
        assert.deepStrictEqual([seen.running, seen.stopped], [0, 7])
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(layer(Effect.never)))
    })
  })

  it.effect("interruption of the reader does the same, also while a submission waits to be admitted", () => {
    const { layer, seen } = counted({ maxActiveTasks: 3 })
    return Effect.gen(function* () {
      const reading = yield* Effect.fork(Stream.runDrain(ExecutionBackend.submitAll(stream(10))))
      yield* until(() => seen.running === 3)
      yield* settle
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(reading)))
      assert.deepStrictEqual([seen.running, seen.stopped], [0, 3])
      assert.deepStrictEqual([...(yield* ExecutionBackend.taskStates).keys()].sort(), ["u0", "u1", "u2"])
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(layer(Effect.never)))
  })

  it.effect("an error of the input passes on, after what had ended; what is in flight is cancelled", () => {
    const { layer, seen } = counted()
    return Effect.gen(function* () {
      const read: Array<string | undefined> = []
      const tasks = Stream.concat(
        Stream.make(program("x"), program("x")),
        Stream.fromEffect(Effect.zipRight(settle, Effect.fail("no more")))
      )
      const error = yield* Effect.flip(
        Stream.runForEach(ExecutionBackend.submitAll(tasks), ({ uid }) => Effect.sync(() => read.push(uid)))
      )
      assert.strictEqual(error, "no more")
      assert.deepStrictEqual(read, ["x"])
      assert.deepStrictEqual([seen.running, seen.stopped], [0, 1])
      const dies = ExecutionBackend.submitAll(Stream.die("boom"))
      assert.strictEqual(endOf(yield* Effect.exit(Stream.runDrain(dies))), "boom")
    }).pipe(Effect.provide(layer(Effect.never)))
  })
})

describe("services", () => {
  const Server = Task.service("Server", {
    info: Schema.Struct({ port: Schema.NumberFromString }),
    command: () => ({ executable: "server" }),
    ready: /port (?<port>\d+)/
  })
  type Serve = NonNullable<Driver.SlotDriver<"service">["serve"]>
  const services = (serve: Serve, options: Backend.Options = {}) =>
    Backend.layer(
      {
        type: "services",
        kinds: ["service", "executable"],
        concurrency: 4,
        serve,
        run: () => Effect.dieMessage("is not started so")
      },
      options
    )
  const lost = (spec: Driver.Spec) => Driver.taskError(spec, "Exit")
  /** A server that is ready at once and counts how often it was stopped. */
  const serving = (stopped: () => void, exited: Effect.Effect<never, TaskError> = Effect.never): Serve => {
    const server = { info: { port: "8080" }, exited }
    return () => Effect.acquireRelease(Effect.succeed(server), () => Effect.sync(stopped))
  }

  it.effect("are ready with their info, decoded, and stopped when the scope closes", () =>
    Effect.gen(function* () {
      let stopped = 0
      yield* Effect.gen(function* () {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const server = yield* ExecutionBackend.start(Server.make(undefined, { uid: "s" }))
            assert.deepStrictEqual([server.uid, server.info], ["s", { port: 8080 }])
            assert.deepStrictEqual(yield* ExecutionBackend.taskState("s"), Option.some("EXECUTING"))
            yield* settle
            assert.strictEqual(stopped, 0)
          })
        )
        assert.strictEqual(stopped, 1)
        assert.deepStrictEqual(yield* ExecutionBackend.taskState("s"), Option.some("CANCELED"))
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(services(serving(() => stopped++))))
    })
  )

  it.effect("whose info does not fit the schema fail with InvalidResult and are stopped", () =>
    Effect.gen(function* () {
      let stopped = 0
      const serve: Serve = () =>
        Effect.acquireRelease(Effect.succeed({ info: { port: "none" }, exited: Effect.never }), () =>
          Effect.sync(() => void stopped++)
        )
      yield* Effect.gen(function* () {
        const error = yield* Effect.flip(ExecutionBackend.start(Server.make()))
        assert.isTrue(error instanceof TaskError && error.reason === "InvalidResult")
        assert.strictEqual(stopped, 1)
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.scoped, Effect.provide(services(serve)))
    })
  )

  it.effect("that fail, die or end before they are ready report it", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [Serve, string]> = [
        [(spec) => lost(spec), "Exit"],
        [() => Effect.die("boom"), "Defect"],
        [() => new BackendError({ backendType: "services", reason: "Unavailable" }), "Unavailable"]
      ]
      for (const [serve, reason] of cases) {
        const error = yield* Effect.flip(ExecutionBackend.start(Server.make())).pipe(
          Effect.zipLeft(Effect.map(idle, (left) => assert.deepStrictEqual(left, nothingLeft))),
          Effect.scoped,
          Effect.provide(services(serve))
        )
        assert.strictEqual(reasonOf(error), reason)
      }
    })
  )

  it.scoped("that die later fail `exited`, and are not started again", () =>
    Effect.gen(function* () {
      const dies = yield* Deferred.make<never, TaskError>()
      let starts = 0
      let stopped = 0
      const serve: Serve = (spec, hooks) => {
        starts++
        return serving(() => stopped++, Deferred.await(dies))(spec, hooks)
      }
      yield* Effect.gen(function* () {
        const { exited } = yield* ExecutionBackend.start(
          Server.make(undefined, { uid: "s", retry: { times: 3, schedule: Schedule.forever } })
        )
        const waiting = yield* Effect.fork(Effect.flip(exited))
        yield* settle
        yield* pending(waiting)
        yield* Deferred.fail(dies, new TaskError({ taskUid: "s", task: "Server", reason: "Exit", exitCode: 1 }))
        const error = yield* Fiber.join(waiting)
        assert.isTrue(error instanceof TaskError && error.reason === "Exit" && error.exitCode === 1)
        assert.strictEqual(reasonOf(yield* Effect.flip(exited)), "Exit")
        assert.deepStrictEqual([starts, stopped], [1, 1])
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(services(serve)))
    })
  )

  it.scoped("the timeout counts until they are ready, and no longer", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const serve: Serve = (spec, hooks) => Effect.zipRight(Deferred.await(go), serving(() => {})(spec, hooks))
      yield* Effect.gen(function* () {
        const start = ExecutionBackend.start(Server.make(undefined, { timeout: "10 seconds" }))
        const late = yield* Effect.fork(Effect.flip(start))
        yield* settle
        yield* TestClock.adjust("10 seconds")
        const error = yield* Fiber.join(late)
        assert.isTrue(error instanceof TaskError && error.reason === "Timeout")
        const starting = yield* Effect.fork(start)
        yield* settle
        yield* TestClock.adjust("9 seconds")
        yield* Deferred.succeed(go, undefined)
        const { exited } = yield* Fiber.join(starting)
        const waiting = yield* Effect.fork(exited)
        yield* TestClock.adjust("1 hour")
        yield* pending(waiting)
      }).pipe(Effect.provide(services(serve)))
    })
  )

  it.scoped("are tried again until they are ready", () =>
    Effect.gen(function* () {
      const attempts: Array<number> = []
      const serve: Serve = (spec, hooks) => {
        attempts.push(spec.attempt)
        return spec.attempt < 3 ? lost(spec) : serving(() => {})(spec, hooks)
      }
      yield* Effect.gen(function* () {
        const { info } = yield* ExecutionBackend.start(
          Server.make(undefined, { retry: { times: 5, schedule: Schedule.forever } })
        )
        assert.deepStrictEqual([info.port, attempts], [8080, [1, 2, 3]])
      }).pipe(Effect.provide(services(serve)))
    })
  )

  it.scoped("cancelled by uid end typed, before and after they are ready", () =>
    Effect.gen(function* () {
      let stopped = 0
      const serve: Serve = (spec, hooks) => (spec.uid === "slow" ? Effect.never : serving(() => stopped++)(spec, hooks))
      yield* Effect.gen(function* () {
        const slow = yield* Effect.fork(Effect.flip(ExecutionBackend.start(Server.make(undefined, { uid: "slow" }))))
        const { exited } = yield* ExecutionBackend.start(Server.make(undefined, { uid: "ready" }))
        assert.isTrue(yield* ExecutionBackend.cancel("slow"))
        assert.isTrue(yield* ExecutionBackend.cancel("ready"))
        assert.strictEqual(reasonOf(yield* Fiber.join(slow)), "Canceled")
        assert.strictEqual(reasonOf(yield* Effect.flip(exited)), "Canceled")
        assert.strictEqual(stopped, 1)
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(services(serve)))
    })
  )

  it.scoped("interruption of start stops them, and waits for that", () =>
    Effect.gen(function* () {
      let stopped = 0
      const serve: Serve = () =>
        Effect.zipRight(
          Effect.addFinalizer(() =>
            Effect.zipRight(
              Effect.yieldNow(),
              Effect.sync(() => void stopped++)
            )
          ),
          Effect.never
        )
      yield* Effect.gen(function* () {
        const starting = yield* Effect.fork(ExecutionBackend.start(Server.make(undefined, { uid: "s" })))
        while (Option.getOrNull(yield* ExecutionBackend.taskState("s")) !== "EXECUTING") yield* Effect.yieldNow()
        yield* settle
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(starting)))
        assert.strictEqual(stopped, 1)
        assert.deepStrictEqual(yield* ExecutionBackend.taskState("s"), Option.some("CANCELED"))
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(services(serve)))
    })
  )

  it.scoped("end with their backend, and `exited` reports it", () =>
    Effect.gen(function* () {
      let stopped = 0
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(services(serving(() => stopped++)), scope)
      const { exited } = yield* Effect.provide(ExecutionBackend.start(Server.make()), context)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(stopped, 1)
      assert.strictEqual(reasonOf(yield* Effect.flip(exited)), "Canceled")
    })
  )

  it.scoped("are started, not submitted, and other tasks the other way round", () =>
    Effect.gen(function* () {
      const service: any = Server.make()
      const start: any = ExecutionBackend.start
      for (const [effect, says] of [
        [ExecutionBackend.submit(service), "started"],
        [ExecutionBackend.submitScoped(service), "started"],
        [ExecutionBackend.execute(service), "started"],
        [ExecutionBackend.submitMany([service], { atomic: true }), "started"],
        [start(Program.make()), "submitted"]
      ] as ReadonlyArray<readonly [Effect.Effect<unknown, unknown, any>, string]>) {
        const error = yield* Effect.flip(effect)
        assert.isTrue(error instanceof ConfigurationError && error.reason === "UnsupportedKind", String(error))
        assert.include((error as ConfigurationError).message, says)
      }
      assert.strictEqual((yield* ExecutionBackend.taskStates).size, 0)
    }).pipe(Effect.provide(services(serving(() => {}))))
  )
})

describe("awaitAll", () => {
  it.effect("answers with the exits of the tasks that are live now, by uid, in order of submission", () =>
    Effect.gen(function* () {
      const first = yield* held
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.execute(program("before"))
        yield* ExecutionBackend.submit(program("held"))
        yield* first.started
        yield* Effect.all([ExecutionBackend.submit(program("ok")), ExecutionBackend.submit(program("fails"))])
        const waiting = yield* Effect.fork(ExecutionBackend.awaitAll())
        yield* settle
        yield* ExecutionBackend.submit(program("never"))
        yield* pending(waiting)
        yield* first.release
        const exits = yield* Fiber.join(waiting)
        assert.deepStrictEqual(
          [...exits].map(([uid, exit]) => [uid, endOf(exit)]),
          [
            ["held", "ok"],
            ["ok", "ok"],
            ["fails", "Exit"]
          ]
        )
      }).pipe(
        Effect.provide(
          executables(
            ({ uid }) => {
              if (uid === "held") return first.run
              if (uid === "never") return Effect.never
              return uid === "fails" ? Effect.succeed(Driver.Outcome.exited({ exitCode: 1 })) : ok
            },
            { concurrency: 8 }
          )
        )
      )
    })
  )

  describe("answers for what ended before the call", () => {
    const done = (...uids: ReadonlyArray<string>) =>
      Effect.forEach(uids, (uid) => Effect.flatMap(ExecutionBackend.submit(program(uid)), Fiber.await))
    const answers = Effect.map(ExecutionBackend.awaitAll(), (exits) => [
      [...exits].map(([uid, exit]) => `${uid} ${endOf(exit)}`),
      exits.forgotten
    ])
    const outcomes = executables(
      ({ uid }) => {
        if (uid.startsWith("never")) return Effect.never
        return uid.startsWith("bad") ? Effect.succeed(Driver.Outcome.exited({ exitCode: 1 })) : ok
      },
      { concurrency: 8 },
      { historySize: 3 }
    )

    it.effect("as for what ends after it, once, in order; a call that is late has not answered", () =>
      Effect.gen(function* () {
        yield* done("a", "bad")
        assert.deepStrictEqual(yield* answers, [["a ok", "bad Exit"], 0])
        assert.deepStrictEqual(yield* answers, [[], 0])
        yield* done("b")
        yield* ExecutionBackend.submitMany([program("c")])
        const never = yield* ExecutionBackend.submit(program("never"))
        const late = yield* Effect.fork(Effect.flip(ExecutionBackend.awaitAll({ timeout: "1 second" })))
        yield* settle
        yield* TestClock.adjust("1 second")
        assert.include((yield* Fiber.join(late)).message, "2/3 completed")
        const both = yield* Effect.replicateEffect(Effect.fork(answers), 2)
        yield* settle
        yield* Fiber.interrupt(never)
        for (const answer of yield* Fiber.joinAll(both)) {
          assert.deepStrictEqual(answer, [["b ok", "c ok", "never interrupted"], 0])
        }
        assert.deepStrictEqual(yield* answers, [[], 0])
      }).pipe(Effect.provide(outcomes))
    )

    it.effect("as far as the history goes, and counts the others; not for what another reads", () =>
      Effect.gen(function* () {
        yield* done("a", "b", "c", "d", "e")
        yield* ExecutionBackend.execute(program("executed"))
        yield* Effect.scoped(Effect.flatMap(ExecutionBackend.submitScoped(program("scoped")), Fiber.join))
        assert.deepStrictEqual(yield* answers, [["c ok", "d ok", "e ok"], 2])
        yield* done("f")
        assert.deepStrictEqual(yield* answers, [["f ok"], 0])
        // what is waited for is answered for, however many
        const fibers = yield* Effect.forEach(["never1", "never2", "never3", "never4", "never5"], (uid) =>
          ExecutionBackend.submit(program(uid))
        )
        const waiting = yield* Effect.fork(answers)
        yield* settle
        yield* Fiber.interruptAll(fibers)
        const [all, forgotten] = yield* Fiber.join(waiting)
        assert.deepStrictEqual([(all as Array<string>).length, forgotten], [5, 0])
        assert.deepStrictEqual(yield* answers, [[], 0])
      }).pipe(Effect.provide(outcomes))
    )

    it.effect("failFast fails with each error once", () =>
      Effect.gen(function* () {
        yield* done("a", "bad1", "bad2")
        const fast = Effect.flip(ExecutionBackend.awaitAll({ failFast: true }))
        for (const uid of ["bad1", "bad2"]) {
          const error = yield* fast
          assert.isTrue(error instanceof TaskError && error.taskUid === uid)
        }
        assert.deepStrictEqual([...(yield* ExecutionBackend.awaitAll({ failFast: true })).keys()], ["a"])
      }).pipe(Effect.provide(outcomes))
    )
  })

  it.effect("of nothing is nothing, at once", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* ExecutionBackend.awaitAll()).size, 0)
      assert.strictEqual((yield* ExecutionBackend.awaitAll({ timeout: "1 second", failFast: true })).size, 0)
      yield* ExecutionBackend.terminate
      assert.strictEqual((yield* ExecutionBackend.awaitAll()).size, 0)
    }).pipe(Effect.provide(never()))
  )

  it.effect("its timeout says how many have ended, cancels nothing, and it can be asked again", () =>
    Effect.gen(function* () {
      const first = yield* held
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.submit(program("held"))
        yield* first.started
        yield* Effect.all([ExecutionBackend.submit(program("a")), ExecutionBackend.submit(program("b"))])
        const waiting = yield* Effect.fork(Effect.flip(ExecutionBackend.awaitAll({ timeout: "10 seconds" })))
        yield* settle
        yield* TestClock.adjust("9 seconds")
        yield* pending(waiting)
        yield* TestClock.adjust("1 second")
        const error = yield* Fiber.join(waiting)
        assert.isTrue(error instanceof BackendError && error.reason === "Timeout")
        assert.include(error.message, "2/3 completed")
        assert.deepStrictEqual(yield* ExecutionBackend.taskState("held"), Option.some("EXECUTING"))
        const again = yield* Effect.fork(ExecutionBackend.awaitAll({ timeout: Duration.infinity }))
        yield* settle
        yield* first.release
        assert.deepStrictEqual(
          [...(yield* Fiber.join(again))].map(([uid, exit]) => [uid, endOf(exit)]),
          [
            ["a", "ok"],
            ["b", "ok"],
            ["held", "ok"]
          ]
        )
      }).pipe(Effect.provide(executables(({ uid }) => (uid === "held" ? first.run : ok), { concurrency: 4 })))
    })
  )

  it.effect("failFast fails with the first error, and the others go on", () =>
    Effect.gen(function* () {
      const first = yield* held
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.submit(program("never"))
        yield* ExecutionBackend.submit(program("fails"))
        const waiting = yield* Effect.fork(Effect.flip(ExecutionBackend.awaitAll({ failFast: true })))
        yield* settle
        yield* pending(waiting)
        yield* first.release
        const error = yield* Fiber.join(waiting)
        assert.isTrue(error instanceof TaskError && error.reason === "Signal" && error.taskUid === "fails")
        assert.deepStrictEqual(yield* ExecutionBackend.taskState("never"), Option.some("EXECUTING"))
      }).pipe(
        Effect.provide(
          executables(
            ({ uid }) =>
              uid === "never" ? Effect.never : Effect.as(first.run, Driver.Outcome.exited({ signal: "SIGSEGV" })),
            { concurrency: 2 }
          )
        )
      )
    })
  )

  it.effect(
    "failFast carries a task's own error inside of TaskError Failed, and an interrupted one as Canceled",
    () => {
      class Mine extends Schema.TaggedError<Mine>()("Mine", { n: Schema.Number }) {}
      const Own = Task.function("Own", { error: Mine })
      return Effect.gen(function* () {
        const go = yield* Deferred.make<void>()
        const handler = Own.toLayer((_, { uid }) =>
          uid === "own" ? Effect.zipRight(Deferred.await(go), new Mine({ n: 7 })) : Effect.never
        )
        yield* Effect.gen(function* () {
          const fast = Effect.fork(Effect.flip(ExecutionBackend.awaitAll({ failFast: true })))
          yield* ExecutionBackend.submit(Own.make(undefined, { uid: "own" }))
          const failing = yield* fast
          yield* settle
          yield* Deferred.succeed(go, undefined)
          const error = yield* Fiber.join(failing)
          assert.isTrue(error instanceof TaskError && error.reason === "Failed" && error.taskUid === "own")
          assert.deepStrictEqual((error as TaskError).cause, new Mine({ n: 7 }))
          const fiber = yield* ExecutionBackend.submit(Own.make())
          const interrupted = yield* fast
          yield* settle
          yield* Fiber.interrupt(fiber)
          assert.strictEqual(reasonOf(yield* Fiber.join(interrupted)), "Canceled")
        }).pipe(Effect.provide([handler, functions(2)]))
      })
    }
  )

  it.live("sees tasks that are live and have no fiber yet", () =>
    Effect.gen(function* () {
      const submitting = yield* Effect.fork(ExecutionBackend.submitMany(programs(5_000), { atomic: true }))
      // all are live at once, and then they get their fibers, which takes some turns
      while (Option.isNone(yield* ExecutionBackend.taskState("u4999"))) yield* Effect.yieldNow()
      yield* pending(submitting)
      const exits = yield* ExecutionBackend.awaitAll()
      assert.strictEqual(endOf(exits.get("u4999")!), "ok")
      yield* Fiber.join(submitting)
    }).pipe(Effect.provide(executables(() => ok, { concurrency: "unbounded" })))
  )

  it.effect("asked by a running task, does not wait for that task itself", () => {
    const Child = Task.function("Child", {})
    const Parent = Task.function("Parent", { success: Schema.Array(Schema.String) })
    const parent = Parent.toLayer(() =>
      ExecutionBackend.submit(Child.make(undefined, { uid: "child" })).pipe(
        Effect.zipRight(ExecutionBackend.awaitAll()),
        Effect.map((exits) => [...exits.keys()]),
        Effect.orDie
      )
    )
    const child = Child.toLayer(() => Effect.void)
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* ExecutionBackend.execute(Parent.make()), ["child"])
    }).pipe(Effect.provide(Layer.provideMerge(parent, Layer.provideMerge(child, functions(1)))))
  })

  it.effect("interrupted, it cancels nothing", () =>
    Effect.gen(function* () {
      yield* ExecutionBackend.submit(program("a"))
      const waiting = yield* Effect.fork(ExecutionBackend.awaitAll({ timeout: "1 hour" }))
      yield* settle
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual(yield* ExecutionBackend.taskState("a"), Option.some("EXECUTING"))
    }).pipe(Effect.provide(never()))
  )
})

describe("terminate", () => {
  const stuck = Effect.uninterruptible(Effect.never)

  it.effect("ends every task within a second, although nothing stops", () =>
    Effect.gen(function* () {
      const running = yield* ExecutionBackend.submit(program("running"))
      const queued = yield* ExecutionBackend.submit(program("queued"))
      const waiting = yield* Effect.fork(ExecutionBackend.submit(program("waiting")))
      const executing = yield* Effect.fork(ExecutionBackend.execute(program("executing")))
      yield* settle
      const terminating = yield* Effect.fork(ExecutionBackend.terminate)
      yield* settle
      assert.strictEqual((yield* ExecutionBackend.state).status, "SHUTTING_DOWN")
      assert.strictEqual(reasonOf(yield* Effect.flip(ExecutionBackend.submit(program()))), "Closed")
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(terminating)
      for (const fiber of [running, queued]) assert.strictEqual(reasonOf(yield* Effect.flip(fiber)), "Canceled")
      const outside: ReadonlyArray<Fiber.Fiber<unknown, unknown>> = [waiting, executing]
      const refused = yield* Fiber.awaitAll(outside)
      assert.deepStrictEqual(refused.map(endOf), ["Closed", "Closed"])
      const error = yield* Effect.flip(running)
      assert.isTrue(error instanceof TaskError && error.details["stopped"] === false)
      assert.deepStrictEqual(yield* idle, closedState)
      for (const late of [
        ExecutionBackend.submit(program()),
        ExecutionBackend.execute(program()),
        ExecutionBackend.submitMany([program()], { atomic: true })
      ] as ReadonlyArray<Effect.Effect<unknown, unknown, ExecutionBackend.ExecutionBackend<"executable">>>) {
        assert.strictEqual(reasonOf(yield* Effect.flip(late)), "Closed")
      }
      // again, and by the layer's end: nothing is left to do
      yield* ExecutionBackend.terminate
    }).pipe(Effect.provide(executables(() => stuck, {}, { maxActiveTasks: 2, stopTimeout: "1 hour" })))
  )

  it.effect("does not wait for the grace period of tasks that were asked to stop before", () =>
    Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(program())
      yield* settle
      const canceling = yield* Effect.fork(ExecutionBackend.cancel(fiber))
      yield* settle
      const terminating = yield* Effect.fork(ExecutionBackend.terminate)
      yield* settle
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(terminating)
      assert.isTrue(yield* Fiber.join(canceling))
    }).pipe(Effect.provide(executables(() => stuck, {}, { stopTimeout: "1 hour" })))
  )

  for (const boundedStop of [[], ["executable"]] as const) {
    it.effect(
      `calls the driver's forceStop once, after all were asked to stop (bounded: ${boundedStop.length === 1})`,
      () =>
        Effect.gen(function* () {
          const killed = yield* Deferred.make<void>()
          const reported: Array<string> = []
          const layer = executables(
            ({ uid }) =>
              Effect.onInterrupt(Effect.never, () =>
                Effect.zipRight(
                  Effect.sync(() => reported.push(uid)),
                  Deferred.await(killed)
                )
              ),
            {
              concurrency: 20,
              boundedStop,
              forceStop: Effect.zipRight(
                Effect.sync(() => reported.push("forceStop")),
                Deferred.succeed(killed, undefined)
              )
            }
          )
          yield* Effect.gen(function* () {
            const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(program()), 20)
            while ((yield* ExecutionBackend.state).active < 20) yield* Effect.yieldNow()
            yield* settle
            yield* ExecutionBackend.terminate
            assert.strictEqual(reported.length, 21)
            assert.strictEqual(reported.at(-1), "forceStop")
            const exits = yield* Fiber.awaitAll(fibers)
            assert.isTrue(exits.every((exit) => endOf(exit) === "Canceled"))
          }).pipe(Effect.provide(layer))
        })
    )
  }

  const kills: Record<string, Effect.Effect<void>> = {
    dies: Effect.die("boom"),
    "never returns": Effect.never,
    "cannot be interrupted": Effect.uninterruptible(Effect.never)
  }
  for (const [how, kill] of Object.entries(kills)) {
    it.effect(`ends, and ends every task, although forceStop ${how}`, () =>
      Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(program())
        yield* settle
        const terminating = yield* Effect.fork(ExecutionBackend.terminate)
        yield* settle
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(terminating)
        assert.strictEqual(reasonOf(yield* Effect.flip(fiber)), "Canceled")
        assert.deepStrictEqual(yield* idle, closedState)
      }).pipe(Effect.provide(executables(() => stuck, { forceStop: kill })))
    )
  }
})

describe("onStateChange", () => {
  const log = (into: Array<string>) => (task: { readonly uid: string }, state: string) => {
    into.push(`${task.uid} ${state}`)
  }
  const steps = (uid: string) => ["NEW", "READY", "EXECUTING", "COMPLETED"].map((state) => `${uid} ${state}`)

  it.scoped("calls back with every change in order, by function or by effect", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const effects: Array<string> = []
      yield* ExecutionBackend.onStateChange(log(seen))
      yield* ExecutionBackend.onStateChange((task, state) =>
        Effect.zipRight(
          Effect.yieldNow(),
          Effect.sync(() => log(effects)(task, state))
        )
      )
      yield* ExecutionBackend.execute(program("a"))
      yield* ExecutionBackend.execute(program("b"))
      yield* until(() => effects.length === 8 && seen.length === 8)
      assert.deepStrictEqual(seen, [...steps("a"), ...steps("b")])
      assert.deepStrictEqual(effects, seen)
    }).pipe(Effect.provide(executables(() => ok)))
  )

  const odd: Record<string, () => Effect.Effect<void>> = {
    throws: () => {
      throw new Error("boom")
    },
    fails: () => Effect.fail("no") as unknown as Effect.Effect<void>,
    dies: () => Effect.die("no"),
    "interrupts itself": () => Effect.interrupt
  }
  for (const [what, callback] of Object.entries(odd)) {
    it.scoped(`a callback that ${what} harms no other, and is called again`, () =>
      Effect.gen(function* () {
        let called = 0
        const seen: Array<string> = []
        yield* ExecutionBackend.onStateChange(() => {
          called++
          return callback()
        })
        yield* ExecutionBackend.onStateChange(log(seen))
        assert.strictEqual(yield* ExecutionBackend.execute(program("a")), "ok")
        yield* until(() => called === 4 && seen.length === 4)
        assert.deepStrictEqual(seen, steps("a"))
      }).pipe(Effect.provide(executables(() => ok)))
    )
  }

  it.scoped("a callback that never ends slows no other", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      let called = 0
      yield* ExecutionBackend.onStateChange(() => {
        called++
        return Effect.never
      })
      yield* ExecutionBackend.onStateChange(log(seen))
      const fibers = yield* Effect.forEach(programs(100), ExecutionBackend.submit)
      yield* Fiber.joinAll(fibers)
      yield* until(() => seen.length === 400)
      assert.strictEqual(called, 1)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.effect("ends with its scope, also where it was called from what cannot be interrupted", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Effect.uninterruptible(ExecutionBackend.onStateChange(log(seen)))
          yield* ExecutionBackend.execute(program("a"))
          yield* until(() => seen.length === 4)
        })
      )
      yield* ExecutionBackend.execute(program("b"))
      yield* settle
      assert.deepStrictEqual(seen, steps("a"))
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.scoped("reports the last change of a backend that ends", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.onStateChange(log(seen))
        yield* ExecutionBackend.submit(program("a"))
        yield* settle
        yield* ExecutionBackend.terminate
      }).pipe(Effect.provide(never()))
      assert.deepStrictEqual(seen, ["a NEW", "a READY", "a EXECUTING", "a CANCELED"])
    })
  )
})

describe("what is known of tasks and engine", () => {
  it.effect("taskStates: of all live tasks, and of those that ended, as many as are remembered", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* ExecutionBackend.taskStates).size, 0)
      for (const uid of ["a", "b", "c"]) yield* Effect.exit(ExecutionBackend.execute(program(uid)))
      yield* ExecutionBackend.submit(program("never"))
      const queued = yield* ExecutionBackend.submit(program("queued"))
      yield* settle
      const states = yield* ExecutionBackend.taskStates
      assert.deepStrictEqual([...states].sort(), [
        ["b", "FAILED"],
        ["c", "COMPLETED"],
        ["never", "EXECUTING"],
        ["queued", "READY"]
      ])
      yield* ExecutionBackend.cancel(queued)
      assert.deepStrictEqual([...(yield* ExecutionBackend.taskStates)].sort(), [
        ["c", "COMPLETED"],
        ["never", "EXECUTING"],
        ["queued", "CANCELED"]
      ])
      // an answer is a copy
      assert.strictEqual(states.get("queued"), "READY")
    }).pipe(
      Effect.provide(
        executables(
          ({ uid }) => {
            if (uid === "never") return Effect.never
            return uid === "b" ? Effect.succeed(Driver.Outcome.exited({ exitCode: 1 })) : ok
          },
          {},
          { historySize: 2 }
        )
      )
    )
  )

  it.scoped("nativeStates: data of each backend, empty where there is none", () =>
    Effect.gen(function* () {
      const of = (driver: Partial<Driver.SlotDriver<"executable">>) =>
        Effect.map(
          Layer.build(executables(() => ok, driver)),
          (context) => Context.get(context, ExecutionBackend.ExecutionBackend).nativeStates
        )
      const [slurm, other, none] = yield* Effect.all([
        of({ nativeStates: { PD: "READY", R: "EXECUTING" } }),
        of({ nativeStates: { R: "WAITING" } }),
        of({})
      ])
      assert.deepStrictEqual(slurm, { PD: "READY", R: "EXECUTING" })
      assert.deepStrictEqual(other, { R: "WAITING" })
      assert.deepStrictEqual(none, {})
    })
  )

  it.scoped("the events of a batch are those of its tasks, each ordered", () =>
    Effect.gen(function* () {
      const events = yield* ExecutionBackend.events
      yield* Effect.flatMap(ExecutionBackend.submitMany(programs(3), { atomic: true }), Fiber.joinAll)
      const seen = [...(yield* Stream.runCollect(Stream.take(events, 12)))].filter(isChange)
      for (const uid of ["u0", "u1", "u2"]) {
        assert.deepStrictEqual(
          seen.filter((event) => event.uid === uid).map(({ state }) => state),
          ["NEW", "READY", "EXECUTING", "COMPLETED"]
        )
      }
      assert.strictEqual(TaskFiber.isTaskFiber(seen), false)
    }).pipe(Effect.provide(executables(() => ok)))
  )
})
