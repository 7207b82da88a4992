/** What an engine with a queue of its own reports about an attempt. */
import type { BackendError, TaskError } from "./Errors.js"
import type { Outcome, ProcessExit } from "./Outcome.js"
import type { AttemptKey } from "./Spec.js"

/**
 * What an engine says of an attempt. The first `Ended`, `Failed` or `Canceled` counts; what is said of an attempt that
 * has ended, or that nobody knows, is ignored.
 */
export type Update = AttemptKey &
  (
    | { readonly _tag: "Accepted" }
    /** It really runs. */
    | { readonly _tag: "Started" }
    /** Its state by the engine's own name, as in `nativeStates`; one that is not there is a protocol error. */
    | { readonly _tag: "Native"; readonly state: string }
    | { readonly _tag: "Ended"; readonly outcome: Outcome }
    | { readonly _tag: "Failed"; readonly error: TaskError | BackendError }
    /**
     * The work has stopped: as it was asked to, or by the engine's own decision. `stopped` false: it was given up, and
     * may still be running.
     */
    | {
        readonly _tag: "Canceled"
        readonly stopped?: boolean | undefined
        /** How its program ended: see `Report.stopped`. */
        readonly exit?: ProcessExit | undefined
      }
  )
