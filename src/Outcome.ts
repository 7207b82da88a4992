/** How an attempt ended, as plain data: what drivers and handlers answer. */
import type { RhapsodyError } from "./Errors.js"
import type { Dropped, PythonException, Usage } from "./Output.js"
import type { Text } from "./TaskOptions.js"

/** A program that ended. Text may be given for bytes. */
export interface ProcessExit {
  /** The code; for a death by signal leave it out and name the `signal`. */
  readonly exitCode?: number | undefined
  readonly signal?: string | undefined
  readonly stdout?: Text | undefined
  readonly stderr?: Text | undefined
  readonly stdoutTail?: Text | undefined // the end of what went to a file
  readonly stderrTail?: Text | undefined
  readonly stdoutPath?: string | undefined
  readonly stderrPath?: string | undefined
  readonly sandboxPath?: string | undefined
  /** Where it ran, when that is not said by the task. */
  readonly cwd?: string | undefined
  readonly wallMillis?: number | undefined
  readonly usage?: Usage | undefined
  /**
   * It printed more on this stream than `capture.limit` allows: it was killed for that (SIGKILL), or its result cannot be
   * decoded. The task ends as OutputLimit, unless the program itself ended badly.
   */
  readonly overflow?: "stdout" | "stderr" | undefined
  /** Why its output cannot be read back from a file: LaunchFailed, unless the program ended badly. */
  readonly unreadable?: string | undefined
  /** Why the shell that runs the lines of `prepare` did not come to the program, and facts of it: LaunchFailed. */
  readonly unreached?: Readonly<Record<string, unknown>> | undefined
  /** Bytes that were printed beyond the limit and not kept. */
  readonly dropped?: Dropped | undefined
  /** Some of its processes could not be killed, and are still there. */
  readonly survivors?: boolean | undefined
}

/** How an attempt ended, encoded, so that it can cross processes. */
export type Outcome =
  | { readonly _tag: "Success"; readonly value: unknown }
  /** The encoded error of the task's own. */
  | { readonly _tag: "Failure"; readonly error: unknown }
  /** A handler failed with an error of this library, encoded: mostly that of a task which it ran itself. */
  | { readonly _tag: "NestedFailure"; readonly error: typeof RhapsodyError.Encoded }
  | { readonly _tag: "Exited"; readonly exit: ProcessExit }
  /** A Python function raised it. */
  | { readonly _tag: "Raised"; readonly exception: PythonException }
  /** Payload or result did not fit the schemas on the far side. */
  | { readonly _tag: "Invalid"; readonly reason: "InvalidPayload" | "InvalidResult"; readonly message: string }

export const Outcome = {
  success: (value: unknown): Outcome => ({ _tag: "Success", value }),
  failure: (error: unknown): Outcome => ({ _tag: "Failure", error }),
  exited: (exit: ProcessExit): Outcome => ({ _tag: "Exited", exit }),
  raised: (exception: PythonException): Outcome => ({ _tag: "Raised", exception })
}
