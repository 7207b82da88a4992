// A result is decoded in the time of its task, in either form of a backend: a schema may take as long as it likes.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Schedule, Schema, Scope, TestClock } from "effect"
import { Backend, Driver, ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import { BackendError, TaskError } from "effect-rhapsody/Errors"
import { fakeEngine } from "../engines/fakeEngine.js"
import { executables, idle, nothingLeft, statesOf } from "../support.js"

/** A schema of text that takes its time, which the text says. */
const text = (decode: (text: string) => Effect.Effect<string>) =>
  Schema.transformOrFail(Schema.String, Schema.String, { decode, encode: Effect.succeed })

const lost = new BackendError({ backendType: "fake", reason: "Lost" })
/** Everything ends at once; what is called Failing with an error of its own. */
const outcomeOf = ({ name }: Driver.Spec) =>
  name === "Failing" ? Driver.Outcome.failure("own") : Driver.Outcome.exited({ exitCode: 0, stdout: "ok" })

/** What is called Slow has taken 6 seconds until then. */
const ends = <A>(spec: Driver.Spec, end: Effect.Effect<A>) =>
  spec.name === "Slow" ? Effect.delay(end, "6 seconds") : end

/** An engine that does so. */
const batches = (reported: "started" | "ended", burn: Deferred.Deferred<BackendError>, options: Backend.Options) =>
  Layer.unwrapEffect(
    Effect.map(fakeEngine(), (engine) =>
      Backend.layer<"executable">(
        {
          ...engine.driver,
          kinds: ["executable"],
          lost: Deferred.await(burn),
          submit: (attempts) =>
            Effect.forEach(
              attempts,
              ({ spec }) =>
                Effect.zipRight(
                  reported === "started" ? engine.started(spec.uid, spec.attempt) : Effect.void,
                  Effect.forkDaemon(ends(spec, engine.ended(spec.uid, spec.attempt, outcomeOf(spec))))
                ),
              { discard: true }
            )
        },
        options
      )
    )
  )

const forms: Record<
  string,
  (
    burn: Deferred.Deferred<BackendError>,
    options: Backend.Options
  ) => Layer.Layer<ExecutionBackend.ExecutionBackend<"executable">, unknown>
> = {
  slots: (burn, options) =>
    executables((spec) => ends(spec, Effect.succeed(outcomeOf(spec))), { lost: Deferred.await(burn) }, options),
  "bounded slots": (burn, options) =>
    executables(
      (spec) => ends(spec, Effect.succeed(outcomeOf(spec))),
      { lost: Deferred.await(burn), boundedStop: ["executable"] },
      options
    ),
  "batches, start reported": (burn, options) => batches("started", burn, options),
  "batches, start not reported": (burn, options) => batches("ended", burn, options)
}

const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.zipRight(Effect.yieldNow(), until(condition))))
const pending = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Effect.map(Fiber.poll(fiber), (exit) => assert.isTrue(Option.isNone(exit), "has ended"))
const reasonOf = (error: unknown) =>
  error instanceof TaskError || error instanceof BackendError ? error.reason : error

