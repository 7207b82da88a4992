/** What the system is asked for a program, its limits and its niceness, and what it reports of one that ended. */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { Task } from "effect-rhapsody"
import { ExecutionBackend } from "effect-rhapsody"
import { idle, nothingLeft, statesOf } from "../support.js"
import { command, directory, inbox, marked, notUtf8, overBoth, program, refusal, sh, taskError } from "./support.js"

const GB = 1024 ** 3
const stdoutOf = <E, R>(task: Task.Instance<Task.Output, E, R>) =>
  Effect.map(ExecutionBackend.execute(task), (output) => output.stdout)

overBoth("limits and niceness", ({ launcher, provide }) => {
  const backend = provide({ maxWorkers: 1 })

  // Limit of Node.
  if (launcher === "node") {
    it.live("are refused", () =>
      Effect.gen(function* () {
        for (const [options, configKey] of [
          [{ rlimits: { openFiles: 100 } }, "rlimits"],
          [{ nice: 5 }, "nice"]
        ] as const) {
          const error = yield* refusal(sh("true", options))
          assert.deepStrictEqual([error.reason, error.configKey], ["UnsupportedOption", configKey])
          assert.include(error.message, "only the launch agent can set it: install Python 3.8 or later")
        }
        assert.deepStrictEqual(yield* idle, { ...nothingLeft, status: "INITIALIZED" as any })
      }).pipe(backend)
    )
    return
  }

  it.live("are those of the program, soft and hard", () =>
    Effect.gen(function* () {
      const limits = {
        addressSpace: 2 * GB,
        coreSize: 0,
        cpuSeconds: 1000,
        dataSize: GB,
        fileSize: 4096,
        lockedMemory: 8192,
        openFiles: 100,
        processes: 5000,
        stackSize: 4 * 1024 * 1024
      }
      const words: Record<keyof Task.Rlimits, string> = {
        addressSpace: "Max address space",
        coreSize: "Max core file size",
        cpuSeconds: "Max cpu time",
        dataSize: "Max data size",
        fileSize: "Max file size",
        lockedMemory: "Max locked memory",
        openFiles: "Max open files",
        processes: "Max processes",
        stackSize: "Max stack size"
      }
      const cat = (limits?: Task.Rlimits) =>
        stdoutOf(
          command({ executable: "cat", args: ["/proc/self/limits"] }, limits === undefined ? {} : { rlimits: limits })
        )
      const seen = yield* cat(limits)
      for (const [name, value] of Object.entries(limits)) {
        assert.match(seen, new RegExp(`^${words[name as keyof Task.Rlimits]} +${value} +${value} `, "m"))
      }
      // one alone leaves the others as they are
      const before = yield* cat()
      const lines = (yield* cat({ openFiles: 100 })).split("\n")
      const changed = before.split("\n").filter((line, i) => line !== lines[i])
      assert.strictEqual(changed.length, 1)
      assert.match(changed[0]!, /^Max open files/)
    }).pipe(backend)
  )

  it.scopedLive("hold", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const error = yield* taskError(
        sh("exec head -c 5000 /dev/zero > file", { cwd, rlimits: { fileSize: 4096, coreSize: 0 } })
      )
      assert.deepStrictEqual([error.reason, error.signal], ["Signal", "SIGXFSZ"])
    }).pipe(backend)
  )

  it.live("that cannot be set fail the task, which never was EXECUTING", () =>
    Effect.gen(function* () {
      const follow = yield* statesOf
      const error = yield* taskError(sh("true", { rlimits: { coreSize: 0, openFiles: 2 ** 50 } }))
      assert.strictEqual(error.reason, "LaunchFailed")
      assert.match(error.message, /its rlimits\.openFiles cannot be set/)
      const changes = yield* follow(error.taskUid)
      assert.deepStrictEqual(
        changes.map(({ state }) => state),
        ["NEW", "READY", "FAILED"]
      )
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.scoped, backend)
  )

  it.live("niceness is added to this process's own", () =>
    Effect.gen(function* () {
      const nice = (options: Task.Options) => Effect.map(stdoutOf(command({ executable: "nice" }, options)), Number)
      const own = yield* nice({})
      assert.strictEqual(yield* nice({ nice: 0 }), own)
      assert.strictEqual(yield* nice({ nice: 3 }), Math.min(own + 3, 19))
      assert.strictEqual(yield* nice({ nice: 19 }), 19)
      // that of the next one is not changed
      assert.strictEqual(yield* nice({}), own)
    }).pipe(backend)
  )

  it.scopedLive("change nothing else of the program", () =>
    Effect.gen(function* () {
      const { alive, env } = yield* marked
      const options = { rlimits: { coreSize: 0 }, nice: 1, env: { ...env, X: notUtf8 } }
      const cwd = yield* directory
      // arguments, variables, input, directory, signals and descriptors
      yield* program(`${cwd}/here`, `printf '%s\\0' "$0" "$@" "$X"; cat; pwd -P`)
      const exact = command({ executable: "./here", args: ["", "a b", notUtf8], stdin: notUtf8 }, { ...options, cwd })
      const { stdoutBytes } = yield* ExecutionBackend.execute(exact)
      const bytes = [..."./here\0\0a b\0"].map((c) => c.charCodeAt(0))
      assert.deepStrictEqual(
        [...stdoutBytes],
        [...bytes, ...notUtf8, 0, ...notUtf8, 0, ...notUtf8, ...Buffer.from(`${cwd}\n`)]
      )
      const file = command({ executable: "cat", stdin: { file: "here" } }, { ...options, cwd })
      assert.include(yield* stdoutOf(file), `"$X"; cat; pwd -P`)
      const state = yield* stdoutOf(sh(`grep -E "^Sig(Blk|Ign)" /proc/self/status; ls /proc/self/fd`, options))
      const masks = [...state.matchAll(/[0-9a-f]{16}/g)].map(([mask]) => BigInt(`0x${mask}`) & ~0x1_8000_0000n)
      assert.deepStrictEqual(masks, [0n, 0n], state)
      assert.isTrue(state.endsWith("\n0\n1\n2\n3\n"), state)
      // its end, and what it left
      assert.strictEqual((yield* taskError(sh("exit 7", options))).exitCode, 7)
      assert.strictEqual((yield* taskError(sh("kill -9 $$", options))).signal, "SIGKILL")
      assert.strictEqual(yield* stdoutOf(sh("sleep 100 & echo end", options)), "end\n")
      assert.deepStrictEqual(yield* alive, [])
      const limited = { ...options, capture: { limit: 10 } }
      assert.strictEqual((yield* taskError(sh("yes", limited))).reason, "OutputLimit")
      for (const [executable, errno] of [
        ["not-there", "ENOENT"],
        [cwd, "EACCES"]
      ] as const) {
        const error = yield* taskError(command({ executable }, options))
        assert.deepStrictEqual(
          [error.reason, error.details["errno"], error.details["path"]],
          ["LaunchFailed", errno, executable]
        )
      }
      const large = yield* taskError(command({ executable: "true", args: ["x".repeat(1 << 18)] }, options))
      assert.deepStrictEqual([large.reason, large.details["errno"]], ["LaunchFailed", "E2BIG"])
    }).pipe(backend)
  )

  it.scopedLive("do not keep a task from being stopped, however soon", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, take }] = [yield* marked, yield* inbox]
      const options = { rlimits: { coreSize: 0 }, nice: 1, env }
      const late = yield* ExecutionBackend.submit(sh(`echo ready > ${path}; sleep 100`, options))
      assert.strictEqual(yield* take, "ready")
      yield* Fiber.interrupt(late)
      assert.deepStrictEqual(yield* alive, [])
      for (let i = 0; i < 20; i++) {
        const fiber = yield* ExecutionBackend.submit(sh("sleep 100 & sleep 100", options))
        for (let step = 0; step < i; step++) yield* Effect.yieldNow()
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* alive, [], `after ${i} steps`)
      }
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(backend)
  )
})

