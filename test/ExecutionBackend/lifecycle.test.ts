import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, Schedule, Schema, TestClock } from "effect"
import { Driver, ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import { BackendError, TaskError } from "effect-rhapsody/Errors"
import { activity, executables, functions, held, idle, nothingLeft, ok, Program, statesOf } from "../support.js"

const states = (changes: ReadonlyArray<{ readonly state: string; readonly attempt: number }>) =>
  changes.map(({ attempt, state }) => `${state} ${attempt}`)

const failing = Driver.Outcome.exited({ exitCode: 1 })
/** Fails until the given attempt. */
const until = (attempt: number) => (spec: Driver.Spec) => (spec.attempt < attempt ? Effect.succeed(failing) : ok)

describe("states", () => {
  it.scoped("of a task that completes", () =>
    Effect.gen(function* () {
      const follow = yield* statesOf
      const fiber = yield* ExecutionBackend.submit(Program.make())
      assert.deepStrictEqual(states(yield* follow(fiber.uid)), ["NEW 1", "READY 1", "EXECUTING 1", "COMPLETED 1"])
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.scoped("of a task that is retried, with the reason", () =>
    Effect.gen(function* () {
      const follow = yield* statesOf
      const fiber = yield* ExecutionBackend.submit(
        Program.make(undefined, { retry: { times: 1, schedule: Schedule.stop } })
      )
      yield* Fiber.await(fiber)
      const other = yield* ExecutionBackend.submit(
        Program.make(undefined, { uid: "retried", retry: { times: 1, schedule: Schedule.forever } })
      )
      yield* other
      const changes = yield* follow("retried")
      assert.deepStrictEqual(states(changes), [
        "NEW 1",
        "READY 1",
        "EXECUTING 1",
        "RETRYING 1",
        "WAITING 2",
        "READY 2",
        "EXECUTING 2",
        "COMPLETED 2"
      ])
      assert.deepStrictEqual([changes[3]!.reason, changes[3]!.exitCode], ["Exit", 1])
      assert.isTrue(changes.every(({ reason, state }) => (reason === undefined) === (state !== "RETRYING")))
    }).pipe(Effect.provide(executables(until(2))))
  )

  it.scoped("EXECUTING only when a driver that knows says so", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const asked = yield* Deferred.make<void>()
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Program.make())
        yield* Deferred.await(asked)
        assert.strictEqual(yield* TaskFiber.state(fiber), "READY")
        yield* Deferred.succeed(go, undefined)
        while ((yield* TaskFiber.state(fiber)) === "READY") yield* Effect.yieldNow()
        assert.strictEqual(yield* TaskFiber.state(fiber), "EXECUTING")
      }).pipe(
        Effect.provide(
          executables(
            (_, { executing }) =>
              Deferred.succeed(asked, undefined).pipe(
                Effect.zipRight(Deferred.await(go)),
                Effect.zipRight(executing),
                Effect.zipRight(Effect.never)
              ),
            { reportsExecuting: true }
          )
        )
      )
    })
  )

  it.effect("of the backend, with its counts", () =>
    Effect.gen(function* () {
      const program = yield* held
      yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* idle, { ...nothingLeft, status: "INITIALIZED" as any })
        const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(Program.make()), 3)
        yield* program.started
        assert.deepStrictEqual(yield* activity, { status: "RUNNING", waiting: 0, queued: 2, active: 1 })
        yield* program.release
        yield* Fiber.joinAll(fibers)
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(executables(() => program.run)))
    })
  )
})

