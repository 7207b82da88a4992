/** I4: what this process holds for a program, it lets go of, however the program ends. */
import * as fs from "node:fs"
import { it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { ExecutionBackend } from "effect-rhapsody"
import type { Program } from "./support.js"
import { agents, childrenOf, command, directory, eventually, failing, overBoth, sh } from "./support.js"

overBoth("this process keeps", ({ launcher, provide }) => {
  const backend = provide({ forceKillAfter: "1 hour" })

  // before any program was started
  const listeners = process.listenerCount("exit")
  const resources = (pattern: RegExp) => process.getActiveResourcesInfo().filter((name) => pattern.test(name)).length
  const descriptors = (pid: number | "self") => fs.readdirSync(`/proc/${pid}/fd`).length
  const held = Effect.map(agents, (agents) => ({
    descriptors: descriptors("self"),
    listeners: process.listenerCount("exit") - listeners,
    children: resources(/Process|Pipe/),
    // the test runner has a few timers, that come and go
    timers: Math.max(20, resources(/Timeout/)),
    // the programs that are not reaped yet are in it
    "processes of agents": agents.length + agents.flatMap(childrenOf).length,
    "descriptors of agents": agents.map(descriptors).reduce((sum, n) => sum + n, 0)
  }))
  type Held = Effect.Effect.Success<typeof held>
  const keys = [
    "descriptors",
    "listeners",
    "children",
    "timers",
    "processes of agents",
    "descriptors of agents"
  ] as const
  /** Keepers and agents that have opened all that they open for themselves: the last is this, of each. */
  const standing = Effect.map(agents, (all) => {
    const [keepers, agents] = [all.slice(0, all.length / 2), all.slice(all.length / 2)]
    const catches = (pid: number) => /^SigCgt:.*[13579bdf]....$/m.test(fs.readFileSync(`/proc/${pid}/status`, "latin1"))
    const open = (pid: number, fd: string) => {
      try {
        return fs.readlinkSync(`/proc/${pid}/fd/${fd}`)
      } catch {
        return "" // closed meanwhile
      }
    }
    const polls = (pid: number) => fs.readdirSync(`/proc/${pid}/fd`).some((fd) => open(pid, fd).includes("eventpoll"))
    return [...keepers.filter(catches), ...agents.filter(polls)].length
  })
  /** What the first use of anything opens for good: both agents, too, of which two programs at a time need the second. */
  const warm = Effect.zipRight(
    Effect.replicateEffect(failing(sh("sleep 0.1")), 2, { concurrency: 2 }),
    eventually(standing, (standing) => standing === (launcher === "agent" ? 4 : 0))
  )
  // closing what a child held open takes a turn of the loop or two
  const settles = (before: Held, what: string) =>
    eventually(held, (now) => keys.every((key) => now[key] <= before[key])).pipe(
      Effect.mapError((why) => `${what}: ${why}, before it was ${JSON.stringify(before)}`)
    )

  it.scopedLive("no descriptor, listener, child or timer of 25 tasks of each form of capture and end", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const script = "cat; echo err >&2"
      const all: Record<string, () => Program> = {
        memory: () => sh(script),
        files: () => sh(script, { cwd, capture: { stdout: "a", stderr: "b" } }),
        merged: () => sh(script, { capture: { mergeStderr: true } }),
        "merged to a file": () => sh(script, { cwd, capture: { mergeStderr: true, stdout: "c" } }),
        "one file for both": () => sh(script, { cwd, capture: { stdout: "d", stderr: "d" } }),
        input: () => command({ executable: "cat", stdin: "input" }, { capture: { mergeStderr: true } }),
        "a missing program": () => command({ executable: "not-there" }, { capture: { mergeStderr: true } }),
        "a missing directory": () => sh(script, { cwd: "/not/there" }),
        "a file that cannot be opened": () => sh(script, { cwd, capture: { stdout: "a", stderr: "." } }),
        "too long a command": () =>
          command(
            { executable: "true", args: ["x".repeat(1 << 18)] },
            { cwd, capture: { mergeStderr: true, stdout: "e" } }
          ),
        "too much output": () => sh("yes", { capture: { limit: 10 } }),
        "too much output, merged": () => sh("echo much", { capture: { limit: 1, mergeStderr: true } }),
        "death by a signal": () => sh("kill -9 $$"),
        "a file as input": () => command({ executable: "cat", stdin: { file: "/etc/passwd" } }),
        "a missing file as input": () => command({ executable: "cat", stdin: { file: "not-there" } }),
        truncated: () => sh("echo much", { capture: { limit: 1, overflow: "truncate" } }),
        spilled: () => sh(script, { capture: { overflow: "spill" } }),
        live: () => sh(script, { capture: { onChunk: () => Effect.void } }),
        prepared: () => sh(script, { cwd, preExec: ["export X=1"] }),
        ...(launcher === "agent"
          ? {
              "limited, and nice": () => sh(script, { rlimits: { coreSize: 0 }, nice: 1 }),
              "limits that cannot be set": () => sh(script, { rlimits: { openFiles: 2 ** 52 } })
            }
          : {})
      }
      yield* warm
      const before = { ...(yield* held), listeners: 0 }
      for (const [name, make] of Object.entries(all)) {
        yield* Effect.replicateEffect(failing(make()), 25, { concurrency: 8 })
        yield* settles(before, name)
      }
    }).pipe(backend)
  )

  it.live("none of cancelled ones", () =>
    Effect.gen(function* () {
      yield* warm
      const before = yield* held
      for (let i = 0; i < 30; i++) {
        const fibers = yield* Effect.replicateEffect(
          ExecutionBackend.submit(
            sh("sleep 100", { capture: { mergeStderr: i % 2 === 0 }, preExec: i % 3 === 0 ? ["export X=1"] : [] })
          ),
          4
        )
        for (let step = 0; step < i % 10; step++) yield* Effect.yieldNow()
        yield* Fiber.interruptAll(fibers)
      }
      yield* settles(before, "cancelled")
    }).pipe(backend)
  )
})
