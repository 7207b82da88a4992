/** Output that goes to files, and standard input. */
import { execFileSync, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { command, directory, inbox, overBoth, sh, taskError } from "./support.js"

const Json = Task.executable("Json", {
  payload: { script: Schema.String },
  success: Schema.parseJson(Schema.Struct({ n: Schema.Number })),
  command: ({ script }) => ({ executable: "sh", args: ["-c", script] })
})

overBoth("output to files", ({ provide }) => {
  const backend = provide()

  it.scopedLive("is in the files, relative to the working directory, in place of what they held", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      fs.writeFileSync(join(cwd, "out"), "something that was longer before")
      const capture = { stdout: "out", stderr: join(cwd, "err") }
      const output = yield* ExecutionBackend.execute(sh("echo out; echo err >&2", { cwd, capture }))
      assert.strictEqual(fs.readFileSync(join(cwd, "out"), "utf8"), "out\n")
      assert.strictEqual(fs.readFileSync(join(cwd, "err"), "utf8"), "err\n")
      assert.deepStrictEqual([output.stdoutPath, output.stderrPath], [join(cwd, "out"), join(cwd, "err")])
      assert.deepStrictEqual([output.stdoutBytes, output.stderrBytes], [new Uint8Array(), new Uint8Array()])
    }).pipe(backend)
  )

  it.scopedLive("may be that of one stream alone", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const script = "echo out; echo err >&2"
      const out = yield* ExecutionBackend.execute(sh(script, { cwd, capture: { stdout: "a" } }))
      assert.deepStrictEqual(
        [out.stdout, out.stderr, out.stdoutPath, out.stderrPath],
        ["", "err\n", join(cwd, "a"), undefined]
      )
      const err = yield* ExecutionBackend.execute(sh(script, { cwd, capture: { stderr: "b" } }))
      assert.deepStrictEqual(
        [err.stdout, err.stderr, err.stdoutPath, err.stderrPath],
        ["out\n", "", undefined, join(cwd, "b")]
      )
      assert.deepStrictEqual(
        ["a", "b"].map((name) => fs.readFileSync(join(cwd, name), "utf8")),
        ["out\n", "err\n"]
      )
    }).pipe(backend)
  )

  it.scopedLive("is read back where the result is decoded from it, even when the program removed the file", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const options = { cwd, capture: { stdout: "out" } }
      assert.deepStrictEqual(yield* ExecutionBackend.execute(Json.make({ script: `echo '{"n":1}'` }, options)), {
        n: 1
      })
      assert.strictEqual(fs.readFileSync(join(cwd, "out"), "utf8"), `{"n":1}\n`)
      const script = `echo '{"n":2}'; rm out`
      assert.deepStrictEqual(yield* ExecutionBackend.execute(Json.make({ script }, options)), { n: 2 })
    }).pipe(backend)
  )

  it.scopedLive("has a limit only where the result is decoded from it", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const script = "head -c 1000 /dev/zero; head -c 1000 /dev/zero >&2"
      const capture = { stdout: "out", stderr: "err", limit: 999 }
      const output = yield* ExecutionBackend.execute(sh(script, { cwd, capture }))
      assert.deepStrictEqual([output.stdout, output.stderr], ["", ""])
      assert.strictEqual(fs.statSync(join(cwd, "out")).size, 1000)
      const error = yield* taskError(Json.make({ script }, { cwd, capture }))
      assert.strictEqual(error.reason, "OutputLimit")
      assert.deepInclude(error.details, { stream: "stdout", limit: 999 })
      assert.strictEqual(fs.statSync(join(cwd, "err")).size, 1000)
    }).pipe(backend)
  )

  it.scopedLive("is named in the error of a task that failed", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const capture = { stdout: "out", stderr: "err" }
      const error = yield* taskError(sh("echo why >&2; exit 3", { cwd, capture }))
      assert.deepStrictEqual([error.reason, error.exitCode], ["Exit", 3])
      assert.deepInclude(error.details, { stdoutPath: join(cwd, "out"), stderrPath: join(cwd, "err") })
      assert.include(error.message, `its stderr is in ${join(cwd, "err")}`)
      const killed = yield* taskError(sh("kill -9 $$", { cwd, capture: { stdout: "out", merged: true } }))
      assert.include(killed.message, `its stderr is in ${join(cwd, "out")}`)
    }).pipe(backend)
  )

  it.scopedLive("to a FIFO that nobody reads fails, and blocks nobody here", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      execFileSync("mkfifo", [join(cwd, "fifo")])
      // should this process ever be blocked, this saves the test for its failure
      const savior = `sleep 10; touch saved; : < fifo`
      yield* Effect.acquireRelease(
        Effect.sync(() => spawn("sh", ["-c", savior], { cwd, detached: true, stdio: "ignore" })),
        (child) => Effect.sync(() => process.kill(-child.pid!, "SIGKILL"))
      )
      const error = yield* taskError(sh("echo to nobody", { cwd, capture: { stdout: "fifo" } }))
      assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "ENXIO"])
      assert.deepStrictEqual(fs.readdirSync(cwd), ["fifo"])
    }).pipe(backend)
  )

  it.scopedLive("to a FIFO reaches who reads it", () =>
    Effect.gen(function* () {
      const { path, takeN } = yield* inbox
      yield* ExecutionBackend.execute(sh("echo to; echo you", { capture: { stdout: path } }))
      assert.deepStrictEqual(yield* takeN(2), ["to", "you"])
    }).pipe(backend)
  )
})

overBoth("standard input", ({ provide }) => {
  const backend = provide()

  const run = (script: string, stdin?: Task.Text) =>
    Effect.map(
      ExecutionBackend.execute(command({ executable: "sh", args: ["-c", script], stdin })),
      (output) => output.stdoutBytes
    )

  it.live("is at its end at once where none is given, and where it is empty", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* run("cat")).length, 0)
      assert.strictEqual((yield* run("cat", "")).length, 0)
      assert.strictEqual((yield* run("cat", new Uint8Array())).length, 0)
    }).pipe(backend)
  )

  it.live("is text, or any bytes, of any length", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(Buffer.from(yield* run("cat", "ü𝄞\n\0")).toString(), "ü𝄞\n\0")
      const large = randomBytes(5 * 1024 * 1024)
      assert.strictEqual(Buffer.compare(yield* run("cat", large), large), 0)
    }).pipe(backend)
  )

  it.live("may stay unread, or be read in part", () =>
    Effect.gen(function* () {
      const large = new Uint8Array(5 * 1024 * 1024).fill(0x61)
      assert.strictEqual(Buffer.from(yield* run("echo done", large)).toString(), "done\n")
      assert.strictEqual(Buffer.from(yield* run("exec <&-; sleep 0.05; echo done", large)).toString(), "done\n")
      assert.strictEqual(Buffer.from(yield* run("head -c 3; echo", large)).toString(), "aaa\n")
      const error = yield* taskError(command({ executable: "false", stdin: large }))
      assert.deepStrictEqual([error.reason, error.exitCode], ["Exit", 1])
      const missing = yield* taskError(command({ executable: "not-there", stdin: large }))
      assert.strictEqual(missing.reason, "LaunchFailed")
    }).pipe(backend)
  )
})