describe("retry", () => {
  const attemptsOf = (options: Task.Options<never>, last = Number.POSITIVE_INFINITY) => {
    let attempts = 0
    return ExecutionBackend.submit(Program.make(undefined, options)).pipe(
      Effect.tap(() => TestClock.adjust("1 hour")),
      Effect.flatMap(Fiber.await),
      Effect.map((exit) => ({ attempts, ok: Exit.isSuccess(exit) })),
      Effect.provide(
        executables((spec) => {
          attempts++
          return until(last)(spec)
        })
      )
    )
  }

  it.effect("times: that many further attempts", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* attemptsOf({}), { attempts: 1, ok: false })
      assert.deepStrictEqual(yield* attemptsOf({ retry: { times: 0 } }), { attempts: 1, ok: false })
      assert.deepStrictEqual(yield* attemptsOf({ retry: { times: 2 } }), { attempts: 3, ok: false })
      assert.deepStrictEqual(yield* attemptsOf({ retry: { times: 5 } }, 3), { attempts: 3, ok: true })
    })
  )

  it.effect("schedule: as long as it goes on; both: whichever ends first", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* attemptsOf({ retry: { schedule: Schedule.recurs(3) } }), { attempts: 4, ok: false })
      assert.deepStrictEqual(yield* attemptsOf({ retry: { schedule: Schedule.recurs(3), times: 1 } }), {
        attempts: 2,
        ok: false
      })
    })
  )

  it.effect("while: only after these errors, plain or as an effect", () =>
    Effect.gen(function* () {
      const exit = (code: number) => (error: TaskError) => error.exitCode === code
      assert.deepStrictEqual(yield* attemptsOf({ retry: { times: 1, while: exit(2) } }), { attempts: 1, ok: false })
      assert.deepStrictEqual(yield* attemptsOf({ retry: { times: 1, while: exit(1) } }), { attempts: 2, ok: false })
      const effect = (error: TaskError) => Effect.succeed(exit(1)(error))
      assert.deepStrictEqual(yield* attemptsOf({ retry: { times: 1, while: effect } }), { attempts: 2, ok: false })
      const dies = () => {
        throw new Error("boom")
      }
      assert.deepStrictEqual(yield* attemptsOf({ retry: { times: 1, while: dies } }), { attempts: 1, ok: false })
    })
  )

  it.effect("waits as its schedule says, by the clock, and holds no slot meanwhile", () =>
    Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(
        Program.make(undefined, { retry: { schedule: Schedule.exponential("1 second") } })
      )
      const attempt = yield* Effect.iterate(fiber[TaskFiber.TypeId] as any, {
        while: (entry: any) => entry.attempt < 2,
        body: (entry) => Effect.as(Effect.yieldNow(), entry)
      })
      assert.strictEqual(yield* ExecutionBackend.execute(Program.make(undefined, { uid: "other" })), "ok")
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(attempt.attempt, 2)
      assert.strictEqual(yield* TaskFiber.state(fiber), "WAITING")
      yield* TestClock.adjust("1 millis")
      yield* Effect.yieldNow()
      assert.strictEqual(attempt.attempt, 3)
      yield* TestClock.adjust("1999 millis")
      assert.strictEqual(yield* TaskFiber.state(fiber), "WAITING")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* fiber, "ok")
    }).pipe(Effect.provide(executables((spec) => (spec.uid === "other" ? ok : until(3)(spec)))))
  )

  it.effect("a user's own error is retried, a cancelled task and a lost backend are not", () =>
    Effect.gen(function* () {
      const Flaky = Task.function("Flaky", { error: Schema.String })
      let runs = 0
      const handler = Flaky.toLayer((_, { attempt }) => {
        runs++
        return attempt === 1 ? Effect.fail("not yet") : Effect.void
      })
      yield* ExecutionBackend.execute(Flaky.make(undefined, { retry: { times: 1, schedule: Schedule.forever } })).pipe(
        Effect.provide([handler, functions(1)])
      )
      assert.strictEqual(runs, 2)
      for (const error of [
        new BackendError({ backendType: "fake", reason: "Lost" }),
        new TaskError({ taskUid: "x", task: "x", reason: "Canceled" })
      ]) {
        let attempts = 0
        const seen = yield* Effect.flip(
          ExecutionBackend.execute(Program.make(undefined, { retry: { times: 3 } }))
        ).pipe(
          Effect.provide(
            executables(() =>
              Effect.suspend(() => {
                attempts++
                return Effect.fail(error)
              })
            )
          )
        )
        assert.strictEqual(seen._tag, error._tag)
        assert.strictEqual(attempts, 1)
      }
    })
  )
})

