/** The backend for users' tests: stubs of every kind, injected failures, the loss of the engine, the record. */
// The real errors must stay: the two diagnostics are off only to make room for @ts-expect-error.
// @effect-diagnostics missingEffectContext:off missingEffectError:off
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Schema, TestClock } from "effect"
import type { Driver } from "effect-rhapsody"
import { ConcurrentBackend, ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import { BackendError, ConfigurationError, TaskError } from "effect-rhapsody/Errors"
import { TestBackend } from "effect-rhapsody/testing"
import { activity, idle, nothingLeft, statesOf } from "../support.js"

class Diverged extends Schema.TaggedError<Diverged>()("Diverged", { step: Schema.NumberFromString }) {}

const payload = { at: Schema.Date }
const definition = { payload, success: Schema.NumberFromString, error: Diverged }
const command = () => ({ executable: "/nowhere" })
const Program = Task.executable("Program", {
  ...definition,
  command,
  failure: ({ exitCode }) => (exitCode === 3 ? new Diverged({ step: 33 }) : undefined)
})
const Function = Task.function("Function", definition)
const Worker = Task.worker("Worker", { ...definition, module: new URL("file:///nowhere.js"), export: "none" })
const Python = Task.python("Python", { ...definition, callable: "no.module:none" })
const Server = Task.service("Server", {
  payload,
  info: Schema.Struct({ port: Schema.NumberFromString }),
  command,
  ready: /(?<port>\d+)/
})
const at = new Date(7000)
const zero = new Date(0)
const even = { at: new Date(2000) }

/** Answers with the seconds of its payload; fails for the odd ones. */
const seconds = ({ at }: { readonly at: Date }, { attempt }: Task.AttemptInfo) =>
  at.getTime() % 2000 === 0
    ? Effect.fail(new Diverged({ step: attempt }))
    : Effect.delay(Effect.succeed(at.getTime() / 1000), "30 minutes")
const stubs = [
  TestBackend.stub(Program, seconds),
  TestBackend.stub(Function, seconds),
  TestBackend.stub(Worker, seconds),
  TestBackend.stub(Python, seconds)
] as const
const never = TestBackend.stub(Program, () => Effect.never)
const now = TestBackend.stub(Program, () => Effect.succeed(1))

const errorOf = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isFailure(exit) && exit.cause._tag === "Fail" ? exit.cause.error : exit
const reasonOf = (exit: Exit.Exit<unknown, unknown>): unknown => {
  const error = errorOf(exit)
  return error instanceof TaskError || error instanceof BackendError || error instanceof ConfigurationError
    ? `${error._tag} ${error.reason}`
    : error
}
const reasons = (fibers: ReadonlyArray<Fiber.Fiber<unknown, unknown>>) =>
  Effect.forEach(fibers, (fiber) => Effect.map(Fiber.await(fiber), reasonOf))
/** Lets everything go on that needs no time. */
const settle = TestClock.adjust(0)

describe("a stub", () => {
  it.effect("answers a task of each kind: decoded in, encoded out, by the clock", () =>
    Effect.gen(function* () {
      const fibers = yield* Effect.all([
        ExecutionBackend.submit(Program.make({ at })),
        ExecutionBackend.submit(Function.make({ at })),
        ExecutionBackend.submit(Worker.make({ at })),
        ExecutionBackend.submit(Python.make({ at }))
      ])
      yield* TestClock.adjust("1799 seconds")
      for (const fiber of fibers) assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* Fiber.joinAll(fibers), [7, 7, 7, 7])
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(TestBackend.layer(...stubs)))
  )

  it.effect("fails with the task's own error, and gets the number of the attempt", () =>
    Effect.gen(function* () {
      for (const task of [Program, Function, Worker, Python]) {
        const fiber = yield* Effect.fork(
          Effect.flip(ExecutionBackend.execute(task.make(even, { retry: { times: 2 } })))
        )
        yield* TestClock.adjust("2 seconds")
        const error = yield* Fiber.join(fiber)
        assert(error instanceof Diverged, String(error))
        assert.strictEqual(error.step, 3)
      }
    }).pipe(Effect.provide(TestBackend.layer({ stubs })))
  )

  it.effect("that dies, throws or answers what the schema refuses is a typed end", () =>
    Effect.gen(function* () {
      const answers: ReadonlyArray<readonly [() => Effect.Effect<number, Diverged>, string]> = [
        [() => Effect.die("dead"), "TaskError Defect"],
        [
          () => {
            throw new Error("thrown")
          },
          "TaskError Defect"
        ],
        [() => Effect.interrupt, "TaskError Defect"],
        [() => Effect.succeed("text" as any), "TaskError InvalidResult"],
        [() => Effect.fail("text" as any), "TaskError InvalidResult"]
      ]
      for (const [answer, reason] of answers) {
        const exits = yield* Effect.all([
          Effect.exit(ExecutionBackend.execute(Program.make({ at }))),
          Effect.exit(ExecutionBackend.execute(Function.make({ at })))
        ]).pipe(
          Effect.provide(TestBackend.layer(TestBackend.stub(Program, answer), TestBackend.stub(Function, answer)))
        )
        assert.deepStrictEqual(exits.map(reasonOf), [reason, reason])
      }
    })
  )

  it.effect("of a program can answer with its whole output, or with bytes", () =>
    Effect.gen(function* () {
      const Whole = Task.executable("Whole", { success: Task.Output, command })
      const Bytes = Task.executable("Bytes", { success: Schema.Uint8ArrayFromSelf, command })
      const bytes = Uint8Array.of(0xff)
      const output = new Task.Output({ exitCode: 5, stdoutBytes: bytes, stderrBytes: bytes, wallMillis: 9 })
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* ExecutionBackend.execute(Whole.make()), output)
        assert.deepStrictEqual(yield* ExecutionBackend.execute(Bytes.make()), bytes)
      }).pipe(
        Effect.provide(
          TestBackend.layer(
            TestBackend.stub(Whole, () => Effect.succeed(output)),
            TestBackend.stub(Bytes, () => Effect.succeed(bytes))
          )
        )
      )
    })
  )

  it.effect("is interrupted when its task is cancelled, and the cancel waits for it", () =>
    Effect.gen(function* () {
      let cleaned = false
      const slow = Effect.onInterrupt(Effect.never, () =>
        Effect.delay(
          Effect.sync(() => {
            cleaned = true
          }),
          "1 second"
        )
      )
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Program.make({ at }))
        yield* settle
        const canceling = yield* Effect.fork(ExecutionBackend.cancel(fiber))
        yield* TestClock.adjust("999 millis")
        assert.isTrue(Option.isNone(yield* Fiber.poll(canceling)))
        yield* TestClock.adjust("1 millis")
        assert.isTrue(yield* Fiber.join(canceling))
        assert.isTrue(cleaned)
        assert.deepStrictEqual(yield* reasons([fiber]), ["TaskError Canceled"])
      }).pipe(Effect.provide(TestBackend.layer(TestBackend.stub(Program, () => slow))))
    })
  )

  it.effect("goes before a handler, and stands for a handler that is not there", () =>
    Effect.gen(function* () {
      const handler = Function.toLayer(() => Effect.die("was asked"))
      const layer = TestBackend.layer(TestBackend.stub(Function, () => Effect.succeed(1)))
      const task = ExecutionBackend.execute(Function.make({ at }))
      assert.strictEqual(yield* task.pipe(Effect.provide(layer)), 1)
      assert.strictEqual(yield* Effect.provide(Effect.provide(task, handler), layer), 1)
    })
  )

  it.effect("of a name that has two: the last", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ExecutionBackend.execute(Program.make({ at })), 2)
    }).pipe(
      Effect.provide(
        TestBackend.layer(
          now,
          TestBackend.stub(Program, () => Effect.succeed(2))
        )
      )
    )
  )
})

