/**
 * From an attempt of an executable task to its outcome, over a launcher: what is the same however programs are started.
 */
import { randomUUID } from "node:crypto"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { AttemptReporter, Executable, LocalHooks, ProcessExit, Spec } from "../../Driver.js"
import { Outcome, taskError } from "../../Driver.js"
import type { TaskError } from "../../Errors.js"
import * as capture from "./capture.js"
import { tailed, withTails } from "./exit.js"
import type { Launch, Launcher } from "./launcher.js"
import { prepared } from "./preExec.js"

export interface Surroundings {
  /** Directory of the sandboxes of this backend instance. */
  readonly sandboxRoot: string
  /** Milliseconds between TERM and KILL. */
  readonly grace: number
}

/** What is used of the hooks of an attempt. */
export type ProgramHooks = Pick<LocalHooks, "onChunk" | "secrets"> &
  Pick<AttemptReporter, "early" | "stopped" | "unsafeExecuting">

export const runExecutable = (
  launcher: Launcher,
  spec: Spec,
  program: Executable,
  hooks: ProgramHooks,
  { grace, sandboxRoot }: Surroundings
): Effect.Effect<Outcome, TaskError> => {
  const { early, stopped, unsafeExecuting } = hooks
  const sandbox = program.sandbox ? path.resolve(sandboxRoot, spec.uid) : undefined
  const place = (exit: ProcessExit) => (sandbox === undefined ? exit : { ...exit, sandboxPath: sandbox })
  let remains: ProcessExit | undefined
  const launch: Launch = {
    ...launchOf(spec, program, hooks, sandbox),
    grace,
    started: unsafeExecuting,
    early,
    stopped: (exit) => {
      remains = exit
    }
  }
  return Effect.flatMap(capture.launch(launcher, launch, sandbox), withTails).pipe(
    Effect.mapBoth({
      onSuccess: (exit) => Outcome.exited(place(exit)),
      onFailure: ({ cause, details, reason }) => taskError(spec, reason, { details, cause })
    }),
    Effect.onInterrupt(() =>
      remains === undefined || stopped === undefined ? Effect.void : Effect.map(tailed(remains), stopped)
    )
  )
}

/** What the launcher is asked to start: the program, with its sandbox if it has one. */
export const launchOf = (
  spec: Spec,
  program: Executable,
  { onChunk, secrets }: Pick<LocalHooks, "onChunk" | "secrets">,
  sandbox: string | undefined
): Omit<Launch, "grace" | "started"> => ({
  uid: spec.uid,
  program: prepared(placed(spec, program, sandbox)),
  secrets,
  onChunk,
  env: {
    RHAPSODY_TASK_UID: spec.uid,
    RHAPSODY_ATTEMPT: String(spec.attempt),
    ...(sandbox === undefined ? {} : { RHAPSODY_SANDBOX: sandbox })
  },
  ...(sandbox === undefined ? {} : { sandbox, freshSandbox: spec.attempt === 1 })
})

/** In its sandbox, if it names no other directory, and with the names of its files filled in. */
const placed = (spec: Spec, program: Executable, sandbox: string | undefined): Executable => {
  const { capture } = program
  const named = (file: string | undefined) =>
    file?.replace(/\{(uid|attempt)\}/g, (_, part: "uid" | "attempt") => String(spec[part]))
  const [stdout, stderr] = [named(capture.stdout), named(capture.stderr)]
  const inside = sandbox !== undefined && program.cwd === undefined ? { ...program, cwd: sandbox } : program
  return stdout === capture.stdout && stderr === capture.stderr
    ? inside
    : { ...inside, capture: { ...capture, stdout, stderr } }
}

/** The directory of one backend instance below that of all sandboxes: two runs of a script share none. */
export const instanceDirectory = (sandboxRoot: string): string =>
  path.join(sandboxRoot, `run.${randomUUID().slice(-12)}`)
