/** What an error says of the program that it is about, whatever its end was. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Redacted, Schema, TestClock } from "effect"
import type { TaskFiber } from "effect-rhapsody"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import { directory, failing, inbox, overBoth, quote, sh, taskError } from "./support.js"

// spilled output of programs that failed is kept: here until the tests have ended
const temporary = mkdtempSync(join(tmpdir(), "effect-rhapsody-"))
process.env["TMPDIR"] = temporary
afterAll(() => rmSync(temporary, { recursive: true, force: true }))

class Diverged extends Schema.TaggedError<Diverged>()("Diverged", { seed: Schema.Int, said: Schema.String }) {}

const speaks = "echo to the user; echo to the log >&2"
const shell = (script: string) => ["sh", "-c", script]

/** The definition's own failure is asked about every end, and says what it got. */
const Simulate = Task.executable("Simulate", {
  payload: { seed: Schema.Int, script: Schema.String },
  error: Diverged,
  command: ({ script }) => ({ executable: "sh", args: ["-c", script] }),
  failure: ({ exitCode, stdout }, { seed }) =>
    exitCode === 3 ? new Diverged({ seed, said: stdout.slice(0, 20) }) : undefined
})
const simulate = (script: string, capture: Task.Capture, seed = 7) => Simulate.make({ seed, script }, { capture })

const errorOf = (fiber: TaskFiber.TaskFiber<unknown, unknown>) =>
  Effect.map(Fiber.await(fiber), (exit) => {
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    assert(error instanceof TaskError, String(error))
    return error
  })

overBoth("the error of a program", ({ launcher, provide }) => {
  const backend = provide()

  it.scopedLive("that exits has its command, its directory, its time and the ends of its output", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const error = yield* taskError(sh(`${speaks}; exit 1`, { cwd }))
      const { wallMillis, ...details } = error.details
      assert.deepStrictEqual(details, {
        command: shell(`${speaks}; exit 1`),
        cwd,
        stdout: "to the user",
        stderr: "to the log"
      })
      assert.isNumber(wallMillis)
      assert.match(
        error.message,
        new RegExp(
          [
            String.raw`^task Sh \(task\.000001\) exited with code 1 after [\w. ]+`,
            `command: sh -c '${speaks}; exit 1'`,
            `directory: ${cwd}`,
            "its stdout ends with:\nto the user",
            "its stderr ends with:\nto the log$"
          ].join("\n")
        )
      )
      assert.strictEqual((yield* taskError(sh("exit 1"))).details["cwd"], process.cwd())
    }).pipe(backend)
  )

  it.live("that a signal killed has them, too", () =>
    Effect.gen(function* () {
      const { details, reason } = yield* taskError(sh(`ulimit -c 0; ${speaks}; kill -SEGV $$`))
      assert.strictEqual(reason, "Signal")
      assert.deepInclude(details, { stdout: "to the user", stderr: "to the log" })
    }).pipe(backend)
  )

  // By the clock of the test: the program has said that it speaks before its time is over.
  it.scoped("that outlived its timeout, or was cancelled, has what it printed until then", () =>
    Effect.gen(function* () {
      const { path, take } = yield* inbox
      const cwd = yield* directory
      const stop = "trap 'echo stopped; exit 0' TERM"
      const script = `${stop}; ${speaks}; echo ready > ${quote(path)}; while :; do sleep 0.01; done`
      const captures: ReadonlyArray<Task.Capture> = [
        {},
        { mergeStderr: true },
        { stdout: "out", stderr: "err" },
        { overflow: "spill" },
        { onChunk: () => Effect.void }
      ]
      for (const capture of launcher === "agent" ? captures : captures.filter(({ mergeStderr }) => !mergeStderr)) {
        const late = yield* ExecutionBackend.submit(sh(script, { cwd, capture, timeout: "1 hour" }))
        yield* take
        yield* TestClock.adjust("2 hours")
        yield* Fiber.await(late) // the other one writes to the same files
        const canceled = yield* ExecutionBackend.submit(sh(script, { cwd, capture }))
        yield* take
        yield* ExecutionBackend.cancel(canceled)
        for (const [fiber, reason] of [[late, "Timeout"] as const, [canceled, "Canceled"] as const]) {
          const error = yield* errorOf(fiber)
          const { cwd: where, stderr = "", stdout = "", wallMillis } = error.details
          const output = `${stdout}\n${stderr}`
          const what = `${reason} ${JSON.stringify(capture)}: ${error.message}`
          assert.deepStrictEqual([error.reason, where, typeof wallMillis], [reason, cwd, "number"], what)
          for (const text of ["to the user", "to the log", "stopped"]) assert.include(output, text, what)
        }
      }
    }).pipe(backend)
  )

  it.live("that printed too much has the end of what it printed", () =>
    Effect.gen(function* () {
      const script = "echo why >&2; seq 1 100000"
      const streamed = Effect.void
      for (const capture of [{ limit: 29 }, { limit: 29, onChunk: () => streamed }]) {
        const { details, reason } = yield* taskError(simulate(script, capture))
        assert.strictEqual(reason, "OutputLimit")
        assert.deepInclude(details, { stream: "stdout", limit: 29 })
        // as far as it came before it was killed: more than was kept
        const lines = String(details["stdout"]).split("\n").map(Number)
        assert.isAbove(lines[lines.length - 2]!, 100)
      }
    }).pipe(backend)
  )

  it.live("is bounded: 20 lines and 4 KiB of output, 4 KiB of its command", () =>
    Effect.gen(function* () {
      const Long = Task.executable("Long", {
        payload: { count: Schema.Int, length: Schema.Int },
        command: ({ count, length }) => ({
          executable: "sh",
          args: ["-c", "yes '' | head -c 99; head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1"].concat(
            Array.from({ length: count }, () => "y".repeat(length))
          )
        })
      })
      for (const [count, length] of [
        [2000, 10],
        [1, 100_000],
        [3, 0]
      ] as const) {
        const { details, message } = yield* taskError(Long.make({ count, length }))
        const command = details["command"] as ReadonlyArray<string>
        assert.isBelow(JSON.stringify(details).length, 14_000)
        assert.isBelow(message.length, 6_000)
        assert.strictEqual(details["stderr"], "x".repeat(4096))
        if (length === 10) assert.match(command.at(-1)!, /^\.\.\. and \d+ more$/)
        if (count === 1) assert.match(command.at(-1)!, /^y{3000,4096}\.\.\.$/)
        if (length === 0) assert.deepStrictEqual(command.slice(3), ["", "", ""])
      }
    }).pipe(backend)
  )

  it.live("never shows a Redacted variable, whole or in parts, wherever it was printed or passed", () =>
    Effect.gen(function* () {
      const secret = "hunter2-\u00e9-hunter2"
      const env = { SECRET: Redacted.make(secret), PART: Redacted.make("hunter2"), EMPTY: Redacted.make("") }
      const fill = "head -c 4090 /dev/zero | tr '\\0' x"
      const scripts = [
        'echo "$SECRET"; echo "$SECRET" >&2; exit 1',
        `printf '%s' "$SECRET"; ${fill}; exit 1`, // what is kept begins within it
        `printf '%s' "$SECRET" | head -c 12; exit 1`,
        `echo ${secret} > /dev/null; kill -9 $$`,
        'printf "[%s]" "$SECRET"' // a result that does not match its schema
      ]
      for (const script of scripts) {
        const Leak = Task.executable("Leak", {
          success: Schema.NumberFromString,
          command: () => ({ executable: "sh", args: ["-c", script, "sh", secret, `--token=${secret}`] })
        })
        const error = yield* taskError(Leak.make(undefined, { env }))
        for (const text of [error.message, String(error), JSON.stringify(error), JSON.stringify(error.details)]) {
          assert.notInclude(text, "hunter2")
        }
        assert.include(error.details["command"] as ReadonlyArray<string>, "--token=<redacted>")
      }
    }).pipe(backend)
  )

  it.live("crosses a wire with all of that", () =>
    Effect.gen(function* () {
      const error = yield* taskError(sh(`${speaks}; printf '\\377' >&2; exit 1`))
      const wire = JSON.stringify(yield* Schema.encode(TaskError)(error))
      const back = yield* Schema.decode(Schema.parseJson(TaskError))(wire)
      assert.deepStrictEqual(back.details, error.details)
      assert.strictEqual(back.message, error.message)
    }).pipe(backend)
  )
})

