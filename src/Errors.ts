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

import * as Schema from "effect/Schema"

const Details = Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.Unknown }), {
  default: () => ({})
})

/** Text of a detail, or undefined: messages are built from details, and details are open. */
const text = (details: Readonly<Record<string, unknown>>, key: string): string | undefined => {
  const value = details[key]
  return value === undefined || value === null || value === "" ? undefined : String(value)
}

/** `head: because; rest; rest`, each only where it is known. */
const sentence = (head: string, because: string | undefined, ...rest: ReadonlyArray<string | undefined>): string =>
  [because === undefined ? head : `${head}: ${because}`, ...rest.filter((part) => part !== undefined)].join("; ")

/** Why a task did not give its result. */
export const TaskErrorReason = Schema.Literal(
  /** The program ended with a code that does not count as success: see `exitCode`. */
  "Exit",
  /** The program was killed by a signal that this library did not send: see `signal`. */
  "Signal",
  /** The program could not be started: see `details.errno` and `details.path`. */
  "LaunchFailed",
  /** An attempt took longer than its `timeout`. */
  "Timeout",
  /** Cancelled by uid, by cancel all, or because its backend closed. Interrupting your own fiber is an interrupt. */
  "Canceled",
  /** It failed with an error of its own, told where only ours can be: see `cause`. */
  "Failed",
  /** A task that this one needs did not succeed. */
  "DependencyFailed",
  /** The handler or a callback of the definition died: see `cause`. */
  "Defect",
  /** The payload cannot be encoded or decoded with the payload schema. */
  "InvalidPayload",
  /** The result does not match the success (or error) schema. */
  "InvalidResult",
  /** More output than `capture.limit` allows to keep in memory. */
  "OutputLimit",
  /** What watched its program died, and the program was killed with it: see `details.message`. */
  "Lost"
)
export type TaskErrorReason = typeof TaskErrorReason.Type

/**
 * A task was accepted and did not give its result.
 *
 * `exitCode` and `signal` are set when a process ended that way; `details` holds facts by reason (`stderr`: the tail
 * of standard error, `stdoutPath` and `stderrPath`: captured files, `errno`, `path`, `limit`, `timeout`,
 * `stopped: false`: the work could not be stopped and may still be running).
 */
export class TaskError extends Schema.TaggedError<TaskError>("effect-rhapsody/TaskError")("TaskError", {
  taskUid: Schema.String,
  /** Name of the definition. */
  task: Schema.String,
  reason: TaskErrorReason,
  exitCode: Schema.optional(Schema.Int),
  signal: Schema.optional(Schema.String),
  details: Details,
  cause: Schema.optional(Schema.Defect)
}) {
  override get message(): string {
    const who = `task ${this.task} (${this.taskUid})`
    const detail = (key: string) => text(this.details, key)
    const because = detail("message")
    const stderr = detail("stderr")
    const output = stderr === undefined ? undefined : `its stderr ends with:\n${stderr.trimEnd()}`
    const file = detail("stderrPath")
    const path = file === undefined ? undefined : `its stderr is in ${file}`
    switch (this.reason) {
      case "Exit":
        return sentence(`${who} exited with code ${this.exitCode}`, because, path, output)
      case "Signal":
        return sentence(`${who} was killed by ${this.signal}`, because, path, output)
      case "LaunchFailed":
        return sentence(`${who} could not be started`, because)
      case "Timeout":
        return sentence(
          `${who} did not end within its timeout of ${detail("timeout") ?? "?"}`,
          because,
          "raise the timeout option or make the task smaller"
        )
      case "Canceled":
        return sentence(`${who} was cancelled`, because)
      case "Failed":
        return sentence(`${who} failed with an error of its own`, because)
      case "DependencyFailed":
        return sentence(`${who} was not started, for a task it needs failed`, because)
      case "Defect":
        return sentence(`${who} died`, because)
      case "InvalidPayload":
        return sentence(`${who} has a payload that does not match its schema`, because)
      case "InvalidResult":
        return sentence(`${who} gave a result that does not match its schema`, because)
      case "OutputLimit":
        if (detail("stream") === "result") {
          return sentence(
            `${who} gave a result of ${detail("size") ?? "?"} bytes, and ${detail("limit") ?? "?"} are allowed`,
            because,
            "raise the backend's resultLimit or leave large data in a file"
          )
        }
        return sentence(
          `${who} printed more than ${detail("limit") ?? "?"} bytes on ${detail("stream") ?? "its output"}`,
          because,
          "raise capture.limit or capture to a file"
        )
      case "Lost":
        return sentence(`${who} was lost`, because, "retry it")
    }
  }
}