describe("without a stub", () => {
  it.effect("a function runs its handler, which may submit", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ExecutionBackend.execute(Function.make({ at })), 8)
    }).pipe(
      Effect.provide(
        Function.toLayer(({ at }) =>
          Effect.map(Effect.orDie(ExecutionBackend.execute(Program.make({ at }))), (energy) => energy + 7)
        ).pipe(
          // one slot: the running parent must not keep it from its child
          Layer.provideMerge(TestBackend.layer({ stubs: [now], concurrency: 1 }))
        )
      )
    )
  )

  it.effect("any other is refused when it is submitted, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const exits = yield* Effect.all([
        Effect.exit(ExecutionBackend.submit(Program.make({ at }))),
        Effect.exit(ExecutionBackend.submit(Worker.make({ at }))),
        Effect.exit(ExecutionBackend.submit(Python.make({ at }))),
        Effect.exit(Effect.scoped(ExecutionBackend.start(Server.make({ at }))))
      ])
      for (const exit of exits) {
        const error = errorOf(exit)
        assert(error instanceof ConfigurationError, String(error))
        assert.deepStrictEqual([error.reason, error.configKey], ["WrongHandler", "stubs"])
        assert.match(error.message, /TestBackend\.stub\((Program|Worker|Python|Server), \.\.\.\)/)
      }
      assert.deepStrictEqual(yield* TestBackend.submissions, [])
      assert.deepStrictEqual(yield* ExecutionBackend.taskStates, new Map())
    }).pipe(Effect.provide(TestBackend.layer()))
  )

  it.effect("or with one for another definition of the name, it is refused too", () =>
    Effect.gen(function* () {
      const Other = Task.python("Program", { callable: "a:b" })
      const Namesake = Task.function("Function")
      const layer = TestBackend.layer(...stubs)
      const other = yield* Effect.exit(Effect.provide(ExecutionBackend.submit(Other.make()), layer))
      assert.strictEqual(reasonOf(other), "ConfigurationError WrongHandler")
      const handler = Namesake.toLayer(() => Effect.void)
      const namesake = Effect.provide(ExecutionBackend.submit(Namesake.make()), [layer, handler])
      assert.include(String(errorOf(yield* Effect.exit(namesake))), "belongs to another definition of that name")
    })
  )

  it("a function without a handler does not compile", () => {
    const task = ExecutionBackend.execute(Function.make({ at }))
    // @ts-expect-error its handler is missing
    const open: Effect.Effect<number, unknown> = Effect.provide(task, TestBackend.layer(now))
    const closed: Effect.Effect<number, unknown> = Effect.provide(task, TestBackend.layer({ stubs }))
    assert.isTrue(Effect.isEffect(open) && Effect.isEffect(closed))
  })

  it("nor does a stub that answers with the wrong type", () => {
    // @ts-expect-error a string for a number
    const result = TestBackend.stub(Program, () => Effect.succeed("1"))
    // @ts-expect-error an error that the task does not have
    const error = TestBackend.stub(Program, () => Effect.fail("no"))
    // @ts-expect-error the info is a number
    const info = TestBackend.service(Server, () => Effect.succeed({ info: { port: "1" } }))
    assert.deepStrictEqual(
      [result, error, info].map(({ task }) => task.name),
      ["Program", "Program", "Server"]
    )
  })
})