describe("timeout", () => {
  it.effect("ends an attempt with TaskError Timeout, by the clock", () =>
    Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { timeout: "10 seconds" }))
      yield* TestClock.adjust("9 seconds")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust("1 second")
      const error = yield* Effect.flip(fiber)
      assert.isTrue(error instanceof TaskError && error.reason === "Timeout")
      assert.include(error.message, "10s")
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(executables(() => Effect.never)))
  )

  it.effect("does not count the wait for a slot, and is per attempt", () =>
    Effect.gen(function* () {
      const first = yield* held
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.submit(Program.make(undefined, { uid: "first" }))
        yield* first.started
        const fiber = yield* ExecutionBackend.submit(
          Program.make(undefined, { timeout: "10 seconds", retry: { times: 1, schedule: Schedule.forever } })
        )
        yield* TestClock.adjust("1 minute")
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
        yield* first.release
        yield* TestClock.adjust("10 seconds")
        yield* TestClock.adjust("9 seconds")
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
        yield* TestClock.adjust("1 second")
        assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
      }).pipe(Effect.provide(executables(({ uid }) => (uid === "first" ? first.run : Effect.never))))
    })
  )

  it.scoped(
    "bounds the clean-up too: work that does not stop is left behind after the grace period, and that is reported",
    () =>
      Effect.gen(function* () {
        const follow = yield* statesOf
        const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { timeout: "10 seconds" }))
        yield* TestClock.adjust("10 seconds")
        yield* TestClock.adjust("1 second")
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
        yield* TestClock.adjust("1 second")
        const error = yield* Effect.flip(fiber)
        assert.isTrue(error instanceof TaskError && error.reason === "Timeout")
        assert.deepStrictEqual((error as TaskError).details, { command: ["program"], timeout: "10s", stopped: false })
        const last = (yield* follow(fiber.uid)).at(-1)!
        assert.deepStrictEqual([last.state, last.reason, last.stopped], ["FAILED", "Timeout", false])
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(executables(() => Effect.uninterruptible(Effect.never), {}, { stopTimeout: "2 seconds" })))
  )
})

