/** A program that an agent starts, as its client knows it. */
import type * as Either from "effect/Either"
import type { ProcessExit } from "../../Outcome.js"
import type { Launch, LaunchFailure } from "./launcher.js"

export type End = Either.Either<ProcessExit, LaunchFailure>

export type Stream = "stdout" | "stderr"

/** A program that some agent is asked to start: what its request is made from, and its end read with. */
export interface ProcessHandle {
  readonly id: number
  readonly launch: Launch
  /** Where the agent is: a program that runs there needs no directory. */
  readonly home: string | undefined
  readonly chunks: Record<Stream, Array<Uint8Array>>
  readonly cwd: string
  readonly paths: Readonly<Record<Stream, string | undefined>>
  /** Of what it prints, the end is enough. */
  readonly unwanted: boolean
  /** Of the paths, those that are not absolute are relative to where the agent runs. */
  resolve(): void
  pathOf(file: string): string
  input: Uint8Array | undefined
  sent: number
}
