/** What both launchers say of how a program ended. */
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