describe("close", () => {
  const open = <A, E, R>(layer: Layer.Layer<A, E>, use: Effect.Effect<R, unknown, A>) =>
    Effect.scoped(Effect.flatMap(Layer.build(layer), (context) => Effect.provide(use, context)))

  it.effect("gives every task its typed end: queued, running, waiting; and is idempotent", () =>
    Effect.gen(function* () {
      let stopped = 0
      const fibers = yield* open(
        executables(
          ({ uid }) =>
            uid === "retried"
              ? Effect.succeed(failing)
              : Effect.onInterrupt(Effect.never, () => Effect.sync(() => void stopped++)),
          { concurrency: 2 }
        ),
        Effect.gen(function* () {
          const retried = yield* ExecutionBackend.submit(
            Program.make(undefined, { uid: "retried", retry: { times: 3 } })
          )
          while ((yield* TaskFiber.state(retried)) !== "WAITING") yield* Effect.yieldNow()
          const others = yield* Effect.replicateEffect(ExecutionBackend.submit(Program.make()), 5)
          while ((yield* ExecutionBackend.state).active < 2) yield* Effect.yieldNow()
          yield* Effect.yieldNow()
          return [retried, ...others]
        })
      )
      assert.strictEqual(stopped, 2)
      for (const fiber of fibers) {
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.isFailure(exit))
        const errors = Exit.isFailure(exit) ? [...Cause.failures(exit.cause)] : []
        assert.deepStrictEqual(
          errors.map((error) => error instanceof TaskError && error.reason),
          ["Canceled"]
        )
        assert.include(String((errors[0] as TaskError).message), "its backend closed")
        assert.strictEqual(yield* TaskFiber.state(fiber), "CANCELED")
      }
    })
  )

  it.effect("with 16 slow clean-ups takes the time of one", () =>
    Effect.gen(function* () {
      const Slow = Task.function("Slow", {})
      let running = 0
      let cleaned = 0
      const handler = Slow.toLayer(() =>
        Effect.suspend(() => {
          running++
          return Effect.onInterrupt(Effect.never, () =>
            Effect.zipRight(
              Effect.sleep("1 second"),
              Effect.sync(() => void cleaned++)
            )
          )
        })
      )
      const closing = yield* Effect.fork(
        open(
          Layer.merge(functions(16), handler),
          Effect.gen(function* () {
            yield* Effect.replicateEffect(ExecutionBackend.submit(Slow.make()), 16)
            while (running < 16) yield* Effect.yieldNow()
          })
        )
      )
      while (running < 16) yield* Effect.yieldNow()
      yield* TestClock.adjust("999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(closing)))
      assert.strictEqual(cleaned, 0)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
      assert.strictEqual(cleaned, 16)
    })
  )

  it.effect("is bounded when a handler never stops", () =>
    Effect.gen(function* () {
      const Stuck = Task.function("Stuck", {})
      let running = 0
      const handler = Stuck.toLayer(() =>
        Effect.suspend(() => {
          running++
          return Effect.uninterruptible(Effect.never)
        })
      )
      const closing = yield* Effect.fork(
        open(
          Layer.merge(functions(4, { stopTimeout: "3 seconds" }), handler),
          Effect.gen(function* () {
            const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(Stuck.make()), 4)
            while (running < 4) yield* Effect.yieldNow()
            return fibers
          })
        )
      )
      while (running < 4) yield* Effect.yieldNow()
      yield* TestClock.adjust("3 seconds")
      const fibers = yield* Fiber.join(closing)
      for (const fiber of fibers) {
        const error = yield* Effect.flip(fiber)
        assert.isTrue(error instanceof TaskError && error.reason === "Canceled" && error.details["stopped"] === false)
      }
    })
  )

  it.effect("of 10,000 queued tasks ends them all", () =>
    Effect.gen(function* () {
      const fibers = yield* open(
        executables(() => Effect.never),
        Effect.replicateEffect(ExecutionBackend.submit(Program.make()), 10_000)
      )
      const exits = yield* Fiber.awaitAll(fibers)
      assert.strictEqual(exits.length, 10_000)
      assert.isTrue(exits.every((exit) => Exit.isFailure(exit) && !Exit.isInterrupted(exit)))
    })
  )

  it.effect("Fiber.interrupt of work that does not stop waits for the grace and ends interrupted", () =>
    Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(Program.make())
      while ((yield* TaskFiber.state(fiber)) !== "EXECUTING") yield* Effect.yieldNow()
      const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
      yield* TestClock.adjust("1999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(interrupting)))
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Exit.isInterrupted(yield* Fiber.join(interrupting)))
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(executables(() => Effect.uninterruptible(Effect.never), {}, { stopTimeout: "2 seconds" })))
  )
})

