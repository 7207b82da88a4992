/** What an engine with a queue of its own reports about an attempt, as plain data. */
import * as Schema from "effect/Schema"
import { BackendError, TaskError } from "./Errors.js"
import { Outcome, ProcessExit } from "./Outcome.js"
import { AttemptKey } from "./Spec.js"

const key = AttemptKey.fields

/**
 * What an engine reports about an attempt. The first `Ended`, `Failed` or `Canceled` counts; a report about an attempt
 * that has ended, or that was never submitted, is ignored.
 */
export const Update = Schema.Union(
  Schema.TaggedStruct("Accepted", key),
  /** It really runs. */
  Schema.TaggedStruct("Started", key),
  /** Its state by the engine's own name, as in `nativeStates`; one that is not there is a protocol error. */
  Schema.TaggedStruct("Native", { ...key, state: Schema.String }),
  Schema.TaggedStruct("Ended", { ...key, outcome: Outcome }),
  Schema.TaggedStruct("Failed", { ...key, error: Schema.Union(TaskError, BackendError) }),
  /**
   * The work has stopped: as it was asked to, or by the engine's own decision. `stopped` false: it was given up, and
   * may still be running.
   */
  Schema.TaggedStruct("Canceled", {
    ...key,
    stopped: Schema.optional(Schema.Boolean),
    /** How its program ended: see `AttemptReporter.stopped`. */
    exit: Schema.optional(ProcessExit)
  })
)
export type Update = typeof Update.Type
