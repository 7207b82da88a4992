/** Files that fail, and files that are never opened: the task suffers, and no other. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import { command, directory, gate, inbox, sh, taskError } from "../concurrent/support.js"
import { idle, nothingLeft } from "../support.js"
import { both, caught, fault, forest, limit, over, overOneAgent, reasonOf } from "./support.js"

const Text = (script: string, options: Task.Options) =>
  Task.executable("Text", { command: () => ({ executable: "sh", args: ["-c", script] }) }).make(undefined, options)

fault(
  "output captured to a file on a full disk",
  both(caught, "the program hears of it, as anywhere", (launcher) =>
    Effect.gen(function* () {
      // the obstacle is real
      assert.throws(() => fs.writeFileSync("/dev/full", "x"), /ENOSPC/)
      for (const capture of [
        { stdout: "/dev/full" },
        { stdout: "/dev/full", mergeStderr: true },
        { stdout: "/dev/full", stderr: "/dev/full" }
      ]) {
        const error = yield* taskError(sh("head -c 100000 /dev/zero", { capture }))
        assert.deepStrictEqual([error.reason, error.exitCode], ["Exit", 1])
        assert.strictEqual(error.details["stdoutPath"], "/dev/full")
        if (Object.keys(capture).length === 1) assert.include(error.message, "No space left on device")
        assert.strictEqual((yield* taskError(Text("echo x", { capture }))).reason, "Exit")
      }
      // who does not look whether it could write has written nothing
      assert.strictEqual(yield* ExecutionBackend.execute(Text("echo x; :", { capture: { stdout: "/dev/full" } })), "")
      assert.strictEqual(yield* ExecutionBackend.execute(Text("echo x", {})), "x\n")
    }).pipe(over(launcher, { maxWorkers: 1 }))
  )
)

// ---------------------------------------------------------------------------------------------------------------- FIFO

const fifo = Effect.map(directory, (directory) => {
  const path = join(directory, "fifo")
  execFileSync("mkfifo", [path])
  return path
})

/** Over Node, it is refused at once. */
const refused = Effect.gen(function* () {
  const file = yield* fifo
  const error = yield* taskError(command({ executable: "cat", stdin: { file } }))
  assert.deepStrictEqual(
    [error.reason, error.details["errno"], error.details["path"]],
    ["LaunchFailed", "EINVAL", file]
  )
  assert.include(error.message, "launch agent")
  assert.strictEqual((yield* ExecutionBackend.execute(sh("echo on"))).stdout, "on\n")
}).pipe(over("node"))
const refusal = limit("it fails at once, for to open it would block this whole process", refused)

fault("a FIFO as standard input that no process opens", {
  agent: [
    caught(
      "it has not started; other tasks go on; cancel and timeout end it",
      Effect.gen(function* () {
        const file = yield* fifo
        const { alive, env } = yield* forest
        const task = (options: Task.Options) => command({ executable: "cat", stdin: { file } }, { env, ...options })
        const waiting = yield* ExecutionBackend.submit(task({}))
        const doomed = yield* ExecutionBackend.submit(task({ timeout: "200 millis" }))
        const outputs = yield* Effect.replicateEffect(ExecutionBackend.execute(sh("echo on")), 20)
        for (const { stdout } of outputs) assert.strictEqual(stdout, "on\n")
        assert.strictEqual(reasonOf(yield* Fiber.await(doomed)), "Timeout")
        assert.notStrictEqual(yield* TaskFiber.state(waiting), "EXECUTING")
        assert.isTrue(fs.existsSync(file))
        yield* ExecutionBackend.cancel(waiting)
        assert.strictEqual(reasonOf(yield* Fiber.await(waiting)), "Canceled")
        assert.deepStrictEqual(yield* alive, [])
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(over("agent"))
    ),
    caught(
      "when a process does after all, the program starts and gets all that is written",
      Effect.gen(function* () {
        const file = yield* fifo
        const fiber = yield* ExecutionBackend.submit(command({ executable: "cat", stdin: { file } }))
        yield* ExecutionBackend.execute(sh("true"))
        const writer = yield* ExecutionBackend.execute(sh(`head -c 1000000 /dev/zero > ${file}`))
        assert.strictEqual(writer.exitCode, 0)
        assert.strictEqual((yield* Fiber.join(fiber)).stdoutBytes.length, 1_000_000)
      }).pipe(over("agent"))
    ),
    caught(
      "it holds no other program's pipes: a program beside it sees the end of its own input",
      Effect.gen(function* () {
        const file = yield* fifo
        const [letters, door] = [yield* inbox, yield* gate]
        // more than a pipe holds: the agent still has the rest of it when the other one starts
        const stdin = new Uint8Array(1 << 20).fill(0x61)
        const args = ["-c", `echo > ${letters.path}; read x < ${door.path}; wc -c`]
        const reader = yield* ExecutionBackend.submit(command({ executable: "sh", args, stdin }))
        yield* letters.take
        const waiting = yield* ExecutionBackend.submit(command({ executable: "cat", stdin: { file } }))
        yield* ExecutionBackend.execute(sh("true"))
        yield* door.open()
        const { stdout } = yield* Effect.timeoutFail(Fiber.join(reader), {
          duration: "1 minute",
          onTimeout: () => "it still waits for the end of its input"
        })
        assert.strictEqual(stdout.trim(), String(1 << 20))
        yield* ExecutionBackend.cancel(waiting)
      }).pipe(overOneAgent({}))
    ),
    caught(
      "closing the backend does not wait for it",
      Effect.gen(function* () {
        const file = yield* fifo
        const { alive, env } = yield* forest
        const fiber = yield* ExecutionBackend.submit(command({ executable: "cat", stdin: { file } }, { env })).pipe(
          Effect.zipLeft(ExecutionBackend.execute(sh("true"))),
          over("agent", { maxWorkers: 2, forceKillAfter: "10 minutes" })
        )
        assert.strictEqual(reasonOf(yield* Fiber.await(fiber)), "Canceled")
        assert.deepStrictEqual(yield* alive, [])
      })
    )
  ],
  node: refusal
})
