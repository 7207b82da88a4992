/** What a test gives a test backend, and what the backend reports to the test. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Backend from "../../Backend.js"
import type * as Driver from "../../Driver.js"
import type { BackendError, TaskErrorReason } from "../../Errors.js"
import type * as Task from "../../Task.js"

/** What a stub says, and of a service how it ends. */
export interface Answer {
  readonly info: unknown
  readonly exited?: Effect.Effect<Driver.ProcessExit>
}

/** Answers the tasks of one definition. `Handlers`: the handler that it takes the place of, if any. */
export interface Stub<out Handlers = never> {
  readonly "~effect-rhapsody/TestBackend/Stub": Handlers
  readonly task: Task.Any
  /** @internal */
  readonly answer: (payload: any, info: Task.AttemptInfo) => Effect.Effect<Answer, unknown, Scope.Scope>
}

/** What stands for a service: its info, and how its program ends, unless it goes on until it is stopped. */
export interface Serving<out Info> {
  readonly info: Info
  /** When it completes, the service has ended: `TaskError` Exit, or Signal. Default: never. */
  readonly exited?: Effect.Effect<Driver.ProcessExit>
}

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
  /** What was run, in the order of starting: one submission per attempt. A task that still waits for a slot is not in it. */
  readonly submissions: Effect.Effect<ReadonlyArray<Submission>>
  /** The next matching attempt fails at once instead of asking its stub. Calls add up: each is used once, in order. */
  readonly failNext: (match: Match, failure: Failure) => Effect.Effect<void>
  /**
   * The engine fails: everything that runs, is queued or waits for its next attempt ends with `BackendError` Lost, and
   * every later submission is refused with it. The backend's status is FAILED when this returns; stubs that run are
   * interrupted, and their tasks end when they have stopped, at most `stopTimeout` later.
   */
  readonly failEngine: Effect.Effect<void>
}

export interface Options<Stubs extends ReadonlyArray<Stub<any>> = ReadonlyArray<Stub<any>>> extends Backend.Options {
  /** Of two for the same name, the last counts. Default: none. */
  readonly stubs?: Stubs | undefined
  /** Attempts at the same time. Default `"unbounded"`. */
  readonly concurrency?: number | "unbounded" | undefined
  /**
   * `false`: as an engine that cannot stop what runs. Stubs go on until their own end, cancelling fails with
   * `BackendError` CancelUnsupported, and closing and `failEngine` wait for them at most `stopTimeout`, by the clock. Default
   * `true`.
   */
  readonly cancelable?: boolean | undefined
  /** Settings of the backend that this one stands for, e.g. `ConcurrentBackend.settings`. Default: none are taken. */
  readonly settings?: Task.SettingsConstructor<never> | undefined
  /** So many of the newest submissions are kept. Default 10,000. */
  readonly record?: number | undefined
}