overBoth("how a program ended counts more than what it printed", ({ provide }) => {
  const backend = provide()
  const much = "seq 1 1000; echo why >&2; exit"

  const ways = [
    ["spilled", { limit: 100, overflow: "spill" }],
    ["truncated", { limit: 100, overflow: "truncate" }],
    ["merged and truncated", { limit: 100, overflow: "truncate", mergeStderr: true }]
  ] as const

  it.live("a bad exit is Exit, and failure is asked with the payload, though its output was not kept whole", () =>
    Effect.gen(function* () {
      for (const [way, capture] of ways) {
        const own = yield* failing(simulate(`${much} 3`, capture))
        assert(own instanceof Diverged, `${way}: ${own}`)
        assert.strictEqual(own.seed, 7, way)
        const error = yield* taskError(simulate(`${much} 4`, capture))
        assert.deepStrictEqual([error.reason, error.exitCode], ["Exit", 4], way)
        const output = `${error.details["stdout"]}\n${error.details["stderr"]}`
        assert.include(output, "1000\nwhy", way)
        const limit = yield* taskError(simulate(`${much} 0`, capture))
        assert.deepStrictEqual([limit.reason, limit.details["limit"]], ["OutputLimit", 100], way)
      }
    }).pipe(backend)
  )

  it.scopedLive("so it is where its result would be read back from a file", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      writeFileSync(join(cwd, "out"), "")
      const task = (script: string) =>
        Simulate.make({ seed: 8, script }, { cwd, capture: { limit: 100, stdout: "out" } })
      assert.deepInclude(yield* failing(task(`${much} 3`)), { _tag: "Diverged", seed: 8 })
      const error = yield* taskError(task(`${much} 4`))
      assert.deepStrictEqual([error.reason, error.exitCode], ["Exit", 4])
      assert.include(String(error.details["stdout"]), "999\n1000")
      const limit = yield* taskError(task(`${much} 0`))
      assert.deepStrictEqual([limit.reason, limit.details["stdoutPath"]], ["OutputLimit", join(cwd, "out")])
    }).pipe(backend)
  )

  it.live("the text of merged streams is in the error", () =>
    Effect.gen(function* () {
      const { details } = yield* taskError(sh(`${speaks}; exit 1`, { capture: { mergeStderr: true } }))
      assert.strictEqual(details["stdout"], "to the user\nto the log")
    }).pipe(backend)
  )

  it.live("a failure that throws is a Defect with the output", () =>
    Effect.gen(function* () {
      const Throws = Task.executable("Throws", {
        command: () => ({ executable: "sh", args: ["-c", `${speaks}; exit 1`] }),
        failure: () => {
          throw new Error("unexpected")
        }
      })
      const { details, message, reason } = yield* taskError(Throws.make())
      assert.strictEqual(reason, "Defect")
      assert.include(message, "failure threw Error: unexpected")
      assert.deepInclude(details, { stdout: "to the user", stderr: "to the log" })
    }).pipe(backend)
  )
})
