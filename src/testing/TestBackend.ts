/**
 * A backend for the tests of programs that run tasks: it starts nothing and answers tasks of every kind with stubs,
 * typed by the definitions. The program under test does not change; its test provides this layer in place of another.
 *
 * Nothing here knows the time but by Effect's `Clock`, so that with `TestClock` a stub that sleeps for an hour takes
 * none. States, events, retries, timeouts and cancellation are the library's own, as on every backend. A function task
 * without a stub runs the handler that it was given; any other task without a stub is refused when it is submitted.
 *
 * @example
 * ```ts
 * import { Effect, Fiber, Schema, TestClock } from "effect"
 * import { ExecutionBackend, Task } from "effect-rhapsody"
 * import { TestBackend } from "effect-rhapsody/testing"
 *
 * const Simulate = Task.executable("Simulate", {
 *   payload: { seed: Schema.Int },
 *   success: Schema.NumberFromString,
 *   retry: { times: 1 },
 *   command: ({ seed }) => ({ executable: "simulate", args: [`${seed}`] })
 * })
 *
 * // the body of an `it.effect`
 * export const test = Effect.gen(function*() {
 *   yield* TestBackend.failNext("Simulate", { exitCode: 137 })
 *   const fiber = yield* ExecutionBackend.submit(Simulate.make({ seed: 7 }))
 *   yield* TestClock.adjust("1 hour")
 *   const energy = yield* Fiber.join(fiber) // 14, by the second attempt
 *   const attempts = yield* TestBackend.submissions // two
 *   return { energy, attempts }
 * }).pipe(
 *   Effect.provide(TestBackend.layer(
 *     TestBackend.stub(Simulate, ({ seed }) => Effect.delay(Effect.succeed(seed * 2), "30 minutes"))
 *   ))
 * )
 * ```
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Backend from "../Backend.js"
import type { ConfigurationError, RhapsodyError } from "../Errors.js"
import type * as ExecutionBackend from "../ExecutionBackend.js"
import { limitsIn } from "../internal/engine/submit/limits.js"
import type { Control, Failure, Match, Options, Serving, Stub, Submission } from "../internal/testing/stubs.js"
import { make } from "../internal/testing/testBackend.js"
import type * as Task from "../Task.js"

export type { Control, Failure, Match, Options, Serving, Stub, Submission }

// --------------------------------------------------------------------------------------------------------------- stubs

/**
 * Answers the tasks of a definition of any kind: decoded payload to decoded result, or to the task's own error. For an
 * executable the result is what the success schema makes of standard output; neither `failure` nor `exitCodes` is
 * asked (with `failNext` they are). A service gets its info and then runs until it is stopped.
 *
 * `info` has the uid and the number of the attempt. Use `Effect.sleep` for work that takes time; what the effect dies of is `TaskError`
 * Defect, a result that does not fit the schema is InvalidResult.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Task } from "effect-rhapsody"
 * import { TestBackend } from "effect-rhapsody/testing"
 *
 * class Diverged extends Schema.TaggedError<Diverged>()("Diverged", { step: Schema.Int }) {}
 * const Train = Task.python("Train", { callable: "model:fit", success: Schema.Number, error: Diverged })
 *
 * export const TrainStub = TestBackend.stub(Train, (_, { attempt }) =>
 *   attempt === 1 ? Effect.fail(new Diverged({ step: 3 })) : Effect.succeed(0.1)
 * )
 * ```
 */
export const stub = <
  Name extends string,
  K extends Task.Kind,
  Fields extends Schema.Struct.Fields,
  Success extends Schema.Schema.AnyNoContext,
  Error extends Schema.Schema.All
>(
  task: Task.Task<Name, K, Fields, Success, Error>,
  answer: (
    payload: Schema.Struct.Type<Fields>,
    info: Task.AttemptInfo
  ) => Effect.Effect<NoInfer<Success["Type"]>, NoInfer<Error["Type"]> | RhapsodyError>
): Stub<K extends "function" ? Task.Handler<Name> : never> =>
  unsafeStub(task, (payload, info) => Effect.map(answer(payload, info), (info) => ({ info })))