describe("a service", () => {
  it.effect("is ready with its info, and is stopped when its scope closes", () =>
    Effect.gen(function* () {
      let stopped = 0
      const stub = TestBackend.service(Server, ({ at }) =>
        Effect.addFinalizer(() => Effect.sync(() => stopped++)).pipe(
          Effect.zipRight(Effect.sleep("1 minute")),
          Effect.as({ info: { port: at.getTime() } })
        )
      )
      yield* Effect.gen(function* () {
        const starting = yield* Effect.fork(ExecutionBackend.start(Server.make({ at })))
        yield* TestClock.adjust("59 seconds")
        assert.isTrue(Option.isNone(yield* Fiber.poll(starting)))
        yield* TestClock.adjust("1 second")
        const server = yield* Fiber.join(starting)
        assert.deepStrictEqual(server.info, { port: 7000 })
        yield* TestClock.adjust("1 day")
        assert.deepStrictEqual(yield* ExecutionBackend.taskState(server.uid), Option.some("EXECUTING" as const))
        assert.strictEqual(stopped, 0)
      }).pipe(Effect.scoped, Effect.zipRight(idle), Effect.provide(TestBackend.layer(stub)), (_) =>
        Effect.map(_, (left) => assert.deepStrictEqual(left, nothingLeft))
      )
      assert.strictEqual(stopped, 1)
    })
  )

  it.scoped("by a plain stub goes on; by TestBackend.service it may end", () =>
    Effect.gen(function* () {
      const ends = (exit: Driver.ProcessExit) =>
        Effect.gen(function* () {
          const server = yield* ExecutionBackend.start(Server.make({ at }))
          const exited = yield* Effect.fork(Effect.flip(server.exited))
          yield* TestClock.adjust("59 seconds")
          assert.isTrue(Option.isNone(yield* Fiber.poll(exited)))
          yield* TestClock.adjust("1 second")
          return yield* Fiber.join(exited)
        }).pipe(
          Effect.provide(
            TestBackend.layer(
              TestBackend.service(Server, () =>
                Effect.succeed({ info: { port: 1 }, exited: Effect.delay(Effect.succeed(exit), "1 minute") })
              )
            )
          )
        )
      const exit = yield* ends({ exitCode: 4, stderr: "no memory" })
      assert(exit instanceof TaskError)
      assert.deepStrictEqual(
        [exit.reason, exit.exitCode, exit.details],
        ["Exit", 4, { command: ["/nowhere"], stderr: "no memory" }]
      )
      const signal = yield* ends({ signal: "SIGKILL" })
      assert(signal instanceof TaskError)
      assert.deepStrictEqual([signal.reason, signal.signal], ["Signal", "SIGKILL"])

      yield* Effect.gen(function* () {
        const server = yield* ExecutionBackend.start(Server.make({ at }))
        const exited = yield* Effect.fork(server.exited)
        yield* TestClock.adjust("1 day")
        assert.deepStrictEqual(server.info, { port: 2 })
        assert.isTrue(Option.isNone(yield* Fiber.poll(exited)))
      }).pipe(Effect.provide(TestBackend.layer(TestBackend.stub(Server, () => Effect.succeed({ port: 2 })))))
    })
  )

  it.scoped("that does not start, or reports what its schema refuses, fails its start", () =>
    Effect.gen(function* () {
      const start = Effect.exit(ExecutionBackend.start(Server.make({ at })))
      yield* TestBackend.failNext("Server", { exitCode: 9 })
      yield* TestBackend.failNext("Server", "LaunchFailed")
      assert.strictEqual(reasonOf(yield* start), "TaskError Exit")
      assert.strictEqual(reasonOf(yield* start), "TaskError LaunchFailed")
      assert.strictEqual(reasonOf(yield* start), "TaskError InvalidResult")
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(TestBackend.layer(TestBackend.stub(Server, () => Effect.succeed({ port: "x" as any })))))
  )
})

describe("submissions", () => {
  it.effect("have every attempt, in the order of starting", () =>
    Effect.gen(function* () {
      const settings = ConcurrentBackend.settings({})
      yield* TestBackend.failNext("Program", "LaunchFailed")
      const program = yield* ExecutionBackend.submit(
        Program.make({ at }, { uid: "p", retry: { times: 1 }, priority: 3, resources: { cores: 2 }, settings })
      )
      yield* settle
      yield* ExecutionBackend.submit(Python.make({ at }, { uid: "py" }))
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(program)
      const all = yield* TestBackend.submissions
      assert.deepStrictEqual(
        all.map(({ attempt, kind, name, uid }) => [uid, name, kind, attempt]),
        [
          ["p", "Program", "executable", 1],
          ["py", "Python", "python", 1],
          ["p", "Program", "executable", 2]
        ]
      )
      const [first, second] = all
      assert.deepStrictEqual(first!.payload, { at: "1970-01-01T00:00:07.000Z" })
      assert.deepStrictEqual([first!.priority, first!.resources, first!.settings], [3, { cores: 2 }, {}])
      assert.strictEqual(first!.work._tag === "executable" && first!.work.executable, "/nowhere")
      assert.deepStrictEqual(second!.work, { _tag: "python", callable: "no.module:none" })
    }).pipe(Effect.provide(TestBackend.layer({ stubs, settings: ConcurrentBackend.settings })))
  )

  it.effect("hold no task that waits for a slot", () =>
    Effect.gen(function* () {
      const uids = Effect.map(TestBackend.submissions, (all) => all.map(({ uid }) => uid))
      for (const uid of ["a", "b", "c"]) yield* ExecutionBackend.submit(Program.make({ at }, { uid }))
      yield* settle
      assert.deepStrictEqual(yield* uids, ["a", "b"])
      yield* ExecutionBackend.cancel("a")
      yield* settle
      assert.deepStrictEqual(yield* uids, ["a", "b", "c"])
    }).pipe(Effect.provide(TestBackend.layer({ stubs: [never], concurrency: 2 })))
  )

  it.effect("are the newest only, when there are many", () =>
    Effect.gen(function* () {
      const kept = (record?: number) =>
        Effect.gen(function* () {
          for (let n = 0; n < 25; n++) yield* ExecutionBackend.execute(Program.make({ at }, { uid: `${n}` }))
          return (yield* TestBackend.submissions).map(({ uid }) => Number(uid))
        }).pipe(Effect.provide(TestBackend.layer({ stubs: [now], ...(record === undefined ? {} : { record }) })))
      assert.strictEqual((yield* kept()).length, 25)
      assert.deepStrictEqual(yield* kept(3), [22, 23, 24])
      assert.deepStrictEqual(yield* kept(0), [])
    })
  )

  it.effect("of two layers are apart", () =>
    Effect.gen(function* () {
      const layer = TestBackend.layer(now)
      const run = Effect.zipRight(
        ExecutionBackend.execute(Program.make({ at })),
        Effect.map(TestBackend.submissions, (all) => all.length)
      )
      assert.deepStrictEqual([yield* Effect.provide(run, layer), yield* Effect.provide(run, layer)], [1, 1])
    })
  )
})

describe("failNext", () => {
  const exit = Effect.exit(ExecutionBackend.execute(Program.make({ at })))

  it.effect("fails as a program: its definition's failure and exitCodes are asked", () =>
    Effect.gen(function* () {
      yield* TestBackend.failNext("Program", { exitCode: 3 })
      yield* TestBackend.failNext("Program", { exitCode: 4, stderr: "broken" })
      yield* TestBackend.failNext("Program", { signal: "SIGSEGV" })
      const own = errorOf(yield* exit)
      assert(own instanceof Diverged, String(own))
      assert.strictEqual(own.step, 33)
      const error = errorOf(yield* exit)
      assert(error instanceof TaskError, String(error))
      assert.deepStrictEqual(
        [error.reason, error.exitCode, error.details],
        ["Exit", 4, { command: ["/nowhere"], stderr: "broken" }]
      )
      assert.strictEqual(reasonOf(yield* exit), "TaskError Signal")
      assert.deepStrictEqual(yield* exit, Exit.succeed(1))
    }).pipe(Effect.provide(TestBackend.layer(now)))
  )

  it.effect("fails by a reason of the task's, or with an error of the backend's", () =>
    Effect.gen(function* () {
      const error = new BackendError({ backendType: "test", reason: "Unavailable" })
      yield* TestBackend.failNext("Program", "OutputLimit")
      yield* TestBackend.failNext("Program", error)
      assert.strictEqual(reasonOf(yield* exit), "TaskError OutputLimit")
      assert.strictEqual(errorOf(yield* exit), error)
    }).pipe(Effect.provide(TestBackend.layer(now)))
  )

  it.effect("fails a handler's task too", () =>
    Effect.gen(function* () {
      yield* TestBackend.failNext({ kind: "function" }, "Defect")
      const exit = Effect.exit(ExecutionBackend.execute(Function.make({ at })))
      assert.strictEqual(reasonOf(yield* exit), "TaskError Defect")
      assert.deepStrictEqual(yield* exit, Exit.succeed(5))
    }).pipe(Effect.provide([TestBackend.layer(), Function.toLayer(() => Effect.succeed(5))]))
  )

  it.effect("fails only what matches, and a retry goes on", () =>
    Effect.gen(function* () {
      yield* TestBackend.failNext({ uid: "b" }, "LaunchFailed")
      yield* TestBackend.failNext({ name: "Program", attempt: 2 }, "LaunchFailed")
      yield* TestBackend.failNext("Python", "LaunchFailed")
      yield* ExecutionBackend.execute(Program.make({ at }, { uid: "a" }))
      const fiber = yield* ExecutionBackend.submit(Program.make({ at }, { uid: "b", retry: { times: 2 } }))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), 1)
      const attempts = (yield* TestBackend.submissions).map(({ attempt, uid }) => `${uid} ${attempt}`)
      assert.deepStrictEqual(attempts, ["a 1", "b 1", "b 2", "b 3"])
    }).pipe(Effect.provide(TestBackend.layer(now)))
  )
})

