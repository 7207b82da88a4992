/** Output that goes to files of the library's own, and comes back into memory where it is little. */
import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { ProcessExit } from "../../Driver.js"
import { launchFailed, tailed } from "./exit.js"
import type { Launch, Launcher, LaunchFailure } from "./launcher.js"

const nothing = new Uint8Array()

/** The content of a file that is small enough, which is then gone; `undefined` leaves it where it is. */
const takeBack = async (file: string, limit: number): Promise<Uint8Array | undefined> => {
  // the program may have put something else in its place: a link is not followed, a FIFO not waited for
  const handle = await fs.open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) throw new Error(`${file} is not a file any more`)
    if (stat.size > limit) return undefined
    const content = await handle.readFile()
    await fs.rm(file)
    return content
  } finally {
    await handle.close()
  }
}

/** Output goes to files from the start; what fits into memory is taken back. */
export const spilled = (
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
      const stderr = capture.stderr === undefined && !capture.mergeStderr ? path.join(directory, "stderr") : undefined
      let ended = yield* launcher.launch({
        ...launch,
        exclusive: [
          ...(stdout === undefined ? [] : ["stdout" as const]),
          ...(stderr === undefined ? [] : ["stderr" as const])
        ],
        freshSandbox: false,
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
        if (capture.mergeStderr) ended = { ...ended, stderrPath: ended.stdoutPath }
      }
      return ended
    })
  return Effect.acquireUseRelease(
    Effect.suspend(() => {
      const uid = Buffer.from(launch.uid).subarray(0, 200) // a name of the system's is at most 255 bytes long
      return Effect.tryPromise({
        // private, and of a name that is not known before: another user can neither read it nor be there first
        try: async () => {
          if (sandbox === undefined) return fs.mkdtemp(path.join(tmpdir(), `effect-rhapsody.${uid}.`))
          if (launch.freshSandbox === true) await fs.mkdir(path.dirname(sandbox), { recursive: true })
          await fs.mkdir(sandbox, { recursive: launch.freshSandbox !== true })
          return fs.mkdtemp(path.join(sandbox, `${uid}.`))
        },
        catch: (cause) => {
          const { code, message, path } = cause as NodeJS.ErrnoException
          return launchFailed(`no files can be made for its output: ${message}`, { errno: code, path, cause })
        }
      })
    }),
    use,
    (directory, exit) => {
      // a file that the outcome names stays; a directory that is not empty is not removed
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