/**
 * Stands for a service that can end on its own. The service is ready when the effect completes, and stopped when the
 * scope closes.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Task } from "effect-rhapsody"
 * import { TestBackend } from "effect-rhapsody/testing"
 *
 * const Redis = Task.service("Redis", {
 *   info: Schema.Struct({ port: Schema.NumberFromString }),
 *   command: () => ({ executable: "redis-server" }),
 *   ready: /port=(?<port>\d+)/
 * })
 *
 * // ready after a second, killed a minute later
 * export const RedisStub = TestBackend.service(Redis, () =>
 *   Effect.delay(Effect.succeed({
 *     info: { port: 6379 },
 *     exited: Effect.delay(Effect.succeed({ signal: "SIGKILL" }), "1 minute")
 *   }), "1 second")
 * )
 * ```
 */
export const service = <
  Name extends string,
  Fields extends Schema.Struct.Fields,
  Info extends Schema.Schema.AnyNoContext
>(
  task: Task.Task<Name, "service", Fields, Info, typeof Schema.Never>,
  serve: (
    payload: Schema.Struct.Type<Fields>,
    info: Task.AttemptInfo
  ) => Effect.Effect<Serving<NoInfer<Info["Type"]>>, never, Scope.Scope>
): Stub => unsafeStub(task, serve)

const unsafeStub = (task: Task.Any, answer: Stub["answer"]): any => ({ task, answer })

// ------------------------------------------------------------------------------------------------------------- control

/** How a test controls its backend and asks what was submitted. Every layer that is built has one of its own. */
export class TestBackend extends Context.Tag("effect-rhapsody/TestBackend")<TestBackend, Control>() {}

/** What was run until now: `Control.submissions` of the layer in use. To check what a program asked for. */
export const submissions: Effect.Effect<ReadonlyArray<Submission>, never, TestBackend> = Effect.flatMap(
  TestBackend,
  (backend) => backend.submissions
)

/**
 * Fails the next matching attempt: `Control.failNext` of the layer in use. To test retries and the handling of errors.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { BackendError } from "effect-rhapsody/Errors"
 * import { TestBackend } from "effect-rhapsody/testing"
 *
 * export const failures = Effect.all([
 *   TestBackend.failNext("Simulate", { exitCode: 1, stderr: "no input" }),
 *   TestBackend.failNext({ name: "Simulate", attempt: 2 }, "Timeout"),
 *   TestBackend.failNext({ uid: "task.000007" }, new BackendError({ backendType: "test", reason: "Unavailable" }))
 * ])
 * ```
 */
export const failNext = (match: Match, failure: Failure): Effect.Effect<void, never, TestBackend> =>
  Effect.flatMap(TestBackend, (backend) => backend.failNext(match, failure))

/** The engine fails: `Control.failEngine` of the layer in use. To test what a program does without its backend. */
export const failEngine: Effect.Effect<void, never, TestBackend> = Effect.flatMap(
  TestBackend,
  (backend) => backend.failEngine
)

// --------------------------------------------------------------------------------------------------------------- layer

/** The backend, its control, and the handlers that stubs of function tasks take the place of. */
export type Provides<Stubs extends ReadonlyArray<Stub<any>>> =
  | ExecutionBackend.ExecutionBackend<Task.Kind>
  | TestBackend
  | Stubs[number]["~effect-rhapsody/TestBackend/Stub"]

/**
 * A test backend of these stubs, or of options. Needs no handler for a function task that has a stub, whose answer
 * also goes before a handler that is there. Fails with `ConfigurationError` when a limit cannot be honoured.
 */
export const layer: {
  <Stubs extends ReadonlyArray<Stub<any>>>(...stubs: Stubs): Layer.Layer<Provides<Stubs>, ConfigurationError>
  <Stubs extends ReadonlyArray<Stub<any>> = []>(
    options: Options<Stubs>
  ): Layer.Layer<Provides<Stubs>, ConfigurationError>
} = (...args: ReadonlyArray<Stub<any> | Options>): Layer.Layer<any, ConfigurationError> => {
  const [first] = args
  const options = first === undefined || "task" in first ? { stubs: args as ReadonlyArray<Stub<unknown>> } : first
  return Layer.unwrapEffect(
    // for each that is built, a record of its own
    Effect.map(make(options), ({ driver, handlers, service }) =>
      Layer.mergeAll(
        Backend.layer(driver, limitsIn(options)),
        Layer.succeed(TestBackend, service),
        Layer.succeedContext(handlers)
      )
    )
  )
}
