/** Output that is reported while the program runs. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Option, Queue, Schedule, Schema } from "effect"
import type { TaskFiber } from "effect-rhapsody"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { idle, nothingLeft } from "../support.js"
import { directory, eventually, gate, inbox, marked, overBoth, refusal, sh, taskError, text } from "./support.js"

const MB = 1024 * 1024
const Text = Task.executable("Text", {
  payload: { script: Schema.String },
  command: ({ script }) => ({ executable: "sh", args: ["-c", script] })
})

/** Collects what is reported, by stream. */
const collector = () => {
  const seen: Record<string, Array<Uint8Array>> = { stdout: [], stderr: [] }
  return {
    onChunk: ({ bytes, stream }: Task.OutputChunk) => Effect.sync(() => void seen[stream]!.push(bytes)),
    all: (stream: "stdout" | "stderr") => text(Buffer.concat(seen[stream]!))
  }
}

overBoth("output is reported while the program runs", ({ launcher, provide }) => {
  const backend = provide({ maxWorkers: 2 })

  it.scopedLive("as it comes, and the program can wait for an answer", () =>
    Effect.gen(function* () {
      const door = yield* gate
      const reported = yield* Queue.unbounded<string>()
      const onChunk = ({ bytes, stream }: Task.OutputChunk) => Queue.offer(reported, `${stream} ${text(bytes)}`)
      const script = `echo one; read x < ${door.path}; echo two >&2; read x < ${door.path}; printf three`
      const fiber = yield* ExecutionBackend.submit(sh(script, { capture: { onChunk } }))
      assert.strictEqual(yield* Queue.take(reported), "stdout one\n")
      yield* door.open()
      assert.strictEqual(yield* Queue.take(reported), "stderr two\n")
      yield* door.open()
      const output = yield* Fiber.join(fiber)
      assert.strictEqual(yield* Queue.take(reported), "stdout three")
      // it is in the result as well
      assert.deepStrictEqual([output.stdout, output.stderr], ["one\nthree", "two\n"])
    }).pipe(backend)
  )

  it.live("whole and in order, before its end is reported", () =>
    Effect.gen(function* () {
      const { all, onChunk } = collector()
      const script = "seq 1 500000; seq 1 100000 >&2"
      const output = yield* ExecutionBackend.execute(sh(script, { capture: { onChunk } }))
      assert.strictEqual(all("stdout").length, output.stdoutBytes.length)
      assert.isTrue(all("stdout") === output.stdout && output.stdout.endsWith("\n500000\n"))
      assert.isTrue(all("stderr") === output.stderr && output.stderr.endsWith("\n100000\n"))
      assert.strictEqual(
        yield* ExecutionBackend.execute(Text.make({ script: "echo a" }, { capture: { onChunk } })),
        "a\n"
      )
    }).pipe(backend)
  )

  it.scopedLive("where it goes to memory: what goes to a file does not", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const { all, onChunk } = collector()
      const options = { cwd, capture: { stdout: "out", onChunk } }
      const output = yield* ExecutionBackend.execute(sh("echo out; echo err >&2", options))
      assert.deepStrictEqual([all("stdout"), all("stderr")], ["", "err\n"])
      assert.deepStrictEqual([output.stdout, output.stderr], ["", "err\n"])
      assert.strictEqual(fs.readFileSync(join(cwd, "out"), "utf8"), "out\n")
      assert.strictEqual(yield* ExecutionBackend.execute(Text.make({ script: "echo a" }, options)), "a\n")
      assert.strictEqual(all("stdout"), "")
    }).pipe(backend)
  )

  it.live("where both streams are one, in the order of writing, but not over Node", () =>
    Effect.gen(function* () {
      const { all, onChunk } = collector()
      const task = sh("echo 1; echo 2 >&2; echo 3", { capture: { mergeStderr: true, onChunk } })
      if (launcher === "agent") {
        assert.strictEqual((yield* ExecutionBackend.execute(task)).stdout, "1\n2\n3\n")
        assert.deepStrictEqual([all("stdout"), all("stderr")], ["1\n2\n3\n", ""])
      } else {
        // Limit of Node, which has a file for what is merged.
        const error = yield* refusal(task)
        assert.deepStrictEqual([error.reason, error.configKey], ["UnsupportedOption", "capture.onChunk"])
      }
    }).pipe(backend)
  )

  it.live("of each attempt, and of one that fails", () =>
    Effect.gen(function* () {
      const { all, onChunk } = collector()
      const script = `echo $RHAPSODY_ATTEMPT; echo why >&2; exit $RHAPSODY_ATTEMPT`
      const options = { capture: { onChunk }, retry: { times: 2, schedule: Schedule.spaced("1 millis") } }
      const error = yield* taskError(sh(script, options))
      assert.deepStrictEqual([all("stdout"), all("stderr")], ["1\n2\n3\n", "why\nwhy\nwhy\n"])
      assert.deepStrictEqual([error.exitCode, error.details["stderr"]], [3, "why"])
    }).pipe(backend)
  )
})

