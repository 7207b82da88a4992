/**
 * What a backend author writes: encoded data in, encoded data out. Ids, states, retries, timeouts, maxActiveTasks, events,
 * encoding and the fiber exist once, in `Backend.make`; a driver never sees a schema or a subscriber.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Backend, Driver } from "effect-rhapsody"
 *
 * export const EchoBackend = Backend.layer({
 *   type: "echo",
 *   kinds: ["executable"],
 *   concurrency: 8,
 *   run: (spec) => Effect.succeed(Driver.Outcome.exited({ exitCode: 0, stdout: spec.name }))
 * })
 * ```
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { BackendError, ConfigurationError, TaskError } from "./Errors.js"
import type { LocalHooks, SlotHooks } from "./Hooks.js"
import type { HonouredOption } from "./internal/honoured.js"
import type { Kind } from "./Kind.js"
import type { Outcome } from "./Outcome.js"
import type { AttemptKey, ExternalFile, ProducedFile, ProducedSandbox, Spec, Staging, TaskSpec } from "./Spec.js"
import type { Any, HandlerService } from "./TaskDefinition.js"
import type { SettingsConstructor } from "./TaskOptions.js"
import type { TaskState } from "./TaskState.js"
import type { Update } from "./Update.js"

export * from "./Hooks.js"
export { everyOption, type HonouredOption, programOptions, resourceOptions } from "./internal/honoured.js"
export { Outcome, ProcessExit } from "./Outcome.js"
export * from "./Spec.js"
export * from "./Update.js"

/** A service that is ready. */
export interface Serving {
  /** Encoded with the info schema: the named groups of `ready`, for a program. */
  readonly info: unknown
  /** Fails when the service ends before it was stopped. */
  readonly exited: Effect.Effect<never, TaskError | BackendError>
}

/**
 * What both forms of a driver have. Its functions get specs of its own kinds alone. They are methods, so that a driver of
 * some kinds is a driver where the kinds do not matter.
 */
export interface DriverBase<out K extends Kind = Kind> {
  /** Names the backend in errors, events and settings. */
  readonly type: string
  readonly kinds: ReadonlyArray<K>
  /**
   * What it honours of a program and of `resources`; default: nothing. A task that asks for anything else is refused when
   * it is submitted, with `ConfigurationError` UnsupportedOption and the field: `run` never sees it. Only `cores`,
   * `memory`, `walltime`, and one rank or node, are let through unhonoured: without them the same work is done.
   */
  readonly honours?: ReadonlyArray<HonouredOption> | undefined
  /** Refuses at submission what this engine can never run, naming the field; leaves no trace. */
  check?(spec: TaskSpec<K>, hooks: LocalHooks): Effect.Effect<void, ConfigurationError | BackendError>
  /**
   * Stands in where no handler of a function task is provided, for an engine that needs none or has it elsewhere.
   * Without it, such a task is refused.
   */
  readonly handler?: ((task: Any) => HandlerService) | undefined
  /** What `Task.settings` made; without it, every task that carries settings is refused. */
  readonly settings?: SettingsConstructor<never> | undefined
  /**
   * `false`: running work cannot be stopped; `cancel` of it fails with CancelUnsupported. Default `true`. A function is
   * asked about an attempt that runs.
   */
  readonly cancelable?: (boolean | ((attempt: AttemptKey) => boolean)) | undefined
  /** Longest wait for work that was asked to stop. Default 5 seconds. */
  readonly stopTimeout?: Duration.DurationInput | undefined
  /**
   * Starts a service and returns when it is ready; the scope stops it. Needed from a backend that runs the kind
   * `"service"`.
   */
  serve?(spec: Spec<K>, hooks: LocalHooks): Effect.Effect<Serving, TaskError | BackendError, Scope.Scope>
  /** Kills everything that runs, at once and without grace: `terminate` calls it after it has asked everything to stop. */
  readonly forceStop?: Effect.Effect<void> | undefined
  /** The engine's own names of states, and what each means here: data of this backend instance. */
  readonly nativeStates?: Readonly<Record<string, TaskState>> | undefined
  /** Facts about the engine that a user may need, such as its address; `ExecutionBackend.state` asks. No secrets. */
  readonly details?: (() => Readonly<Record<string, string>>) | undefined
  /**
   * Never returns while the engine lives; returns when it is lost, with why. Every live task ends with that error then,
   * unless its result was there first, and nothing more is accepted. What runs is interrupted: the driver of an engine
   * that is gone has nothing to wait for. Asked once, when the backend is made, and interrupted when it closes; a defect
   * is a loss too. In the queue form, the end of `updates` says the same.
   */
  readonly lost?: Effect.Effect<BackendError> | undefined
  /**
   * How the engine would bring a file to a task, for an engine that resolves data dependencies by itself; leaves no
   * trace. None: not this file. The task is handed over with the answer among its `links`, without waiting for the
   * producer; the user gets the answer too.
   *
   * What the engine does not take upon itself the library does: it waits for the producer, then links the file in the
   * sandbox. So it does for a producer with retries, about which no engine is asked: to it, each attempt is another
   * job. A file that names neither a producer nor a path is refused before, by `ConfigurationError` with the field.
   */
  readonly linkExplicit?: (
    input: ProducedFile | ExternalFile
  ) => Effect.Effect<Option.Option<Staging>, ConfigurationError | BackendError>
  /** As `linkExplicit`, for everything that a producer leaves in its sandbox. */
  readonly linkImplicit?: (
    input: ProducedSandbox
  ) => Effect.Effect<Option.Option<Staging>, ConfigurationError | BackendError>
}

