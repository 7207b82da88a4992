/** Everything that is known about a program that ended. */
import * as Schema from "effect/Schema"
import { Data } from "./internal/plain.js"

/** What the system counted for a program and those of its children that it waited for. */
export const Usage = Schema.Struct({
  /** CPU time, milliseconds. */
  userMillis: Schema.JsonNumber,
  systemMillis: Schema.JsonNumber,
  /** Peak resident memory of the largest process. Never below about 11 MB, which is the launch agent's own. */
  maxRssBytes: Schema.JsonNumber
})
export type Usage = typeof Usage.Type

/** Bytes that were printed beyond `capture.limit` and not kept. */
export const Dropped = Schema.Struct({ stdout: Schema.optional(Schema.Int), stderr: Schema.optional(Schema.Int) })
export type Dropped = typeof Dropped.Type

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })

/** An exception of a Python function, as data: the argument of a definition's `failure`, what to recognise it by. */
export const PythonException = Schema.Struct({
  /** Name of its class. */
  type: Schema.String,
  /** Module of its class. */
  module: Schema.String,
  /** `str(exception)`. */
  message: Schema.String,
  traceback: Schema.String,
  /** What it was made with, where JSON can express it. */
  args: Schema.optional(Schema.Array(Data))
})
export interface PythonException extends Schema.Schema.Type<typeof PythonException> {}

/**
 * As a success schema, gives the whole output of a program instead of its decoded standard output. As the argument of
 * a definition's `failure`, what to recognise a failure by.
 *
 * `stdout` and `stderr` are text (bytes that are not UTF-8 become U+FFFD), `stdoutBytes` and `stderrBytes` exact. What
 * was captured to a file is in the file (`stdoutPath`, `stderrPath`) and empty here.
 *
 * @example
 * ```ts
 * import { ExecutionBackend, Task } from "effect-rhapsody"
 *
 * const Grep = Task.executable("Grep", {
 *   success: Task.Output,
 *   exitCodes: [0, 1], // 1: nothing found
 *   command: () => ({ executable: "grep", args: ["needle", "haystack.txt"] })
 * })
 * export const program = ExecutionBackend.execute(Grep.make()) // _.exitCode, _.stdout, _.wallMillis
 * ```
 */
export class Output extends Schema.Class<Output>("effect-rhapsody/Task/Output")({
  /** Of a program that died by a signal, as a shell says it: 128 and the signal's number, 137 for SIGKILL. */
  exitCode: Schema.Int,
  /** What killed it, such as `"SIGKILL"`: only in what `failure` is asked about. */
  signal: Schema.optional(Schema.String),
  stdoutBytes: Schema.Uint8ArrayFromSelf,
  stderrBytes: Schema.Uint8ArrayFromSelf,
  stdoutPath: Schema.optional(Schema.String),
  stderrPath: Schema.optional(Schema.String),
  /** The directory of a task with `sandbox: true`. */
  sandboxPath: Schema.optional(Schema.String),
  /** From start to end, milliseconds. */
  wallMillis: Schema.Number,
  /** Where it is known: a program that Node started has none. */
  usage: Schema.optional(Usage),
  /** Set when `capture.overflow` is `"truncate"` and there was too much. */
  dropped: Schema.optional(Dropped)
}) {
  get stdout(): string {
    return decoder.decode(this.stdoutBytes)
  }
  get stderr(): string {
    return decoder.decode(this.stderrBytes)
  }
}