overBoth("usage", ({ launcher, provide }) => {
  // Limit of Node, which does not report it.
  it.live(
    launcher === "agent" ? "is reported, with that of the children that were waited for" : "is not reported",
    () =>
      Effect.gen(function* () {
        const spin = "i=0; while [ $i -lt 500000 ]; do i=$((i + 1)); done"
        const output = yield* ExecutionBackend.execute(sh(`sh -c '${spin}'`))
        if (launcher === "node") return assert.isUndefined(output.usage)
        const { systemMillis, userMillis } = output.usage!
        assert.isAbove(userMillis, 20)
        // one process at a time: CPU time is within the time from start to end, as exact as the system's clock ticks
        assert.isAtMost(userMillis + systemMillis, output.wallMillis + 20)
        // tail holds the whole of its last line
        const line = sh(`head -c ${100 * 1024 * 1024} /dev/zero | tail -n 1 > /dev/null`)
        const { maxRssBytes } = (yield* ExecutionBackend.execute(line)).usage!
        assert.isAbove(maxRssBytes, 100 * 1024 * 1024)
        assert.isBelow(maxRssBytes, 400 * 1024 * 1024)
        // nothing of one is counted for another
        const little = (yield* ExecutionBackend.execute(sh("true"))).usage!
        assert.isBelow(little.userMillis, userMillis)
        assert.isBelow(little.maxRssBytes, 50 * 1024 * 1024)
      }).pipe(provide())
  )

  it.live("comes beside the time from start to end", () =>
    Effect.gen(function* () {
      const { wallMillis } = yield* ExecutionBackend.execute(sh("sleep 0.3"))
      assert.isAtLeast(wallMillis, 299)
      // milliseconds, not seconds and not nanoseconds
      assert.isBelow(wallMillis, 300_000)
    }).pipe(provide())
  )
})
