/**
 * From an attempt of an executable task to its outcome, over a launcher: what is the same however programs are started.
 */
import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { Early, Executable, ProcessExit, Spec } from "../../Driver.js"
import { Outcome, taskError } from "../../Driver.js"
import type { TaskError } from "../../Errors.js"
import * as capture from "./capture.js"
import type { Launch, Launcher } from "./launcher.js"

export interface Surroundings {
  /** Directory of the sandboxes. */
  readonly sandboxes: string
  /** Milliseconds between TERM and KILL. */
  readonly grace: number
  readonly started: () => void
  readonly early?: Early | undefined
}

export const runExecutable = (
  launcher: Launcher,
  spec: Spec,
  program: Executable,
  { early, grace, sandboxes, started }: Surroundings
): Effect.Effect<Outcome, TaskError> => {
  const sandbox = program.sandbox ? path.resolve(sandboxes, spec.uid) : undefined
  const launch: Launch = { ...launchOf(spec, program, sandbox), grace, started, early }
  return Effect.mapBoth(
    Effect.flatMap(capture.launch(launcher, launch, sandbox), (exit) => withTail(exit)),
    {
      onSuccess: Outcome.exited,
      onFailure: ({ cause, details, reason }) => taskError(spec, reason, { details, cause })
    }
  )
}

/** What is asked of whoever starts the program, with its sandbox if it has one. */
export const launchOf = (
  spec: Spec,
  program: Executable,
  sandbox: string | undefined
): Omit<Launch, "grace" | "started"> => ({
  uid: spec.uid,
  program: prepared(sandbox === undefined || program.cwd !== undefined ? program : { ...program, cwd: sandbox }),
  env: {
    RHAPSODY_TASK_UID: spec.uid,
    RHAPSODY_ATTEMPT: String(spec.attempt),
    ...(sandbox === undefined ? {} : { RHAPSODY_SANDBOX: sandbox })
  },
  ...(sandbox === undefined ? {} : { sandbox })
})

// -------------------------------------------------------------------------------------------------------- preparation

/**
 * Each line is told by its number when it fails; the program then takes the shell's place. The empty line is for a
 * backslash at the end: it must not reach what asks whether the line failed.
 */
const prepared = (program: Executable): Executable => {
  if (program.prepare.length === 0) return program
  const lines = program.prepare.map(
    (line, i) =>
      `${line}\n\nrhapsody_status=$?; if [ $rhapsody_status -ne 0 ]; then echo "prepare[${i}] failed with code $rhapsody_status" >&2; exit $rhapsody_status; fi`
  )
  const script = [...lines, "unset rhapsody_status", 'exec -- "$@"'].join("\n")
  return { ...program, executable: "bash", args: ["-c", script, "bash", program.executable, ...program.args] }
}

// ---------------------------------------------------------------------------------------------------------------- end

/** Bytes from the end of a file that hold the lines of an error. */
const tailSize = 4096

/** Of a program that failed, the end of what it wrote to a file: an error message shows it. */
const withTail = (exit: ProcessExit): Effect.Effect<ProcessExit> =>
  exit.stderrPath === undefined || exit.exitCode === 0
    ? Effect.succeed(exit)
    : Effect.promise(async () => {
        try {
          // without waiting for the other end of a FIFO
          const file = await fs.open(exit.stderrPath!, constants.O_RDONLY | constants.O_NONBLOCK)
          try {
            const stat = await file.stat()
            if (!stat.isFile()) return exit
            const { size } = stat
            const { buffer, bytesRead } = await file.read({ position: Math.max(0, size - tailSize), length: tailSize })
            return { ...exit, stderrTail: buffer.subarray(0, bytesRead) }
          } finally {
            await file.close()
          }
        } catch {
          return exit // it was removed, or is no file: the path alone is told
        }
      })
