// Handlers that run tasks of their own: what they fail with, and what becomes of it.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule, Schema } from "effect"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { BackendError, ConfigurationError, isTaskError, TaskError } from "effect-rhapsody/Errors"
import { functions } from "../support.js"

class Diverged extends Schema.TaggedError<Diverged>()("Diverged", { step: Schema.Int }) {}
const Child = Task.function("Child", { payload: { how: Schema.String }, success: Schema.Number })
const Parent = Task.function("Parent", { payload: { how: Schema.String }, success: Schema.Number, error: Diverged })
let attempts = 0
const ChildLive = Child.toLayer(({ how }, { uid }) => {
  attempts++
  if (how === "dies") return Effect.dieMessage("no memory")
  if (how === "fails") return Effect.fail(new BackendError({ backendType: "grid", reason: "Unavailable" }))
  return how === "flaky" && attempts < 3
    ? Effect.fail(new TaskError({ taskUid: uid, task: "Other", reason: "Lost" }))
    : Effect.succeed(1)
})
const ParentLive = Parent.toLayer(({ how }) =>
  how === "typed"
    ? Effect.fail(new Diverged({ step: 7 }))
    : how === "wrong"
      ? ExecutionBackend.execute(Child.make({ how: 1 as never }))
      : ExecutionBackend.execute(Child.make({ how }))
)
const backend = Effect.provide(Layer.provideMerge(ParentLive, Layer.provideMerge(ChildLive, functions(1))))
const failure = (how: string, options?: Task.Options<any>) =>
  Effect.flip(ExecutionBackend.execute(Parent.make({ how }, options)))

describe("a handler that runs tasks of its own", () => {
  it.effect("may fail with their errors: its task ends as Failed, with that error as the cause", () =>
    Effect.gen(function* () {
      const error = yield* failure("dies")
      assert(isTaskError(error), String(error))
      assert.deepInclude(error, { taskUid: "task.000001", task: "Parent", reason: "Failed" })
      const { cause } = error
      assert(isTaskError(cause), String(cause))
      assert.deepInclude(cause, { taskUid: "task.000002", task: "Child", reason: "Defect" })
      assert.match(error.message, /^task Parent \(task\.000001\) failed: task Child \(task\.000002\) .*no memory/)
    }).pipe(backend)
  )

  it.effect("also with those of the backend and of a wrong request, through as many levels as there are", () =>
    Effect.gen(function* () {
      const nested = yield* failure("fails")
      assert(isTaskError(nested) && isTaskError(nested.cause))
      assert.deepInclude(nested.cause, { task: "Child", reason: "Failed" })
      assert.instanceOf(nested.cause.cause, BackendError)
      assert.include(nested.message, "backend grid is not available")
      const wrong = yield* failure("wrong")
      assert(isTaskError(wrong))
      assert.instanceOf(wrong.cause, ConfigurationError)
    }).pipe(backend)
  )

  it.effect("or with the task's own error, which stays what it is", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* failure("typed"), new Diverged({ step: 7 }))
    }).pipe(backend)
  )

  it.live("is retried as the retry option says", () =>
    Effect.gen(function* () {
      attempts = 0
      const retry: Task.Retry = {
        times: 5,
        schedule: Schedule.spaced("1 millis"),
        while: (error) => isTaskError(error) && error.reason === "Failed"
      }
      assert.strictEqual(yield* ExecutionBackend.execute(Parent.make({ how: "flaky" }, { retry })), 1)
      assert.strictEqual(attempts, 3)
    }).pipe(backend)
  )
})
