/**
 * What a backend author writes: encoded data in, encoded data out. Ids, states, retries, timeouts, admission, events,
 * encoding and the fiber exist once, in `ExecutionBackend.make`; a driver never sees a schema or a subscriber.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { ExecutionBackend } from "effect-rhapsody"
 *
 * export const EchoBackend = ExecutionBackend.layer({
 *   type: "echo",
 *   kinds: ["executable"],
 *   concurrency: 8,
 *   run: (spec) => Effect.succeed(ExecutionBackend.Outcome.exited({ exitCode: 0, stdout: spec.name }))
 * })
 * ```
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { BackendError, ConfigurationError, TaskErrorReason } from "./Errors.js"
import { TaskError } from "./Errors.js"
import type { HandlerService, Kind } from "./Task.js"
import type { Env, Resources, SettingsConstructor, Text } from "./TaskOptions.js"

/** A program and all that is said about it, with the defaults applied. */
export interface Executable {
  readonly _tag: "executable"
  readonly executable: Text
  readonly args: ReadonlyArray<Text>
  readonly stdin: Text | undefined
  /** Added to the environment the program inherits; `undefined` removes. */
  readonly env: Env
  readonly cwd: string | undefined
  readonly capture: {
    readonly limit: number
    readonly stdout: string | undefined
    readonly stderr: string | undefined
    readonly merged: boolean
    /** Whether the result is decoded from standard output: then it is wanted back even when it goes to a file. */
    readonly wanted: boolean
  }
}

/** What to run. */
export type Program =
  | Executable
  | { readonly _tag: "function"; readonly handler: HandlerService }
  | { readonly _tag: "worker"; readonly module: URL; readonly export: string }
  | { readonly _tag: "python"; readonly callable: string }
  | (Omit<Executable, "_tag"> & { readonly _tag: "service"; readonly ready: RegExp })

/** One attempt of a task, as data. */
export interface Spec {
  readonly uid: string
  /** Name of the definition. */
  readonly name: string
  /** 1 for the first. */
  readonly attempt: number
  /** Encoded with the payload schema. */
  readonly payload: unknown
  readonly program: Program
  readonly resources: Resources
  readonly priority: number
  /** Decoded with the schema of the driver's own settings; undefined when the task carries none. */
  readonly settings: unknown
}

/** A program that ended. Text may be given for bytes. */
export interface ProcessExit {
  /** The code; for a death by signal leave it out and name the `signal`. */
  readonly exitCode?: number
  readonly signal?: string
  readonly stdout?: Text
  readonly stderr?: Text
  readonly stdoutPath?: string | undefined
  readonly stderrPath?: string | undefined
  readonly wallMillis?: number
}

/** How an attempt ended, encoded, so that it can cross processes. */
export type Outcome =
  | { readonly _tag: "Success"; readonly value: unknown }
  /** The encoded error of the task's own. */
  | { readonly _tag: "Failure"; readonly error: unknown }
  | { readonly _tag: "Exited"; readonly exit: ProcessExit }
  /** Payload or result did not fit the schemas on the far side. */
  | { readonly _tag: "Invalid"; readonly reason: "InvalidPayload" | "InvalidResult"; readonly message: string }

export const Outcome = {
  success: (value: unknown): Outcome => ({ _tag: "Success", value }),
  failure: (error: unknown): Outcome => ({ _tag: "Failure", error }),
  exited: (exit: ProcessExit): Outcome => ({ _tag: "Exited", exit })
}

/** What only the driver can know while it runs an attempt. */
export interface Report {
  /** The work has really started. Needed only from a driver with `reportsExecuting`. */
  readonly executing: Effect.Effect<void>
}

/** The slot form of a backend: at most `concurrency` attempts at a time. */
export interface Driver<out K extends Kind = Kind> {
  /** Names the backend in errors, events and settings. */
  readonly type: string
  readonly kinds: ReadonlyArray<K>
  readonly concurrency: number | "unbounded"
  /**
   * Runs one attempt. Interruption must stop the work and return when it has stopped. Fails with `taskError(spec, ...)`
   * or a `BackendError`; anything else that goes wrong becomes `TaskError` Defect.
   */
  readonly run: (spec: Spec, report: Report) => Effect.Effect<Outcome, TaskError | BackendError>
  /** Refuses at submission what this engine can never run, naming the field; leaves no trace. */
  readonly check?: (spec: Omit<Spec, "uid" | "attempt">) => Effect.Effect<void, ConfigurationError | BackendError>
  /** What `Task.settings` made; without it, every task that carries settings is refused. */
  readonly settings?: SettingsConstructor<never>
  /** `true`: a task is EXECUTING when the driver says so through `report`. Default: when `run` is called. */
  readonly reportsExecuting?: boolean
  /**
   * Kinds for which interruption of `run` ends within a bound of the driver's own. They need no fiber for the attempt;
   * all other attempts get one and are abandoned, and reported as not stopped, `stopGrace` after they were told to stop.
   */
  readonly boundedStop?: ReadonlyArray<K>
  /** `false`: running work cannot be stopped; `cancel` of it fails with CancelUnsupported. Default `true`. */
  readonly cancelable?: boolean
  /** Longest wait for work that was told to stop. Default 5 seconds. */
  readonly stopGrace?: Duration.DurationInput
}

/** The `TaskError` of an attempt, for drivers. */
export const taskError = (
  spec: Spec,
  reason: TaskErrorReason,
  fields: { readonly details?: Readonly<Record<string, unknown>>; readonly cause?: unknown } = {}
): TaskError =>
  new TaskError({
    taskUid: spec.uid,
    task: spec.name,
    reason,
    ...(fields.details === undefined ? {} : { details: fields.details }),
    ...(fields.cause === undefined ? {} : { cause: fields.cause })
  })