/** Why a backend could not do what was asked. */
export const BackendErrorReason = Schema.Literal(
  /** The engine is not there or does not answer. */
  "Unavailable",
  /** The engine, or a limit of this library, refused the work. */
  "Rejected",
  /** The engine died with work in it. */
  "Lost",
  /** The backend's layer is closed or closing. */
  "Closed",
  /** Waiting took too long; nothing was cancelled. */
  "Timeout",
  /** The engine said something that its protocol does not allow. */
  "Protocol",
  /** This engine cannot stop work that runs. */
  "CancelUnsupported"
)
export type BackendErrorReason = typeof BackendErrorReason.Type

const remedies: Record<BackendErrorReason, string> = {
  Unavailable: "check that the engine is installed and running",
  Rejected: "submit less at once, or ask for what the backend offers",
  Lost: "the work in it is lost; build the layer again and resubmit",
  Closed: "submit while the backend's layer is open",
  Timeout: "wait longer; nothing was cancelled",
  Protocol: "engine and library do not fit together; check their versions",
  CancelUnsupported: "the task goes on; wait for its end"
}

/** A backend could not accept, hold or stop work. `backendType` is the driver's type, e.g. `"concurrent"`. */
export class BackendError extends Schema.TaggedError<BackendError>("effect-rhapsody/BackendError")("BackendError", {
  backendType: Schema.String,
  reason: BackendErrorReason,
  details: Details,
  cause: Schema.optional(Schema.Defect)
}) {
  override get message(): string {
    return sentence(`backend ${this.backendType}: ${this.reason}`, text(this.details, "message"), remedies[this.reason])
  }
}

/** Why a request is wrong. Nothing was started and nothing is left behind. */
export const ConfigurationErrorReason = Schema.Literal(
  /** The backend does not run tasks of this kind. */
  "UnsupportedKind",
  /** The uid is in use, or was used recently. */
  "DuplicateUid",
  /** The payload cannot be encoded, or the command made from it cannot be run. */
  "InvalidPayload",
  /** An option has a value that cannot be honoured. */
  "InvalidOption",
  /** An option that the backend does not honour, or that means nothing for a task of this kind. */
  "UnsupportedOption",
  /** Settings for a backend other than the one that runs the task. */
  "WrongSettings",
  /** A function task without its handler, or with the handler of another definition of the same name. */
  "WrongHandler",
  /** An error schema uses a tag of this library. */
  "ReservedTag",
  /** Something that is not a task was submitted. */
  "NotATask",
  /** No backend of that name is registered. */
  "UnknownBackend",
  /** A backend of that name is registered already. */
  "DuplicateBackend"
)
export type ConfigurationErrorReason = typeof ConfigurationErrorReason.Type

/** A request that can never work as it is written. `configKey` names the field; `details.message` the remedy. */
export class ConfigurationError extends Schema.TaggedError<ConfigurationError>("effect-rhapsody/ConfigurationError")(
  "ConfigurationError",
  {
    configKey: Schema.optional(Schema.String),
    reason: ConfigurationErrorReason,
    details: Details,
    cause: Schema.optional(Schema.Defect)
  }
) {
  override get message(): string {
    const what = text(this.details, "message") ?? this.reason
    return this.configKey === undefined ? what : `${this.configKey}: ${what}`
  }
}

/** Every error of this library. */
export const RhapsodyError = Schema.Union(TaskError, BackendError, ConfigurationError)
export type RhapsodyError = typeof RhapsodyError.Type

/** True for an error of this library, false for a user's own. */
export const isRhapsodyError = (u: unknown): u is RhapsodyError =>
  u instanceof TaskError || u instanceof BackendError || u instanceof ConfigurationError

/** Tags that a task's own error schema may not use: `catchTag` could not tell them from ours. */
export type ReservedTag = RhapsodyError["_tag"]
export const reservedTags: ReadonlySet<string> = new Set<ReservedTag>([
  "TaskError",
  "BackendError",
  "ConfigurationError"
])
