/** What is captured in ways that no launcher knows of: told while the program runs, or spilled to files. */
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Queue from "effect/Queue"
import type { ProcessExit } from "../../Driver.js"
import type { OutputChunk } from "../../TaskOptions.js"
import { concat, launchFailed, tailed } from "./exit.js"
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

/** It printed more than it may: no failure, for its exit is known. */
class TooMuch {
  constructor(readonly stream: Stream) {}
}

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
    let tooMuch: TooMuch | undefined
    /** How it ended: by itself, or because it printed too much. */
    let ended: ProcessExit = { signal: "SIGKILL" }
    /** Nobody takes any more: what still comes must hold nobody up. */
    let over = false
    const keep = ({ bytes, stream }: OutputChunk): void => {
      const room = Math.max(0, limit - size[stream])
      size[stream] += bytes.length
      // a copy: the part would keep the whole
      if (room > 0) kept[stream].push(bytes.length <= room ? bytes : bytes.slice(0, room))
      // of what is stopped already it is no matter any more
      if (bytes.length > room && overflow !== "truncate" && !over) tooMuch ??= new TooMuch(stream)
    }
    const leave = (chunk: OutputChunk, taken: () => void): void => {
      keep(chunk)
      taken()
    }
    const beyond = (stream: Stream) => (size[stream] > limit ? { [stream]: size[stream] - limit } : {})
    const whole = (exit: ProcessExit): ProcessExit => {
      const dropped = { ...beyond("stdout"), ...beyond("stderr") }
      return {
        ...exit,
        ...(exit.stdoutPath === undefined ? { stdout: concat(kept.stdout) } : {}),
        stderr: concat(kept.stderr),
        ...(Object.keys(dropped).length === 0 ? {} : { dropped })
      }
    }
    return Effect.flatMap(
      // bounded by the window of the launcher
      Queue.unbounded<{ readonly chunk: OutputChunk; readonly taken: () => void } | undefined>(),
      (queue) => {
        const next: Effect.Effect<void, TooMuch> = Effect.flatMap(Queue.take(queue), (given) => {
          if (given === undefined) return Effect.void
          const { chunk, taken } = given
          keep(chunk)
          if (tooMuch !== undefined) return Effect.fail(tooMuch)
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
              for (const given of rest) {
                if (given !== undefined) leave(given.chunk, given.taken)
              }
            })
          })
        )
        const program: Launch = {
          ...launch,
          live: {
            give: (chunk, taken) => {
              if (over) leave(chunk, taken)
              else queue.unsafeOffer({ chunk, taken })
            }
          },
          stopped: (exit) => {
            if (tooMuch === undefined) launch.stopped?.(whole(exit))
            else ended = { ...exit, exitCode: undefined, signal: "SIGKILL" } // whatever it made of that
          },
          get grace() {
            return tooMuch === undefined ? launch.grace : 0
          }
        }
        const run = Effect.flatMap(launcher.launch(program), (exit) => {
          ended = exit
          return Queue.offer(queue, undefined)
        })
        return Effect.zip(run, consume, { concurrent: true }).pipe(
          Effect.as(undefined),
          Effect.catchIf(
            (failure) => failure === tooMuch,
            () => Effect.succeed(tooMuch)
          ),
          Effect.map((tooMuch) =>
            tooMuch === undefined ? whole(ended) : { ...whole(ended), overflow: tooMuch.stream }
          )
        ) as Effect.Effect<ProcessExit, LaunchFailure>
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
  let remains: ProcessExit | undefined
  const use = (directory: string) =>
    Effect.gen(function* () {
      const stdout = capture.stdout === undefined ? path.join(directory, "stdout") : undefined
      const stderr = capture.stderr === undefined && !capture.merged ? path.join(directory, "stderr") : undefined
      let ended = yield* launcher.launch({
        ...launch,
        program: {
          ...launch.program,
          capture: {
            ...capture,
            stdout: stdout ?? capture.stdout,
            stderr: stderr ?? capture.stderr,
            wanted: capture.wanted && stdout === undefined
          }
        },
        stopped: (exit) => {
          remains = exit
        }
      })
      const back = (file: string) =>
        Effect.tryPromise(() => takeBack(file, limit)).pipe(
          Effect.catchAll(({ cause }) => {
            ended = { ...ended, unreadable: (cause as Error).message }
            return Effect.succeed(undefined)
          })
        )
      if (stderr !== undefined) {
        const content = yield* back(stderr)
        ended = { ...ended, stderrPath: content === undefined ? stderr : undefined, stderr: content ?? nothing }
      }
      if (stdout !== undefined) {
        const content = yield* back(stdout)
        ended = { ...ended, stdoutPath: content === undefined ? stdout : undefined, stdout: content ?? nothing }
        if (content === undefined && capture.wanted) ended = { ...ended, overflow: "stdout" }
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
      if (Exit.isSuccess(exit)) return Effect.ignore(Effect.tryPromise(() => fs.rmdir(directory)))
      const remove = Effect.ignore(Effect.tryPromise(() => fs.rm(directory, { recursive: true, force: true })))
      if (remains === undefined) return remove
      const gone = (file: string | undefined) => (file?.startsWith(`${directory}${path.sep}`) ? undefined : file)
      return Effect.flatMap(tailed(remains), (exit) => {
        launch.stopped?.({ ...exit, stdoutPath: gone(exit.stdoutPath), stderrPath: gone(exit.stderrPath) })
        return remove
      })
    }
  )
}
