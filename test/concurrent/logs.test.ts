/** Output of any shape to memory and to log files: byte by byte, added to what is there, read back, and its end in errors. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Schedule, Schema } from "effect"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { command, directory, inbox, overBoth, refusal, sh, taskError } from "./support.js"

const Text = Task.executable("Text", {
  payload: { script: Schema.String },
  success: Schema.String,
  command: ({ script }) => ({ executable: "sh", args: ["-c", script] })
})

overBoth("a program that prints 300,000 single bytes", ({ provide }) => {
  it.scopedLive("is one whole output, and the tasks beside it go on", () =>
    Effect.gen(function* () {
      const { path, take } = yield* inbox
      const beside = yield* ExecutionBackend.submit(sh(`echo > ${path}; sleep 1; echo beside`))
      yield* take
      const bytes = "import os\nfor i in range(300000): os.write(1 + i % 2, b'x')"
      const output = yield* ExecutionBackend.execute(command({ executable: "python3", args: ["-c", bytes] }))
      assert.deepStrictEqual([output.stdoutBytes.length, output.stderrBytes.length], [150_000, 150_000])
      assert.strictEqual((yield* Fiber.join(beside)).stdout, "beside\n")
    }).pipe(provide({ maxWorkers: 2 }))
  )
})

overBoth("log files", ({ provide }) => {
  const backend = provide()
  const retry = { times: 2, schedule: Schedule.recurs(2) }
  const thrice = "echo $RHAPSODY_ATTEMPT; echo error $RHAPSODY_ATTEMPT >&2; test $RHAPSODY_ATTEMPT = 3"

  it.scopedLive("of each attempt have names of their own where these say so", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const capture = { stdout: "{uid}/{attempt}.out", stderr: "{uid}/{attempt}.{other}", makeDirectories: true }
      const { stdoutPath } = yield* ExecutionBackend.execute(sh(thrice, { uid: "name", cwd, retry, capture }))
      assert.strictEqual(stdoutPath, join(cwd, "name/3.out"))
      for (const attempt of [1, 2, 3]) {
        assert.strictEqual(fs.readFileSync(join(cwd, `name/${attempt}.out`), "utf8"), `${attempt}\n`)
        assert.strictEqual(fs.readFileSync(join(cwd, `name/${attempt}.{other}`), "utf8"), `error ${attempt}\n`)
      }
      // directories are made where that is asked for alone
      const missing = yield* taskError(sh("true", { cwd, capture: { stdout: "none/out" } }))
      assert.deepStrictEqual([missing.reason, missing.details["errno"]], ["LaunchFailed", "ENOENT"])
    }).pipe(backend)
  )

  it.scopedLive("are added to by option, and a result is decoded from what is new", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      fs.writeFileSync(join(cwd, "log"), "before\n")
      const append = { stdout: "log", append: true }
      yield* ExecutionBackend.execute(sh(thrice, { cwd, retry, capture: append }))
      assert.strictEqual(fs.readFileSync(join(cwd, "log"), "utf8"), "before\n1\n2\n3\n")
      const own = Text.make({ script: "printf new" }, { cwd, capture: { ...append, limit: 3 } })
      assert.strictEqual(yield* ExecutionBackend.execute(own), "new")
      const useless = yield* refusal(sh("true", { capture: { append: true } }))
      assert.deepStrictEqual([useless.reason, useless.configKey], ["InvalidOption", "capture.append"])
    }).pipe(backend)
  )

  it.scopedLive("of many megabytes are read back whole", () =>
    Effect.gen(function* () {
      const script = "head -c 48000000 /dev/zero | tr '\\0' y"
      const options = { cwd: yield* directory, capture: { stdout: "out" } }
      const text = yield* ExecutionBackend.execute(Text.make({ script }, options))
      assert.isTrue(text === "y".repeat(48_000_000))
    }).pipe(backend)
  )

  it.live("need not be there for an error to show how truncated output ended", () =>
    Effect.gen(function* () {
      for (const merged of [false, true]) {
        const { details } = yield* taskError(
          sh("seq 1 5000; exit 3", { capture: { limit: 10, overflow: "truncate", mergeStderr: merged } })
        )
        assert.isTrue(String(details["stdout"]).endsWith("4999\n5000"), String(details["stdout"]))
      }
    }).pipe(backend)
  )
})