describe("a user's defect is a typed outcome", () => {
  const outcome = (run: Driver.SlotDriver<"executable">["run"]) =>
    Effect.flip(ExecutionBackend.execute(Program.make())).pipe(
      Effect.zipLeft(Effect.map(idle, (left) => assert.deepStrictEqual(left, nothingLeft))),
      Effect.provide(executables(run))
    )
  const isDefect = (error: unknown) =>
    assert.isTrue(error instanceof TaskError && error.reason === "Defect", String(error))

  it.effect("a driver that dies, throws, or interrupts itself", () =>
    Effect.gen(function* () {
      isDefect(yield* outcome(() => Effect.die(new Error("boom"))))
      isDefect(
        yield* outcome(() => {
          throw new Error("boom")
        })
      )
      const error = yield* outcome(() => Effect.interrupt)
      isDefect(error)
      assert.include(error.message, "interrupted itself")
    })
  )

  it.effect("a handler that dies, throws, interrupts itself, or answers what its schema refuses", () =>
    Effect.gen(function* () {
      const Odd = Task.function("Odd", {
        payload: { how: Schema.String },
        success: Schema.Number,
        error: Schema.String
      })
      const handler = Odd.toLayer(({ how }) => {
        switch (how) {
          case "die":
            return Effect.die("dead")
          case "throw":
            throw new Error("thrown")
          case "interrupt":
            return Effect.interrupt
          case "result":
            return Effect.succeed("text" as any)
          case "error":
            return Effect.fail(7 as any)
          default:
            return Effect.fail(how)
        }
      })
      yield* Effect.gen(function* () {
        const reason = (how: string) =>
          Effect.map(Effect.flip(ExecutionBackend.execute(Odd.make({ how }))), (error) =>
            error instanceof TaskError ? error.reason : error
          )
        assert.strictEqual(yield* reason("die"), "Defect")
        assert.strictEqual(yield* reason("throw"), "Defect")
        assert.strictEqual(yield* reason("interrupt"), "Defect")
        assert.strictEqual(yield* reason("result"), "InvalidResult")
        assert.strictEqual(yield* reason("error"), "InvalidResult")
        assert.strictEqual(yield* reason("mine"), "mine")
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide([handler, functions(1)]))
    })
  )
})

describe("what a driver says of an end", () => {
  it.scoped("exit code, signal, details and cause reach the error and the event", () =>
    Effect.gen(function* () {
      const follow = yield* statesOf
      const ended = (uid: string) =>
        Effect.gen(function* () {
          const error = yield* Effect.flip(ExecutionBackend.execute(Program.make(undefined, { uid })))
          assert(error instanceof TaskError, String(error))
          const { exitCode, reason, signal } = (yield* follow(uid)).at(-1)!
          return { error, reported: { exitCode, reason, signal } }
        })
      const exit = yield* ended("exit")
      assert.deepStrictEqual(exit.reported, { exitCode: 7, reason: "Exit", signal: undefined })
      assert.deepStrictEqual([exit.error.taskUid, exit.error.task, exit.error.exitCode], ["exit", "Program", 7])
      assert.deepStrictEqual(
        [exit.error.details, exit.error.cause],
        [{ command: ["program"], stderr: "no" }, "because"]
      )
      const signal = yield* ended("signal")
      assert.deepStrictEqual(signal.reported, { exitCode: undefined, reason: "Signal", signal: "SIGSEGV" })
      assert.deepStrictEqual([signal.error.signal, signal.error.details], ["SIGSEGV", { command: ["program"] }])
      assert.notProperty(signal.error, "exitCode")
    }).pipe(
      Effect.provide(
        executables((spec) =>
          Effect.fail(
            spec.uid === "exit"
              ? Driver.taskError(spec, "Exit", {
                  exitCode: 7,
                  signal: undefined,
                  details: { stderr: "no" },
                  cause: "because"
                })
              : Driver.taskError(spec, "Signal", { signal: "SIGSEGV", exitCode: undefined })
          )
        )
      )
    )
  )
})

describe("text that is too long for a string", () => {
  it.effect("is OutputLimit, with what to do instead; as bytes it is whole", () => {
    // never touched as far as it is not read, so that it costs no memory
    const stdout = new Uint8Array(2 ** 29)
    const backend = executables(() => Effect.succeed(Driver.Outcome.exited({ exitCode: 0, stdout })))
    return Effect.gen(function* () {
      const error = yield* Effect.flip(ExecutionBackend.execute(Program.make()))
      assert(error instanceof TaskError)
      assert.deepStrictEqual([error.reason, error.details["stream"]], ["OutputLimit", "stdout"])
      assert.include(error.message, "decode bytes (Schema.Uint8ArrayFromSelf)")
      const Bytes = Task.executable("Bytes", {
        success: Schema.Uint8ArrayFromSelf,
        command: () => ({ executable: "program" })
      })
      assert.strictEqual((yield* ExecutionBackend.execute(Bytes.make())).length, 2 ** 29)
    }).pipe(Effect.provide(backend))
  })
})
