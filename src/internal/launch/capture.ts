/** What is captured in ways that no launcher knows of: told while the program runs, or spilled to files. */
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import type { ProcessExit } from "../../Driver.js"
import type { OutputChunk } from "../../TaskOptions.js"
import { concat, launchFailed } from "./exit.js"
import type { Launch, Launcher, LaunchFailure } from "./launcher.js"

type Stream = OutputChunk["stream"]
const nothing = new Uint8Array()

export const launch = (
  launcher: Launcher,
  launch: Launch,
  sandbox: string | undefined
): Effect.Effect<ProcessExit, LaunchFailure> => {
  const { onChunk, overflow } = launch.program.capture
  if (onChunk !== undefined) return told(launcher, launch, onChunk)
  return overflow === "spill" ? spilled(launcher, launch, sandbox) : launcher.launch(launch)
}

const outputLimit = (limit: number, facts: Readonly<Record<string, unknown>>): LaunchFailure => ({
  reason: "OutputLimit",
  details: { limit, ...facts }
})

/** One piece after the other, in the order of coming; kept for the result as well, as the limit allows. */
const told = (
  launcher: Launcher,
  launch: Launch,
  onChunk: (chunk: OutputChunk) => Effect.Effect<void>
): Effect.Effect<ProcessExit, LaunchFailure> =>
  Effect.suspend(() => {
    const { limit, overflow } = launch.program.capture
    const kept: Record<Stream, Array<Uint8Array>> = { stdout: [], stderr: [] }
    const size: Record<Stream, number> = { stdout: 0, stderr: 0 }
    let tooMuch = false
    /** Nobody takes any more: what still comes must hold nobody up. */
    let over = false
    const keep = ({ bytes, stream }: OutputChunk): void => {
      const room = Math.max(0, limit - size[stream])
      size[stream] += bytes.length
      if (bytes.length <= room) kept[stream].push(bytes)
      else if (overflow !== "truncate") tooMuch = true
      // a copy: the part would keep the whole
      else if (room > 0) kept[stream].push(bytes.slice(0, room))
    }
    const beyond = (stream: Stream) => (size[stream] > limit ? { [stream]: size[stream] - limit } : {})
    return Effect.flatMap(
      // bounded by the window of the launcher
      Queue.unbounded<{ readonly chunk: OutputChunk; readonly taken: () => void } | undefined>(),
      (queue) => {
        const next: Effect.Effect<void, LaunchFailure> = Effect.flatMap(Queue.take(queue), (given) => {
          if (given === undefined) return Effect.void
          const { chunk, taken } = given
          keep(chunk)
          if (tooMuch) return Effect.fail(outputLimit(limit, { stream: chunk.stream }))
          // whoever does not let himself be interrupted must not hold the program
          return Effect.zipRight(
            Effect.disconnect(Effect.suspend(() => onChunk(chunk))),
            Effect.suspend(() => {
              taken()
              return next
            })
          )
        })
        const consume = Effect.ensuring(
          next,
          Effect.suspend(() => {
            over = true
            return Effect.map(Queue.takeAll(queue), (rest) => {
              for (const given of rest) given?.taken()
            })
          })
        )
        const program: Launch = {
          ...launch,
          live: {
            give: (chunk, taken) => {
              if (over) taken()
              else queue.unsafeOffer({ chunk, taken })
            }
          },
          get grace() {
            return tooMuch ? 0 : launch.grace
          }
        }
        const run = Effect.tap(launcher.launch(program), () => Queue.offer(queue, undefined))
        return Effect.map(Effect.zipLeft(run, consume, { concurrent: true }), (exit): ProcessExit => {
          const dropped = { ...beyond("stdout"), ...beyond("stderr") }
          return {
            ...exit,
            ...(exit.stdoutPath === undefined ? { stdout: concat(kept.stdout) } : {}),
            stderr: concat(kept.stderr),
            ...(Object.keys(dropped).length === 0 ? {} : { dropped })
          }
        })
      }
    )
  })

/** The content of a file that is small enough, which is then gone; `undefined` leaves it where it is. */
const takeBack = async (file: string, limit: number): Promise<Uint8Array | undefined> => {
  const { size } = await fs.stat(file)
  if (size > limit) return undefined
  const content = await fs.readFile(file)
  await fs.rm(file)
  return content
}

/** Output goes to files from the start; what fits into memory is taken back. */
const spilled = (
  launcher: Launcher,
  launch: Launch,
  sandbox: string | undefined
): Effect.Effect<ProcessExit, LaunchFailure> => {
  const { capture } = launch.program
  const { limit } = capture
  const use = (directory: string) =>
    Effect.gen(function* () {
      const stdout = capture.stdout === undefined ? path.join(directory, "stdout") : undefined
      const stderr = capture.stderr === undefined && !capture.merged ? path.join(directory, "stderr") : undefined
      const exit = yield* launcher.launch({
        ...launch,
        program: {
          ...launch.program,
          capture: {
            ...capture,
            stdout: stdout ?? capture.stdout,
            stderr: stderr ?? capture.stderr,
            wanted: capture.wanted && stdout === undefined
          }
        }
      })
      const back = (file: string) =>
        Effect.tryPromise({
          try: () => takeBack(file, limit),
          catch: (cause) =>
            launchFailed(`its output cannot be read back: ${(cause as Error).message}`, { path: file, cause })
        })
      let ended: ProcessExit = exit
      if (stderr !== undefined) {
        const content = yield* back(stderr)
        ended = { ...ended, stderrPath: content === undefined ? stderr : undefined, stderr: content ?? nothing }
      }
      if (stdout !== undefined) {
        const content = yield* back(stdout)
        if (content === undefined && capture.wanted) {
          const { stderrPath } = ended
          const paths = { stdoutPath: stdout, ...(stderrPath === undefined ? {} : { stderrPath }) }
          return yield* Effect.fail(outputLimit(limit, { stream: "stdout", ...paths }))
        }
        ended = { ...ended, stdoutPath: content === undefined ? stdout : undefined, stdout: content ?? nothing }
        if (capture.merged) ended = { ...ended, stderrPath: ended.stdoutPath }
      }
      return ended
    })
  return Effect.acquireUseRelease(
    Effect.suspend(() => {
      const directory = sandbox ?? path.join(tmpdir(), "effect-rhapsody")
      return Effect.tryPromise({
        try: async () => {
          await fs.mkdir(directory, { recursive: true })
          // a name of the system's is at most 255 bytes long
          return fs.mkdtemp(path.join(directory, `${Buffer.from(launch.uid).subarray(0, 200)}.`))
        },
        catch: (cause) => {
          const { code, message, path } = cause as NodeJS.ErrnoException
          return launchFailed(`no files can be made for its output: ${message}`, { errno: code, path, cause })
        }
      })
    }),
    use,
    (directory, exit) => {
      // what is told of stays; a directory that is not empty is not removed
      const told = Exit.isSuccess(exit) || (Cause.isFailType(exit.cause) && exit.cause.error.reason === "OutputLimit")
      const remove = told ? fs.rmdir(directory) : fs.rm(directory, { recursive: true, force: true })
      return Effect.ignore(Effect.tryPromise(() => remove))
    }
  )
}
