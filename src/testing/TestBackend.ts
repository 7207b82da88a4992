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
 * import { Backend, Driver, ExecutionBackend, Task } from "effect-rhapsody"
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
import type * as Driver from "../Driver.js"
import type { BackendError, ConfigurationError, RhapsodyError, TaskErrorReason } from "../Errors.js"
import type * as ExecutionBackend from "../ExecutionBackend.js"
import { limitsIn } from "../internal/engine/submit/limits.js"
import type { Answer } from "../internal/testing/testBackend.js"
import { make } from "../internal/testing/testBackend.js"
import type * as Task from "../Task.js"

// --------------------------------------------------------------------------------------------------------------- stubs

/** Answers the tasks of one definition. `Handlers`: the handler that it takes the place of, if any. */
export interface Stub<out Handlers = never> {
  readonly "~effect-rhapsody/TestBackend/Stub": Handlers
  readonly task: Task.Any
  /** @internal */
  readonly answer: (payload: any, info: Task.AttemptInfo) => Effect.Effect<Answer, unknown, Scope.Scope>
}

/**
 * Answers the tasks of a definition of any kind: decoded payload to decoded result, or to the task's own error. For an
 * executable the result is what the success schema makes of standard output; neither `failure` nor `exitCodes` is
 * asked (with `failNext` they are). A service gets its info and then runs until it is stopped.
 *
 * `info` tells uid and attempt. Use `Effect.sleep` for work that takes time; what the effect dies of is `TaskError`
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

/** What stands for a service: its info, and how its program ends, unless it goes on until it is stopped. */
export interface Serving<out Info> {
  readonly info: Info
  /** When it completes, the service has ended: `TaskError` Exit, or Signal. Default: never. */
  readonly exited?: Effect.Effect<Driver.ProcessExit>
}

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

/** One attempt that got its slot. `payload` is encoded, `settings` are decoded. */
export interface Submission extends Driver.Spec {
  readonly kind: Task.Kind
}

/** Attempts by the name of their definition, or by all of the fields that are given. */
export type Match = string | Partial<Pick<Submission, "uid" | "name" | "kind" | "attempt">>

/**
 * How an attempt fails: as a program that ended (its definition's `failure` and `exitCodes` are asked), by a reason of
 * `TaskError`, or with an error of the backend's.
 */
export type Failure = Driver.ProcessExit | Exclude<TaskErrorReason, "Exit" | "Signal"> | BackendError

export interface Control {
  /** What was run, in the order of starting: one entry per attempt. What still waits for a slot is not there. */
  readonly submissions: Effect.Effect<ReadonlyArray<Submission>>
  /** The next matching attempt fails at once instead of asking its stub. Calls add up: each is used once, in order. */
  readonly failNext: (match: Match, failure: Failure) => Effect.Effect<void>
  /**
   * The engine dies: everything that runs, is queued or waits for its next attempt ends with `BackendError` Lost, and
   * every later submission is refused with it. The backend's status is FAILED when this returns; stubs that run are
   * interrupted, and their tasks end when they have stopped, at most `stopTimeout` later.
   */
  readonly failEngine: Effect.Effect<void>
}

/** What a test says to its backend, and asks of it. Every layer that is built has one of its own. */
export class TestBackend extends Context.Tag("effect-rhapsody/TestBackend")<TestBackend, Control>() {}

/** What was run until now: `Service.submissions` of the layer in use. To check what a program asked for. */
export const submissions: Effect.Effect<ReadonlyArray<Submission>, never, TestBackend> = Effect.flatMap(
  TestBackend,
  (backend) => backend.submissions
)

/**
 * Fails the next matching attempt: `Service.failNext` of the layer in use. To test retries and the handling of errors.
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

/** The engine dies: `Service.lose` of the layer in use. To test what a program does without its backend. */
export const failEngine: Effect.Effect<void, never, TestBackend> = Effect.flatMap(
  TestBackend,
  (backend) => backend.failEngine
)

// --------------------------------------------------------------------------------------------------------------- layer

export interface Options<Stubs extends ReadonlyArray<Stub<any>> = ReadonlyArray<Stub<any>>> extends Backend.Options {
  /** Of two for the same name, the last counts. Default: none. */
  readonly stubs?: Stubs | undefined
  /** Attempts at the same time. Default `"unbounded"`. */
  readonly concurrency?: number | "unbounded" | undefined
  /**
   * `false`: as an engine that cannot stop what runs. Stubs go on until their own end, cancelling fails with
   * `BackendError` CancelUnsupported, and closing and `lose` wait for them at most `stopTimeout`, by the clock. Default
   * `true`.
   */
  readonly cancelable?: boolean | undefined
  /** Settings of the backend that this one stands for, e.g. `ConcurrentBackend.settings`. Default: none are taken. */
  readonly settings?: Task.SettingsConstructor<never> | undefined
  /** So many of the newest submissions are kept. Default 10,000. */
  readonly record?: number | undefined
}

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