/** The slot form of a backend: at most `concurrency` attempts at a time. */
export interface SlotDriver<out K extends Kind = Kind> extends DriverBase<K> {
  readonly concurrency: number | "unbounded"
  /**
   * Runs one attempt. Interruption must stop the work and return when it has stopped. Fails with `taskError(spec, ...)`
   * or a `BackendError`; anything else that goes wrong becomes `TaskError` Defect.
   */
  run(spec: Spec<K>, hooks: SlotHooks): Effect.Effect<Outcome, TaskError | BackendError>
  /** `true`: a task is EXECUTING when the driver says so through `hooks`. Default: when `run` is called. */
  readonly reportsExecuting?: boolean | undefined
  /**
   * Kinds for which interruption of `run` ends within a bound of the driver's own. They need no fiber for the attempt;
   * all other attempts get one and are abandoned, and reported as not stopped, `stopTimeout` after they were asked to stop.
   */
  readonly boundedStop?: ReadonlyArray<K> | undefined
  /**
   * Of a long queue, `run` is called for up to `count` attempts that `takes` says yes to before there are slots for them,
   * so that the engine need not wait for this process between two programs. The driver sees to it that they do not start
   * before they may: `AttemptReporter.early`. It needs `reportsExecuting` and `boundedStop`; attempts with a timeout are never
   * early. Default: none.
   */
  readonly prefetch?: { readonly count: number; takes(spec: TaskSpec<K>): boolean } | undefined
}

/** One attempt, for an engine with a queue of its own. */
export interface Attempt<out K extends Kind = Kind> {
  readonly spec: Spec<K>
  readonly hooks: LocalHooks
}

/**
 * The queue form: for an engine with a queue of its own. No fiber of the driver's waits for a task; the engine may hold
 * as many as `maxActiveTasks` allows.
 */
export interface QueueDriver<out K extends Kind = Kind> extends DriverBase<K> {
  /** Hands attempts over. A failure ends those attempts, and no other. */
  submit(attempts: ReadonlyArray<Attempt<K>>): Effect.Effect<void, BackendError>
  /**
   * Asks to stop attempts that the engine has: their submission has returned, or an update spoke of them. Only `updates`
   * confirms it. Interrupted when it takes longer than `stopTimeout`.
   */
  readonly cancel: (attempts: ReadonlyArray<AttemptKey>) => Effect.Effect<void, BackendError>
  /** All that the engine says, from the first submission on. Its end, or its failure, is the loss of the engine: `lost`. */
  readonly updates: Stream.Stream<Update, BackendError>
}

/** Either form. */
export type AnyDriver<K extends Kind = Kind> = SlotDriver<K> | QueueDriver<K>

export const isQueueDriver = <K extends Kind>(driver: AnyDriver<K>): driver is QueueDriver<K> => "updates" in driver

export { taskError } from "./internal/taskError.js"
