/** What the tests of the Dask backend share. */
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { Effect, Option, Schema } from "effect"
import type { DaskBackend } from "effect-rhapsody"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import { inject } from "vitest"
import { modules } from "../engines/dask.js"

const environment = inject("dask")

/** Why there is no Dask here: then its tests are skipped, which CI counts as failed. */
export const missing = "missing" in environment
export const python = "missing" in environment ? "python3" : environment.python

/** Options of a layer that finds the tests' own modules. */
export const base = { python, path: [modules] } satisfies DaskBackend.Options

/** A function of the tests' module `functions`. */
export const call = (
  name: string,
  payload: Record<string, unknown> = {},
  definition: Record<string, unknown> = {},
  options: Task.Options<any> = {}
): Task.Instance<any, any, any> =>
  Task.python(name, {
    callable: `functions:${name}`,
    payload: Object.fromEntries(Object.keys(payload).map((key) => [key, Schema.Unknown])) as any,
    success: Schema.Unknown,
    ...definition
  }).make(payload as any, options)

/** The TaskError that a task ends with. */
export const failure = (task: Task.Instance<any, any, any>) =>
  Effect.flatMap(Effect.flip(ExecutionBackend.execute(task)), (error: unknown) =>
    error instanceof TaskError ? Effect.succeed(error) : Effect.dieMessage(`not a TaskError: ${error}`)
  )

/** Looks again until it holds. */
export const until = (holds: () => boolean, what: string, millis = 15_000): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (holds()) return Effect.void
    if (millis <= 0) return Effect.dieMessage(`${what}: not in time`)
    return Effect.zipRight(Effect.sleep("10 millis"), until(holds, what, millis - 10))
  })

export const untilRuns = (uid: string) =>
  Effect.gen(function* () {
    while (!Option.contains(yield* ExecutionBackend.taskState(uid), "EXECUTING")) yield* Effect.sleep("5 millis")
  })

/** A file in a directory of its own, which is not there yet. */
export const file = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(path.join(tmpdir(), "rhapsody-dask-"))),
    (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
  ),
  (directory) => path.join(directory, "trace")
)

export const content = (file: string): string => (fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "")

// --------------------------------------------------------------------------------------------------------- processes

const children = (pid: number): ReadonlyArray<number> => {
  try {
    return fs
      .readdirSync(`/proc/${pid}/task`)
      .flatMap((thread) => fs.readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" "))
      .filter((pid) => pid !== "")
      .map(Number)
  } catch {
    return [] // it ended
  }
}
export const below = (pid: number): ReadonlyArray<number> => children(pid).flatMap((pid) => [pid, ...below(pid)])

const command = (pid: number): string => {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "latin1")
  } catch {
    return ""
  }
}

/** Of the backends of this process: the keeper and the bridge below it. */
export const bridges = (): ReadonlyArray<{ readonly keeper: number; readonly bridge: number }> =>
  children(process.pid)
    .filter((pid) => command(pid).includes("effect-rhapsody bridge to Dask"))
    .flatMap((keeper) => {
      const bridge = children(keeper).find((pid) => command(pid).includes("effect-rhapsody bridge to Dask"))
      return bridge === undefined ? [] : [{ keeper, bridge }]
    })

/** Not counting the dead that wait to be reaped. */
export const lives = (pid: number): boolean => {
  try {
    return !/^State:\s+[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, "latin1"))
  } catch {
    return false
  }
}
export const allGone = (pids: ReadonlyArray<number>) => until(() => !pids.some(lives), "processes to end")

/** Programs that sleep below a process. */
export const sleepers = (pid: number): ReadonlyArray<number> =>
  below(pid).filter((pid) => command(pid).startsWith("sleep\0"))

export const Sleep = Task.executable("Sleep", {
  command: () => ({ executable: "sh", args: ["-c", "setsid sleep 3600 & sleep 3600 & wait"] })
})
