/** What both launchers say of how a program ended. */
import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import * as Effect from "effect/Effect"
import type { ProcessExit } from "../../Driver.js"
import type { LaunchFailure } from "./launcher.js"

export const concat = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  const all = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    all.set(chunk, at)
    at += chunk.length
  }
  return all
}

export const launchFailed = (
  message: string,
  {
    cause,
    ...facts
  }: { readonly errno?: string | undefined; readonly path?: string | undefined; readonly cause?: unknown }
): LaunchFailure => ({ reason: "LaunchFailed", details: { message, ...facts }, cause })

// -------------------------------------------------------------------------------------------------------------- tails

/** Bytes from the end of a stream that hold the lines of an error, and a secret that begins before them. */
export const tailSize = 8192

/** The last pieces, as many as an error shows: what is not wanted whole is not put together. */
export const tailOf = (chunks: ReadonlyArray<Uint8Array>): Uint8Array => {
  let size = 0
  let from = chunks.length
  while (from > 0 && size < tailSize) size += chunks[--from]!.length
  const tail = concat(chunks.slice(from))
  return tail.length > tailSize ? tail.slice(-tailSize) : tail
}

/** The end of a file; undefined where there is none to read. */
const readTail = async (file: string): Promise<Uint8Array | undefined> => {
  try {
    // without waiting for the other end of a FIFO
    const handle = await fs.open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stat = await handle.stat()
      if (!stat.isFile()) return undefined
      const position = Math.max(0, stat.size - tailSize)
      const { buffer, bytesRead } = await handle.read({ position, length: tailSize })
      return buffer.subarray(0, bytesRead)
    } finally {
      await handle.close()
    }
  } catch {
    return undefined // it was removed, or may not be read: its path alone is known
  }
}

/** Of a program that ended badly, the end of what it wrote to files: an error shows it. */
export const withTails = (exit: ProcessExit): Effect.Effect<ProcessExit> =>
  exit.exitCode === 0 && exit.overflow === undefined && exit.unreached === undefined
    ? Effect.succeed(exit)
    : tailed(exit)

/** However it ended. */
export const tailed = (exit: ProcessExit): Effect.Effect<ProcessExit> => {
  const { stderrPath, stdoutPath } = exit
  if (stdoutPath === undefined && stderrPath === undefined) return Effect.succeed(exit)
  return Effect.promise(async () => {
    const stderrTail = stderrPath === undefined ? undefined : await readTail(stderrPath)
    const stdoutTail =
      stdoutPath === undefined ? undefined : stdoutPath === stderrPath ? stderrTail : await readTail(stdoutPath)
    return {
      ...exit,
      ...(stdoutTail === undefined ? {} : { stdoutTail }),
      ...(stderrTail === undefined ? {} : { stderrTail })
    }
  })
}