describe("failEngine", () => {
  const lost = "BackendError Lost"

  it.scoped("ends what runs and what is queued with Lost, and refuses the rest", () =>
    Effect.gen(function* () {
      const interrupted: Array<string> = []
      const stub = TestBackend.stub(Program, (_, { uid }) =>
        Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted.push(uid)))
      )
      yield* Effect.gen(function* () {
        const options: Task.Options = { retry: { times: 3 } }
        const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(Program.make({ at }, options)), 5)
        yield* settle
        assert.strictEqual((yield* ExecutionBackend.state).active, 2)
        yield* TestBackend.failEngine
        assert.strictEqual((yield* ExecutionBackend.state).status, "FAILED")
        assert.strictEqual(reasonOf(yield* Effect.exit(ExecutionBackend.submit(Program.make({ at })))), lost)
        assert.deepStrictEqual(
          yield* reasons(fibers),
          Array.from({ length: 5 }, () => lost)
        )
        assert.deepStrictEqual(interrupted, ["task.000001", "task.000002"])
        assert.strictEqual((yield* TestBackend.submissions).length, 2)
        yield* TestBackend.failEngine
        assert.deepStrictEqual(yield* activity, { ...nothingLeft, status: "FAILED" })
      }).pipe(Effect.provide(TestBackend.layer({ stubs: [stub], concurrency: 2 })))
    })
  )

  it.scoped("ends a service, one that starts and one that runs; and what waits for its next attempt", () =>
    Effect.gen(function* () {
      const stub = TestBackend.service(Server, ({ at }) =>
        at.getTime() === 0 ? Effect.never : Effect.succeed({ info: { port: 1 } })
      )
      yield* Effect.gen(function* () {
        yield* TestBackend.failNext("Program", "LaunchFailed")
        const retried = yield* ExecutionBackend.submit(Program.make({ at }, { retry: { times: 1 } }))
        yield* settle
        assert.strictEqual(yield* TaskFiber.state(retried), "WAITING")
        const server = yield* ExecutionBackend.start(Server.make({ at }))
        const exited = yield* Effect.fork(server.exited)
        const starting = yield* Effect.fork(ExecutionBackend.start(Server.make({ at: zero })))
        yield* settle
        yield* TestBackend.failEngine
        // no time goes by
        assert.deepStrictEqual(yield* reasons([exited, starting, retried]), [lost, lost, lost])
      }).pipe(Effect.provide(TestBackend.layer(stub, now)))
    })
  )
})

