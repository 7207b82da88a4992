/** What starts, watches and stops programs for a backend: an agent (agentLauncher.ts) or Node (nodeLauncher.ts). */
import type * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Early, Executable, LocalHooks, ProcessExit, Secrets, Variable } from "../../Driver.js"
import type { ConfigurationError } from "../../Errors.js"
import type { Text } from "../../TaskOptions.js"

/** Why there is no exit to report. */
export interface LaunchFailure {
  /** `Lost`: the process that watched the program crashed, and the program with it. */
  readonly reason: "LaunchFailed" | "Lost"
  readonly details: Readonly<Record<string, unknown>>
  readonly cause?: unknown
}

/** A piece of output, as it came. */
export interface Chunk {
  readonly stream: "stdout" | "stderr"
  readonly bytes: Uint8Array
}

/** Where output goes while the program runs. */
export interface Live {
  /** `taken` lets more come; the program waits when too much is not taken. */
  readonly give: (chunk: Chunk, taken: () => void) => void
}

export interface Launch {
  readonly uid: string
  readonly program: Executable
  /** The values of its secret variables. */
  readonly secrets: Secrets
  /** Takes what it prints while it runs. */
  readonly onChunk: LocalHooks["onChunk"]
  /** Set in the program's environment unless the task says otherwise. */
  readonly env: Readonly<Record<string, string>>
  /** A directory to be made if it is not there. */
  readonly sandbox?: string
  /** Nothing may be at its path before. */
  readonly freshSandbox?: boolean
  /** Streams whose files are the library's own: nothing may be at their paths before. */
  readonly exclusive?: ReadonlyArray<Chunk["stream"]>
  readonly live?: Live
  /** Milliseconds between TERM and KILL. */
  readonly grace: number
  /** Called when the program has started. */
  readonly started: () => void
  /** Called with how it ended, when it was stopped; of what it printed, the ends are enough. */
  readonly stopped?: (exit: ProcessExit) => void
  /** It has no slot yet. */
  readonly early?: Early | undefined
}

export interface Launcher {
  /** What this launcher cannot pass on exactly, refused before anything starts. */
  readonly check: (program: Executable) => Effect.Effect<void, ConfigurationError>
  /**
   * Runs a program to its end. Interruption stops its whole process group (TERM, then KILL after the grace) and
   * returns when the group is gone, within the grace and 2 seconds.
   */
  readonly launch: (launch: Launch) => Effect.Effect<ProcessExit, LaunchFailure>
  /** Kills all that it launched, and gives no grace to what is stopped from now on. */
  readonly kill: Effect.Effect<void>
}

/** What a variable of a program is set to; undefined removes it. Throws where the value of a secret is not here. */
export const valueOf = ({ secrets }: Pick<Launch, "secrets">, name: string, value: Variable): Text | undefined => {
  if (typeof value !== "object" || value instanceof Uint8Array) return value
  const secret = secrets.get(name)
  if (secret === undefined) throw new Error(`the variable ${name} is secret, and its value was not given with the spec`)
  return Redacted.value(secret)
}
