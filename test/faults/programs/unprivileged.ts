/** What root cannot be refused: each obstacle is shown to be real, then a task meets it. Says what became of each. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import type { TaskError } from "effect-rhapsody/Errors"
import { agentsOf, narrowed } from "../system.js"

const { launcher, locked } = JSON.parse(process.argv[2]!) as {
  readonly launcher: "agent" | "node"
  /** A directory of root's alone. */
  readonly locked: string
}

const Echo = Task.executable("Echo", { command: () => ({ executable: "echo", args: ["on"] }) })
const Cat = Task.executable("Cat", {
  command: () => ({ executable: "cat", stdin: { file: join(locked, "file") } })
})
const Forks = Task.executable("Forks", {
  command: () => ({ executable: "sh", args: ["-c", "/bin/true; echo forked"] })
})

/** What the system answers. */
const refusal = (attempt: () => unknown): string => {
  try {
    attempt()
    return "no obstacle"
  } catch (cause) {
    return String((cause as NodeJS.ErrnoException).code)
  }
}

const end = (task: Task.Instance<string, never, ExecutionBackend.ExecutionBackend<"executable">>) =>
  Effect.map(Effect.exit(ExecutionBackend.execute(task)), (exit) => {
    if (Exit.isSuccess(exit)) return exit.value.trim()
    const { details, exitCode, reason } = Option.getOrThrow(Cause.failureOption(exit.cause)) as TaskError
    return { reason, exitCode, errno: details["errno"], path: details["path"], stderr: details["stderr"] }
  })

/** This process's own directory, which it may not enter any more. */
const own = fs.mkdtempSync(join(tmpdir(), "effect-rhapsody-"))
process.chdir(own)
fs.chmodSync(own, 0)

const program = Effect.gen(function* () {
  const said: Record<string, unknown> = {
    uid: process.getuid!(),
    obstacles: {
      list: refusal(() => fs.readdirSync(locked)),
      enter: refusal(() => process.chdir(locked)),
      here: refusal(() => process.chdir(own)),
      read: refusal(() => fs.readFileSync(join(locked, "file"))),
      write: refusal(() => fs.writeFileSync(join(locked, "out"), ""))
    },
    cwd: yield* end(Echo.make(undefined, { cwd: locked })),
    here: yield* end(Echo.make()),
    input: yield* end(Cat.make(undefined, { cwd: "/" })),
    output: yield* end(Echo.make(undefined, { cwd: "/", capture: { stdout: join(locked, "out") } })),
    sandbox: yield* end(Echo.make(undefined, { sandbox: true }))
  }
  said["limits"] = yield* end(Forks.make(undefined, { cwd: "/", rlimits: { processes: 1 } }))
  yield* Effect.scoped(
    Effect.gen(function* () {
      for (const pid of [...agentsOf().map(({ agent }) => agent), process.pid]) {
        yield* narrowed("python3", pid, "NPROC", 1)
      }
      said["fork"] = (spawnSync("true").error as NodeJS.ErrnoException | undefined)?.code
      said["process limit"] = yield* end(Echo.make(undefined, { cwd: "/" }))
      if (launcher === "agent") said["process limit, nice"] = yield* end(Echo.make(undefined, { cwd: "/", nice: 1 }))
    })
  )
  said["after"] = yield* end(Echo.make(undefined, { cwd: "/" }))
  return said
})

const layer = ConcurrentBackend.layer({ launcher, maxWorkers: 1, sandboxRoot: join(locked, "sandboxes") })
Effect.runPromise(Effect.provide(program, layer))
  .then((said) => console.log(JSON.stringify(said)))
  .finally(() => {
    fs.chmodSync(own, 0o700)
    fs.rmSync(own, { recursive: true })
  })
