/** What starts, watches and stops programs for a backend. Another implementation may stand behind this interface. */
import type * as Effect from "effect/Effect"
import type { Executable, ProcessExit } from "../../Driver.js"
import type { ConfigurationError } from "../../Errors.js"

/** Why there is no exit to tell. */
export interface LaunchFailure {
  readonly reason: "LaunchFailed" | "OutputLimit"
  readonly details: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

export interface Launch {
  readonly program: Executable
  /** Set in the program's environment unless the task says otherwise. */
  readonly env: Readonly<Record<string, string>>
  /** Milliseconds between TERM and KILL. */
  readonly grace: number
  /** Run when the program has started. */
  readonly started: Effect.Effect<void>
}

export interface Launcher {
  /** What this launcher cannot pass on exactly, refused before anything starts. */
  readonly check: (program: Executable) => ConfigurationError | undefined
  /**
   * Runs a program to its end. Interruption stops its whole process group (TERM, then KILL after the grace) and
   * returns when the group is gone, within the grace and 2 seconds.
   */
  readonly launch: (launch: Launch) => Effect.Effect<ProcessExit, LaunchFailure>
  /** Kills all that it launched, and gives no grace to what is stopped from now on. */
  readonly kill: Effect.Effect<void>
}
