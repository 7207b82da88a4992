/**
 * What can go wrong, as data: one error for a task, one for a backend, one for a wrong request.
 *
 * All three are `Schema.TaggedError`s, so they can be caught with `Effect.catchTag`, compared by `reason`
 * (a closed list; branch on it, never on text) and sent over a wire. `message` is computed and says what to do.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { ExecutionBackend, Task } from "effect-rhapsody"
 *
 * const False = Task.executable("False", { command: () => ({ executable: "false" }) })
 *
 * export const program = ExecutionBackend.execute(False.make()).pipe(
 *   Effect.catchTags({
 *     TaskError: (e) => Effect.logError(e.taskUid, e.reason, e.exitCode),
 *     BackendError: (e) => Effect.logError(e.backendType, e.reason),
 *     ConfigurationError: (e) => Effect.logError(e.configKey, e.reason)
 *   })
 * )
 * ```
 */
import "./internal/needsEffect3.js"

import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { BackendErrorReason, ConfigurationErrorReason, TaskErrorReason } from "./ErrorReasons.js"
import { backendMessageOf, configurationMessageOf, messageOf } from "./internal/messages.js"
import { Fact } from "./internal/plain.js"

export { BackendErrorReason, ConfigurationErrorReason, TaskErrorReason }

export const TypeId = "~effect-rhapsody/Error" as const
export type TypeId = typeof TypeId

const Details = Schema.optionalWith(Schema.Record({ key: Schema.String, value: Fact }), {
  default: () => ({})
})

/** Any value; an error of this library stays one, also over a wire, so that the first of a chain can be found. */
const Cause: Schema.Schema<unknown> = Schema.transform(Schema.Unknown, Schema.Unknown, {
  strict: true,
  decode: (wire): unknown =>
    Option.getOrElse(Schema.decodeUnknownOption(RhapsodyError)(wire), () => Schema.decodeSync(Schema.Defect)(wire)),
  encode: (cause): unknown => {
    const ours = isRhapsodyError(cause) ? Schema.encodeOption(RhapsodyError)(cause) : Option.none()
    return Option.getOrElse(ours, () => Schema.encodeSync(Schema.Defect)(cause))
  }
})

/**
 * A task was accepted and did not give its result.
 *
 * `exitCode` and `signal` are set when a process ended that way. `details` holds facts, each only where it is known:
 * - of a program, however it ended: `command` (executable and arguments, as they were given, at most 4 KiB), `cwd`,
 *   `wallMillis` (from its start to its end), `stdout` and `stderr` (the end of what it printed: at most 20 lines and
 *   4 KiB of each), `stdoutPath` and `stderrPath` (captured files). Its environment is never there, and the values of
 *   `Redacted` variables are replaced by `<redacted>`. Arguments are shown: secrets belong into `Redacted` variables.
 * - `message`: what happened; `errno` and `path` of a failed launch; `stream` and `limit` of OutputLimit; `timeout`;
 *   `type`, `module` and `traceback` of a Python exception.
 * - `stopped: false`: the work could not be stopped, and may still be running.
 *
 * `message` shows the command, the times and both ends of the output below its first line.
 */
export class TaskError extends Schema.TaggedError<TaskError>("effect-rhapsody/TaskError")("TaskError", {
  taskUid: Schema.String,
  /** Name of the definition. */
  task: Schema.String,
  reason: TaskErrorReason,
  exitCode: Schema.optional(Schema.Int),
  signal: Schema.optional(Schema.String),
  details: Details,
  cause: Schema.optional(Cause)
}) {
  get [TypeId](): TypeId {
    return TypeId
  }
  override get message(): string {
    return messageOf(this)
  }
}

/**
 * A backend could not accept, hold or stop work. `backendType` is the driver's type, e.g. `"concurrent"`; `backendName` is
 * the `name` option of its layer, absent when none was given.
 */
export class BackendError extends Schema.TaggedError<BackendError>("effect-rhapsody/BackendError")("BackendError", {
  backendType: Schema.String,
  backendName: Schema.optional(Schema.String),
  reason: BackendErrorReason,
  details: Details,
  cause: Schema.optional(Cause)
}) {
  get [TypeId](): TypeId {
    return TypeId
  }
  override get message(): string {
    return backendMessageOf(this)
  }
}

/** A request that can never work as it is written. `configKey` names the field; `details.message` the remedy. */
export class ConfigurationError extends Schema.TaggedError<ConfigurationError>("effect-rhapsody/ConfigurationError")(
  "ConfigurationError",
  {
    configKey: Schema.optional(Schema.String),
    reason: ConfigurationErrorReason,
    details: Details,
    cause: Schema.optional(Cause)
  }
) {
  get [TypeId](): TypeId {
    return TypeId
  }
  override get message(): string {
    return configurationMessageOf(this)
  }
}

/** Every error of this library. */
export const RhapsodyError = Schema.Union(TaskError, BackendError, ConfigurationError)
export type RhapsodyError = typeof RhapsodyError.Type

const isOurs = (u: unknown): u is RhapsodyError => {
  try {
    return typeof u === "object" && u !== null && TypeId in u
  } catch {
    return false // a proxy that throws
  }
}

/** True for an error of this library, also of another copy of it; false for a user's own. */
export const isRhapsodyError = (u: unknown): u is RhapsodyError => isOurs(u) && reservedTags.has(u._tag)

/** True for a `TaskError`, also of another copy of this library: use it where `instanceof` would be used. */
export const isTaskError = (u: unknown): u is TaskError => isOurs(u) && u._tag === "TaskError"

/** True for a `BackendError`, also of another copy of this library. */
export const isBackendError = (u: unknown): u is BackendError => isOurs(u) && u._tag === "BackendError"

/** True for a `ConfigurationError`, also of another copy of this library. */
export const isConfigurationError = (u: unknown): u is ConfigurationError =>
  isOurs(u) && u._tag === "ConfigurationError"

/** Tags that a task's own error schema may not use: `catchTag` could not distinguish them from those of this library. */
export type ReservedTag = RhapsodyError["_tag"]
export const reservedTags: ReadonlySet<string> = new Set<ReservedTag>([
  "TaskError",
  "BackendError",
  "ConfigurationError"
])