describe("an engine that cannot cancel", () => {
  const slow = TestBackend.stub(Program, () => Effect.delay(Effect.succeed(1), "1 minute"))

  it.effect("refuses to, and the task goes on to its end", () =>
    Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(Program.make({ at }))
      yield* settle
      assert.strictEqual(reasonOf(yield* Effect.exit(ExecutionBackend.cancel(fiber))), "BackendError CancelUnsupported")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(fiber), 1)
    }).pipe(Effect.provide(TestBackend.layer({ stubs: [slow], cancelable: false })))
  )

  it.effect("keeps an interruption waiting until the end of the work", () =>
    Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(Program.make({ at }))
      yield* settle
      const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust("59 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.poll(interrupting)))
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.join(interrupting)))
    }).pipe(Effect.provide(TestBackend.layer({ stubs: [slow], cancelable: false, stopTimeout: "1 hour" })))
  )

  it.effect("or until the grace is over, and the event says that it was not stopped", () =>
    Effect.gen(function* () {
      const follow = yield* statesOf
      const fiber = yield* ExecutionBackend.submit(Program.make({ at }, { timeout: "10 seconds" }))
      yield* TestClock.adjust("10 seconds")
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* reasons([fiber]), ["TaskError Timeout"])
      assert.strictEqual((yield* follow(fiber.uid)).at(-1)!.stopped, false)
    }).pipe(
      Effect.scoped,
      Effect.provide(TestBackend.layer({ stubs: [slow], cancelable: false, stopTimeout: "2 seconds" }))
    )
  )

  it.scoped("lost, keeps what runs until the grace is over, and the event says that it was not stopped", () =>
    Effect.gen(function* () {
      const follow = yield* statesOf
      const fiber = yield* ExecutionBackend.submit(Program.make({ at }))
      yield* settle
      yield* TestBackend.failEngine
      yield* TestClock.adjust("1999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* reasons([fiber]), ["BackendError Lost"])
      const { reason, state, stopped } = (yield* follow(fiber.uid)).at(-1)!
      assert.deepStrictEqual([state, reason, stopped], ["FAILED", "Lost", false])
    }).pipe(Effect.provide(TestBackend.layer({ stubs: [slow], cancelable: false, stopTimeout: "2 seconds" })))
  )

  it.effect("goes on with what a stub has forked, too, when its task is interrupted", () => {
    let ended = 0
    const slow = Effect.delay(
      Effect.sync(() => void ended++),
      "1 minute"
    )
    const stub = TestBackend.stub(Program, () => Effect.as(Effect.all([slow, slow], { concurrency: 2 }), 1))
    return Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(Program.make({ at }))
      yield* settle
      const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(interrupting)
      assert.strictEqual(ended, 2)
    }).pipe(Effect.provide(TestBackend.layer({ stubs: [stub], cancelable: false, stopTimeout: "1 hour" })))
  })
})

