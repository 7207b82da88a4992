/**
 * How an attempt ended, as plain data: what drivers and handlers answer. `ProcessExit` and `Outcome` are Schemas, whose
 * encoded forms are JSON.
 */
import * as Schema from "effect/Schema"
import type { RhapsodyError } from "./Errors.js"
import { Data, DataRecord, OptionalData } from "./internal/plain.js"
import { Dropped, PythonException, Usage } from "./Output.js"
import { Text } from "./Spec.js"

const someText = Schema.optional(Text)
const someString = Schema.optional(Schema.String)

/** A program that ended. Text may be given for bytes. */
export const ProcessExit = Schema.Struct({
  /** The code; for a death by signal leave it out and name the `signal`. */
  exitCode: Schema.optional(Schema.Int),
  signal: someString,
  stdout: someText,
  stderr: someText,
  /** The end of what went to a file. */
  stdoutTail: someText,
  stderrTail: someText,
  stdoutPath: someString,
  stderrPath: someString,
  sandboxPath: someString,
  /** Where it ran, when that is not said by the task. */
  cwd: someString,
  wallMillis: Schema.optional(Schema.JsonNumber),
  usage: Schema.optional(Usage),
  /**
   * It printed more on this stream than `capture.limit` allows: it was killed for that (SIGKILL), or its result cannot be
   * decoded. The task ends as OutputLimit, unless the program itself ended badly.
   */
  overflow: Schema.optional(Schema.Literal("stdout", "stderr")),
  /** Why its output cannot be read back from a file: LaunchFailed, unless the program ended badly. */
  unreadable: someString,
  /** Why the shell that runs the lines of `preExec` did not come to the program, and facts of it: LaunchFailed. */
  unreached: Schema.optional(DataRecord),
  /** Bytes that were printed beyond the limit and not kept. */
  dropped: Schema.optional(Dropped),
  /** Some of its processes could not be killed, and are still there. */
  survivors: Schema.optional(Schema.Boolean)
})
export interface ProcessExit extends Schema.Schema.Type<typeof ProcessExit> {}

const Success = Schema.TaggedStruct("Success", { value: OptionalData })
/** The encoded error of the task's own. */
const Failure = Schema.TaggedStruct("Failure", { error: OptionalData })
/** A handler failed with an error of this library, encoded by `RhapsodyError`: mostly that of a task which it ran itself. */
const NestedFailure = Schema.TaggedStruct("NestedFailure", {
  error: Data as Schema.Schema<typeof RhapsodyError.Encoded, unknown>
})
const Exited = Schema.TaggedStruct("Exited", { exit: ProcessExit })
/** A Python function raised it. */
const Raised = Schema.TaggedStruct("Raised", { exception: PythonException })
/** Payload or result did not fit the schemas on the far side. */
const Invalid = Schema.TaggedStruct("Invalid", {
  reason: Schema.Literal("InvalidPayload", "InvalidResult"),
  message: Schema.String
})

const schema = Schema.Union(Success, Failure, NestedFailure, Exited, Raised, Invalid)

/** How an attempt ended, encoded, so that it can cross processes. */
export type Outcome = typeof schema.Type

/** The schema of outcomes, and what makes them. */
export const Outcome = Object.assign(schema, {
  success: (value: unknown): Outcome => ({ _tag: "Success", value }),
  failure: (error: unknown): Outcome => ({ _tag: "Failure", error }),
  exited: (exit: ProcessExit): Outcome => ({ _tag: "Exited", exit }),
  raised: (exception: PythonException): Outcome => ({ _tag: "Raised", exception })
})
