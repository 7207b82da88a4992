// A driver that fails with what its types do not have, or dies: the caller sees an error of this library all the same.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Backend, ExecutionBackend } from "effect-rhapsody"
import type { BackendError, TaskError } from "effect-rhapsody/Errors"
import { isBackendError, isTaskError } from "effect-rhapsody/Errors"
import { fakeEngine } from "../engines/fakeEngine.js"
import { executables, ok, Program } from "../support.js"

type Never = Effect.Effect<never>
const failures: Record<string, () => Never> = {
  "fails with text": () => Effect.fail("boom" as never),
  "fails with nothing": () => Effect.fail(undefined as never),
  "fails with an error of its own": () => Effect.fail(new Error("boom") as never),
  dies: () => Effect.die("boom"),
  throws: () => {
    throw new Error("boom")
  },
  "gives no Effect": () => 7 as never
}

const rejected = (error: unknown) => {
  assert.isTrue(isBackendError(error), String(error))
  assert.strictEqual((error as BackendError).reason, "Rejected")
}
const defect = (uid: string, error: unknown) => {
  assert.isTrue(isTaskError(error), String(error))
  assert.strictEqual((error as TaskError).reason, "Defect")
  assert.strictEqual((error as TaskError).taskUid, uid)
}
const program = Program.make(undefined, { uid: "one" })
const failing = Effect.flip(ExecutionBackend.execute(program))

for (const [how, failure] of Object.entries(failures)) {
  describe(`a driver that ${how}`, () => {
    it.effect("in check: Rejected, and no task exists", () =>
      Effect.gen(function* () {
        rejected(yield* Effect.flip(ExecutionBackend.submit(program)))
        assert.strictEqual((yield* ExecutionBackend.taskStates).size, 0)
      }).pipe(Effect.provide(executables(() => ok, { check: failure })))
    )

    for (const boundedStop of [[], ["executable"] as const]) {
      it.effect(`in run (bounded: ${boundedStop.length}): Defect of the task`, () =>
        Effect.map(failing, (error) => defect("one", error)).pipe(Effect.provide(executables(failure, { boundedStop })))
      )
    }

    it.effect("in submit: Rejected", () =>
      Effect.flatMap(fakeEngine({ submit: failure }), (engine) =>
        Effect.map(failing, rejected).pipe(Effect.provide(engine.layer()))
      )
    )

    it.live("in cancel: the task ends, and says that it was not stopped", () =>
      Effect.flatMap(fakeEngine({ cancel: failure }), (engine) =>
        Effect.gen(function* () {
          const fiber = yield* ExecutionBackend.submit(program)
          yield* Effect.repeat(Effect.yieldNow(), { until: () => engine.held.has("one") })
          yield* ExecutionBackend.cancel(fiber)
          const error = yield* Effect.flip(fiber)
          assert.isTrue(isTaskError(error), String(error))
          assert.deepInclude(error, { reason: "Canceled", taskUid: "one" })
          assert.strictEqual(error.details["stopped"], false)
        }).pipe(Effect.provide(engine.layer({ stopTimeout: "10 millis" })))
      )
    )
  })
}

describe("an engine", () => {
  for (const [what, value] of Object.entries({ text: "boom", nothing: undefined, "an error": new Error("boom") })) {
    it.effect(`that says Failed with ${what}: Defect of the task`, () =>
      Effect.flatMap(fakeEngine(), (engine) =>
        Effect.gen(function* () {
          const fiber = yield* ExecutionBackend.submit(program)
          yield* engine.say("one", { _tag: "Failed", error: value as never })
          defect("one", yield* Effect.flip(fiber))
        }).pipe(Effect.provide(engine.layer()))
      )
    )

    it.effect(`whose updates fail with ${what}: Lost`, () =>
      Effect.flatMap(fakeEngine(), ({ driver }) =>
        Effect.map(failing, (error) => {
          assert.isTrue(isBackendError(error), String(error))
          assert.strictEqual((error as BackendError).reason, "Lost")
        }).pipe(
          Effect.provide(
            Backend.layer({
              ...driver,
              updates: Stream.fromEffect(Effect.zipRight(Effect.yieldNow(), Effect.fail(value as never)))
            })
          )
        )
      )
    )

    it.effect(`that is lost with ${what}: Lost`, () =>
      Effect.map(failing, (error) => {
        assert.isTrue(isBackendError(error), String(error))
        assert.strictEqual((error as BackendError).reason, "Lost")
      }).pipe(Effect.provide(executables(() => Effect.never, { lost: Effect.as(Effect.yieldNow(), value as never) })))
    )
  }
})
