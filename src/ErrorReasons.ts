/** The closed lists of reasons that errors have. */
import * as Schema from "effect/Schema"

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
  /**
   * Its handler failed with an error of this library, mostly that of a task which it ran itself: see `cause`. From
   * `awaitAll` with `failFast` also an error of the task's own, which is the `cause` then.
   */
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