for (const [form, layerOf] of Object.entries(forms)) {
  describe(`a result that takes its time, ${form}`, () => {
    const options: Backend.Options = { stopTimeout: "2 seconds" }
    /** Runs over a backend, with what loses its engine, and looks for what is left. */
    const over = <E>(
      use: (
        lose: Effect.Effect<unknown>
      ) => Effect.Effect<unknown, E, ExecutionBackend.ExecutionBackend<"executable"> | Scope.Scope>,
      status: "IDLE" | "FAILED" = "IDLE"
    ) =>
      Effect.flatMap(Deferred.make<BackendError>(), (burn) =>
        use(Effect.zipRight(Deferred.succeed(burn, lost), Effect.yieldNow())).pipe(
          Effect.zipRight(
            Effect.map(idle, (left) => assert.deepStrictEqual(left, { ...nothingLeft, status } as never))
          ),
          Effect.scoped,
          Effect.provide(layerOf(burn, options))
        )
      )
    /** A program whose result is decoded so, and how often that was begun and given up. */
    const decodes = (decode: Effect.Effect<string>) => {
      const count = { begun: 0, stopped: 0 }
      const success = text(() =>
        Effect.suspend(() => {
          count.begun++
          return Effect.onInterrupt(decode, () => Effect.sync(() => void count.stopped++))
        })
      )
      return { count, Program: Task.executable("Decoded", { success, command: () => ({ executable: "x" }) }) }
    }

    it.effect("is waited for", () =>
      over(() =>
        Effect.gen(function* () {
          const { Program } = decodes(Effect.delay(Effect.succeed("decoded"), "1 minute"))
          const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { timeout: "2 minutes" }))
          yield* TestClock.adjust("59 seconds")
          yield* pending(fiber)
          yield* TestClock.adjust("1 second")
          assert.strictEqual(yield* fiber, "decoded")
          assert.strictEqual(yield* TaskFiber.state(fiber), "COMPLETED")
        })
      )
    )

    it.effect("does so within the timeout, and again in the next attempt", () =>
      over(() =>
        Effect.gen(function* () {
          const { Program, count } = decodes(Effect.never)
          const retry = { times: 1, schedule: Schedule.forever }
          const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { timeout: "10 seconds", retry }))
          yield* until(() => count.begun === 1)
          yield* TestClock.adjust("9999 millis")
          yield* pending(fiber)
          yield* TestClock.adjust("1 millis")
          yield* until(() => count.begun === 2)
          assert.strictEqual(count.stopped, 1)
          yield* TestClock.adjust("10 seconds")
          const error = yield* Effect.flip(fiber)
          assert.strictEqual(reasonOf(error), "Timeout")
          assert.deepStrictEqual((error as TaskError).details, { command: ["x"], timeout: "10s" })
          assert.deepStrictEqual(count, { begun: 2, stopped: 2 })
        })
      )
    )

    it.effect("has what the program left of the timeout", () =>
      over(() =>
        Effect.gen(function* () {
          const Slow = Task.executable("Slow", {
            success: text(() => Effect.never),
            command: () => ({ executable: "x" }),
            timeout: "10 seconds"
          })
          const fiber = yield* ExecutionBackend.submit(Slow.make())
          yield* until(() => fiber[TaskFiber.TypeId].state === (form.endsWith("not reported") ? "READY" : "EXECUTING"))
          // an engine that does not report the start has used none of it
          yield* TestClock.adjust(form.endsWith("not reported") ? "6 seconds" : 0)
          yield* TestClock.adjust("9999 millis")
          yield* pending(fiber)
          yield* TestClock.adjust("1 millis")
          assert.strictEqual(reasonOf(yield* Effect.flip(fiber)), "Timeout")
        })
      )
    )

    it.effect("or is an error", () =>
      over(() =>
        Effect.gen(function* () {
          const failing = (decode: Effect.Effect<string>) =>
            Task.executable("Failing", { error: text(() => decode), command: () => ({ executable: "x" }) })
          const never = failing(Effect.never).make(undefined, { timeout: "10 seconds" })
          const late = failing(Effect.delay(Effect.succeed("late"), "9 seconds")).make(undefined, {
            timeout: "10 seconds"
          })
          const fibers = yield* Effect.forEach([never, late], (one) => ExecutionBackend.submit(one))
          yield* TestClock.adjust("20 seconds")
          const errors = yield* Effect.forEach(fibers, (fiber) => Effect.flip(fiber))
          assert.deepStrictEqual(errors.map(reasonOf), ["Timeout", "late"])
        })
      )
    )

    it.effect("ends by cancel and by interruption", () =>
      over(() =>
        Effect.gen(function* () {
          const { Program, count } = decodes(Effect.never)
          const canceled = yield* ExecutionBackend.submit(Program.make())
          yield* until(() => count.begun === 1)
          assert.isTrue(yield* ExecutionBackend.cancel(canceled))
          assert.strictEqual(reasonOf(yield* Effect.flip(canceled)), "Canceled")
          const interrupted = yield* ExecutionBackend.submit(Program.make())
          yield* until(() => count.begun === 2)
          assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(interrupted)))
          assert.deepStrictEqual(count, { begun: 2, stopped: 2 })
        })
      )
    )

    it.effect("ends with its engine", () =>
      over(
        (lose) =>
          Effect.gen(function* () {
            const { Program, count } = decodes(Effect.never)
            const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { retry: { times: 3 } }))
            yield* until(() => count.begun === 1)
            yield* lose
            assert.strictEqual(yield* Effect.flip(fiber), lost)
            assert.deepStrictEqual(count, { begun: 1, stopped: 1 })
          }),
        "FAILED"
      )
    )

    it.effect("ends when its backend closes", () =>
      Effect.gen(function* () {
        const { Program, count } = decodes(Effect.never)
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(layerOf(yield* Deferred.make<BackendError>(), options), scope)
        const fiber = yield* Effect.provide(ExecutionBackend.submit(Program.make()), context)
        yield* until(() => count.begun === 1)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(reasonOf(yield* Effect.flip(fiber)), "Canceled")
        assert.deepStrictEqual(count, { begun: 1, stopped: 1 })
      })
    )

    it.effect("that cannot be stopped is left behind after the grace period, and that is reported", () =>
      over(() =>
        Effect.gen(function* () {
          const follow = yield* statesOf
          const { Program, count } = decodes(Effect.uninterruptible(Effect.never))
          for (const [i, options] of [{}, { timeout: "1 hour" } as const].entries()) {
            const fiber = yield* ExecutionBackend.submit(Program.make(undefined, options))
            yield* until(() => count.begun === i + 1)
            const canceling = yield* Effect.fork(ExecutionBackend.cancel(fiber))
            yield* TestClock.adjust("1999 millis")
            yield* pending(canceling)
            yield* TestClock.adjust("1 millis")
            assert.isTrue(yield* Fiber.join(canceling))
            assert.strictEqual((yield* follow(fiber.uid)).at(-1)!.stopped, false)
          }
        })
      )
    )

    it.effect("that dies is a defect, that fits nothing is InvalidResult", () =>
      over(() =>
        Effect.gen(function* () {
          const { Program } = decodes(Effect.zipRight(Effect.sleep("1 second"), Effect.die("boom")))
          const dead = yield* ExecutionBackend.submit(Program.make())
          yield* TestClock.adjust("1 second")
          assert.strictEqual(reasonOf(yield* Effect.flip(dead)), "Defect")
          const Number = Task.executable("Number", {
            success: Schema.NumberFromString,
            command: () => ({ executable: "x" })
          })
          const invalid = yield* Effect.flip(ExecutionBackend.execute(Number.make()))
          assert.strictEqual(reasonOf(invalid), "InvalidResult")
        })
      )
    )
  })
}