overBoth("who takes the output slowly", ({ provide }) => {
  const backend = provide({ maxWorkers: 2, forceKillAfter: "1 minute" })
  /** Holds the first piece until it is opened. */
  const slow = Effect.map(Deferred.make<void>(), (door) => {
    let size = 0
    return {
      onChunk: ({ bytes }: Task.OutputChunk) =>
        Effect.map(Deferred.await(door), () => {
          size += bytes.length
        }),
      open: Deferred.succeed(door, undefined),
      size: () => size
    }
  })

  it.scopedLive("holds the program up, and loses nothing", () =>
    Effect.gen(function* () {
      const [{ path, take, rest }, cwd, { onChunk, open, size }] = [yield* inbox, yield* directory, yield* slow]
      const piece = "head -c 1048576 /dev/zero"
      const script = `for i in $(seq 1 40); do ${piece}; echo $i > progress; done; echo end > ${path}`
      const fiber = yield* ExecutionBackend.submit(sh(script, { cwd, capture: { onChunk } }))
      yield* eventually(
        Effect.sync(() => fs.existsSync(join(cwd, "progress"))),
        (_) => _
      )
      // time for more than that
      yield* Effect.replicateEffect(ExecutionBackend.execute(sh("true")), 20)
      assert.isBelow(Number(fs.readFileSync(join(cwd, "progress"), "utf8")), 20)
      assert.deepStrictEqual(yield* rest, [])
      yield* open
      assert.strictEqual(yield* take, "end")
      const { stdoutBytes } = yield* Fiber.join(fiber)
      assert.deepStrictEqual([size(), stdoutBytes.length], [40 * MB, 40 * MB])
    }).pipe(backend)
  )

  // a few bytes, and so many that some wait in the pipe
  for (const amount of [10, MB + 100_000]) {
    it.scopedLive(`for longer than pipes may stay open, still gets all of ${amount} bytes`, () =>
      Effect.gen(function* () {
        const [{ path, take }, { onChunk, open, size }] = [yield* inbox, yield* slow]
        const script = `head -c ${amount} /dev/zero; echo end > ${path}`
        const fiber = yield* ExecutionBackend.submit(sh(script, { capture: { onChunk } }))
        assert.strictEqual(yield* take, "end")
        yield* ExecutionBackend.execute(sh("sleep 1.5"))
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
        yield* open
        const { stdoutBytes } = yield* Fiber.join(fiber)
        assert.deepStrictEqual([size(), stdoutBytes.length], [amount, amount])
      }).pipe(backend)
    )
  }

  it.scopedLive("or never, does not keep the task from being cancelled", () =>
    Effect.gen(function* () {
      const { alive, env } = yield* marked
      const called = yield* Queue.unbounded<void>()
      const onChunk = () => Effect.uninterruptible(Effect.zipRight(Queue.offer(called, undefined), Effect.never))
      for (const end of [
        (fiber: TaskFiber.TaskFiber<Task.Output, any>) => Fiber.interrupt(fiber),
        (fiber: TaskFiber.TaskFiber<Task.Output, any>) => ExecutionBackend.cancel(fiber)
      ]) {
        const fiber = yield* ExecutionBackend.submit(sh("yes", { env, capture: { onChunk } }))
        yield* Queue.take(called)
        // time enough to print until it is held up
        yield* Effect.replicateEffect(ExecutionBackend.execute(sh("true")), 20)
        yield* end(fiber)
        assert.deepStrictEqual(yield* alive, [])
        assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
      }
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(backend)
  )

  it.live("or never, does not keep the task from its timeout", () =>
    Effect.gen(function* () {
      const onChunk = () => Effect.never
      const error = yield* taskError(sh("yes", { timeout: "300 millis", capture: { onChunk } }))
      assert.strictEqual(error.reason, "Timeout")
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(backend)
  )
})

overBoth("what is reported", ({ provide }) => {
  const backend = provide({ maxWorkers: 1, forceKillAfter: "1 minute" })

  it.scopedLive("beyond the limit ends the program, at once and with its group", () =>
    Effect.gen(function* () {
      const { alive, env } = yield* marked
      for (const [redirect, stream] of [
        ["", "stdout"],
        [">&2", "stderr"]
      ] as const) {
        const { all, onChunk } = collector()
        const script = `trap '' TERM; sleep 100 & yes ${redirect}`
        const error = yield* taskError(sh(script, { env, capture: { limit: 1000, onChunk } }))
        assert.strictEqual(error.reason, "OutputLimit")
        assert.deepInclude(error.details, { stream, limit: 1000 })
        assert.deepStrictEqual(yield* alive, [])
        assert.isAtMost(all(stream).length, 1000)
      }
    }).pipe(backend)
  )

  it.live("goes on beyond the limit where the rest is only cut off", () =>
    Effect.gen(function* () {
      let size = 0
      const onChunk = ({ bytes }: Task.OutputChunk) =>
        Effect.sync(() => {
          size += bytes.length
        })
      const capture = { limit: 7, overflow: "truncate", onChunk } as const
      const output = yield* ExecutionBackend.execute(sh("seq 1 100000", { capture }))
      assert.strictEqual(size, 588_895)
      assert.strictEqual(output.stdout, "1\n2\n3\n4")
      assert.deepEqual(output.dropped, { stdout: 588_888 })
      assert.strictEqual((yield* taskError(Text.make({ script: "seq 1 5" }, { capture }))).reason, "OutputLimit")
    }).pipe(backend)
  )

  for (const [how, onChunk] of [
    ["dies", () => Effect.die(new Error("cannot parse"))],
    [
      "throws",
      () => {
        throw new Error("cannot parse")
      }
    ]
  ] as const) {
    it.scopedLive(`to one who ${how} ends the task with the defect, and its program`, () =>
      Effect.gen(function* () {
        const { alive, env } = yield* marked
        const error = yield* taskError(sh("echo out; sleep 100", { env, capture: { onChunk } }))
        assert.strictEqual(error.reason, "Defect")
        assert.include(error.message, "cannot parse")
        assert.deepStrictEqual(yield* alive, [])
        assert.strictEqual((yield* ExecutionBackend.execute(sh("echo next"))).stdout, "next\n")
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(backend)
    )
  }
})
