/** Obstacles that root does not meet: the whole orchestrator runs as another user and asserts first that they are real. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { directory } from "../concurrent/support.js"
import { readableBy, unprivileged } from "./readable.js"
import type { Launcher } from "./support.js"
import { both, caught, fault, limit, orchestrate } from "./support.js"

/** The user of the orchestrator: another one when this is root. */
const uid = process.getuid!() === 0 ? unprivileged : undefined

const said = (launcher: Launcher) =>
  Effect.gen(function* () {
    const locked = yield* directory
    fs.writeFileSync(join(locked, "file"), "secret")
    fs.chmodSync(locked, uid === undefined ? 0 : 0o700)
    const from = yield* readableBy(uid)
    const program = yield* orchestrate({
      program: "unprivileged",
      plan: { launcher, locked },
      root: from,
      ...(uid === undefined ? {} : { uid })
    })
    const said = (yield* program.said) as Record<string, any>
    assert.strictEqual(said["uid"], uid ?? process.getuid!())
    for (const [what, refusal] of Object.entries(said["obstacles"])) assert.strictEqual(refusal, "EACCES", what)
    assert.lengthOf(Object.keys(said["obstacles"]), 5)
    return { locked, said }
  })

const runs = new Map<Launcher, Promise<Effect.Effect.Success<ReturnType<typeof said>>>>()
/** Each orchestrator runs once, for all obstacles; it asserts that they are real. */
const reported = (launcher: Launcher) =>
  Effect.promise(() => {
    const run = runs.get(launcher) ?? Effect.runPromise(Effect.scoped(said(launcher)))
    runs.set(launcher, run)
    return run
  })

const refused = (errno: string, path: string) => ({ reason: "LaunchFailed", errno, path })
type Reported = Effect.Effect.Success<ReturnType<typeof reported>>

/** What became of a task at an obstacle. */
const obstacle = (name: string, what: string, test: (reported: Reported, launcher: Launcher) => void) =>
  fault(
    name,
    both(caught, what, (launcher) => Effect.map(reported(launcher), (reported) => test(reported, launcher)))
  )

obstacle("a working directory that may not be entered", "it is reported with errno and path", ({ locked, said }) => {
  assert.deepStrictEqual(said["cwd"], refused("EACCES", locked))
})

obstacle("this process's own directory, when it may not be entered again", "tasks run in it", ({ said }) => {
  assert.strictEqual(said["here"], "on")
})

obstacle("files that may not be opened", "they are reported with errno and path", ({ locked, said }) => {
  assert.deepStrictEqual(said["input"], refused("EACCES", join(locked, "file")))
  assert.deepStrictEqual(said["output"], refused("EACCES", join(locked, "out")))
})

obstacle("a sandbox that may not be made", "it is reported with errno and path", ({ locked, said }) => {
  assert.deepInclude(said["sandbox"], { reason: "LaunchFailed", errno: "EACCES" })
  assert.include(said["sandbox"].path, join(locked, "sandboxes"))
})

obstacle("no room for another process", "it is reported as EAGAIN, and later tasks run", ({ said }, launcher) => {
  assert.strictEqual(said["fork"], "EAGAIN")
  assert.deepStrictEqual(said["process limit"], refused("EAGAIN", "echo"))
  if (launcher === "agent") assert.deepStrictEqual(said["process limit, nice"], refused("EAGAIN", "echo"))
  assert.strictEqual(said["after"], "on")
})

fault("a limit of processes for a task", {
  agent: caught(
    "it runs, and may not fork",
    Effect.map(reported("agent"), ({ said }) => {
      assert.strictEqual(said["limits"].reason, "Exit")
      assert.match(said["limits"].stderr, /fork/)
    })
  ),
  node: limit(
    "Node cannot set it, and the task is refused",
    Effect.map(reported("node"), ({ said }) => {
      assert.deepStrictEqual(said["limits"], { reason: "UnsupportedOption" })
    })
  )
})
