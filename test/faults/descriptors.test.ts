/** I4: what waits holds no descriptor, and a process that has none left reports it, loses no task, and goes on when there are some. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import type { TaskError } from "effect-rhapsody/Errors"
import { command, directory, eventually, failureOf, sh } from "../concurrent/support.js"
import type { Launcher } from "./support.js"
import { bash, caught, fault, forest, limit, orchestrate, over, overOneAgent, python } from "./support.js"
import { agentsOf, narrowed } from "./system.js"

const many = (launcher: Launcher, wanted: number) =>
  Effect.gen(function* () {
    const options = { launcher, maxWorkers: 16, ...(launcher === "agent" ? { python } : {}) }
    const program = yield* orchestrate({
      program: "many",
      plan: { options, tasks: 5000, wanted },
      before: ["sh", "-c", 'ulimit -n 256 && exec "$@"', "sh"]
    })
    const said = (yield* program.said) as { limit: string; most: number; done: number; reasons: Record<string, number> }
    assert.strictEqual(said.limit, "256")
    assert.isAtLeast(said.done, wanted)
    assert.deepStrictEqual(said.reasons, said.done === 5000 ? {} : { Canceled: 5000 - said.done })
    assert.isBelow(said.most, 200)
  })

fault("5,000 tasks at once under ulimit -n 256", {
  agent: caught("all succeed", many("agent", 5000)),
  // Node takes its time: so many would have used up all descriptors if each kept one
  node: caught("the first 600 succeed, and the others are cancelled", many("node", 600))
})

// ---------------------------------------------------------------------------------------------------------- exhaustion

const Text = Task.executable("Text", { command: () => ({ executable: "echo", args: ["on"] }) })

/** Ways to start, which hold different descriptors on the way. */
const starts = (file: string, launcher: Launcher): Record<string, Task.Instance<unknown, never, any>> => {
  const capture = { stdout: file }
  const on = { executable: "echo", args: ["on"] }
  return {
    plain: command(on),
    merged: command(on, { capture: { mergeStderr: true } }),
    input: command({ executable: "cat", stdin: "on" }),
    "input from a file": command({ executable: "cat", stdin: { file: "/dev/null" } }),
    "to a file": command(on, { capture }),
    "read back": Text.make(undefined, { capture }),
    ...(launcher === "agent"
      ? { nice: command(on, { nice: 1 }), "nice, read back": Text.make(undefined, { nice: 1, capture }) }
      : {})
  }
}

/** The limit that leaves a process so many descriptors: the system counts by their highest number. */
const limitFor = (pid: number, free: number) => {
  const used = new Set(fs.readdirSync(`/proc/${pid}/fd`).map(Number))
  let limit = 0
  for (let left = free; left > 0; limit++) if (!used.has(limit)) left--
  return limit
}

/** Programs run until there is no descriptor for another; then each way to start, with one more free each time. */
const exhausted = (launcher: Launcher) =>
  Effect.gen(function* () {
    const { env, leaf, survivors } = yield* forest
    const file = join(yield* directory, "out")
    yield* ExecutionBackend.execute(bash(":"))
    const who = launcher === "agent" ? agentsOf()[0]!.agent : process.pid
    yield* narrowed(python, who, "NOFILE", limitFor(who, 30))
    const away = launcher === "agent" ? "setsid " : ""
    // one pipe each
    const holder = sh(`${away}${leaf("setsid")} & ${leaf("setsid")}`, { env, capture: { mergeStderr: true } })
    const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(holder), 60)
    const states = Effect.forEach(fibers, TaskFiber.state)
    yield* eventually(states, (all) => all.every((state) => state === "EXECUTING" || state === "FAILED"))
    const holders: Array<TaskFiber.TaskFiber<unknown, unknown>> = []
    for (const fiber of fibers) {
      if ((yield* TaskFiber.state(fiber)) === "EXECUTING") holders.push(fiber)
      else {
        const error = failureOf(yield* Fiber.await(fiber)) as TaskError
        assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "EMFILE"])
      }
    }
    assert.isAtLeast(holders.length, 8)
    assert.isBelow(holders.length, 60)
    let failed = 0
    /** Whether each way works. */
    const attempt = Effect.gen(function* () {
      const before = failed
      for (const [name, task] of Object.entries(starts(file, launcher))) {
        const exit = yield* Effect.exit(ExecutionBackend.execute(task))
        if (Exit.isSuccess(exit)) continue
        failed++
        const error = failureOf(exit) as TaskError
        assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "EMFILE"], name)
      }
      return failed === before
    })
    const cancelOne = Effect.suspend(() => ExecutionBackend.cancel(holders.pop()!))
    if (launcher === "agent") {
      while (!(yield* attempt)) yield* cancelOne
    } else {
      assert.isFalse(yield* attempt)
      while (holders.length > 3) yield* cancelOne
      assert.isTrue(yield* attempt)
    }
    assert.isAbove(failed, 0)
    for (const fiber of holders) assert.strictEqual(yield* TaskFiber.state(fiber), "EXECUTING")
    const sleeping = survivors().filter(({ args }) => args[0] === "sleep")
    assert.lengthOf(sleeping, 2 * holders.length, "a process of a cancelled task is left")
  })

fault("no descriptor left", {
  agent: caught(
    "starts fail and say so, no task is lost, cancelled trees are gone",
    exhausted("agent").pipe(overOneAgent({}))
  ),
  node: limit(
    "starts fail and say so, no task is lost, but Node keeps descriptors of starts that failed",
    exhausted("node").pipe(over("node", { maxWorkers: 100 }))
  )
})