describe("the layer", () => {
  it.effect("runs as many at once as its option says, and any number by default", () =>
    Effect.gen(function* () {
      const active = (options: TestBackend.Options) =>
        Effect.gen(function* () {
          yield* Effect.replicateEffect(ExecutionBackend.submit(Program.make({ at })), 20)
          yield* settle
          return (yield* ExecutionBackend.state).active
        }).pipe(Effect.provide(TestBackend.layer({ ...options, stubs: [never] })))
      assert.strictEqual(yield* active({}), 20)
      assert.strictEqual(yield* active({ concurrency: 3 }), 3)
    })
  )

  it.effect("refuses limits that it cannot honour", () =>
    Effect.gen(function* () {
      for (const [key, options] of [
        ["record", { record: -1 }],
        ["record", { record: 1.5 }],
        ["concurrency", { concurrency: 0 }],
        ["maxActiveTasks", { maxActiveTasks: 0 }]
      ] as const) {
        const error = errorOf(yield* Effect.exit(Effect.scoped(Layer.build(TestBackend.layer(options)))))
        assert(error instanceof ConfigurationError, String(error))
        assert.deepStrictEqual([error.reason, error.configKey], ["InvalidOption", key])
      }
    })
  )

  it.effect("refuses settings of a backend that it does not stand for", () =>
    Effect.gen(function* () {
      const task = Program.make({ at }, { settings: ConcurrentBackend.settings({}) })
      assert.strictEqual(
        reasonOf(yield* Effect.exit(ExecutionBackend.submit(task))),
        "ConfigurationError WrongSettings"
      )
    }).pipe(Effect.provide(TestBackend.layer(now)))
  )
})
