/** Output that goes to files, and standard input. */
import { execFileSync, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Schedule, Schema } from "effect"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import { statesOf } from "../support.js"
import { command, directory, inbox, marked, overBoth, sh, taskError } from "./support.js"

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
      const killed = yield* taskError(sh("kill -9 $$", { cwd, capture: { stdout: "out", mergeStderr: true } }))
      assert.include(killed.message, `its stderr is in ${join(cwd, "out")}`)
    }).pipe(backend)
  )

  it.scopedLive("to a FIFO that no process reads fails, and blocks no other task", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      execFileSync("mkfifo", [join(cwd, "fifo")])
      // should this process ever be blocked, this saves the test for its failure
      const savior = `sleep 10; touch saved; : < fifo`
      yield* Effect.acquireRelease(
        Effect.sync(() => spawn("sh", ["-c", savior], { cwd, detached: true, stdio: "ignore" })),
        (child) => Effect.sync(() => process.kill(-child.pid!, "SIGKILL"))
      )
      const error = yield* taskError(sh("echo to no reader", { cwd, capture: { stdout: "fifo" } }))
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

overBoth("a file as standard input", ({ launcher, provide }) => {
  const backend = provide({ maxWorkers: 2 })
  const cat = (file: string, options?: Task.Options) => command({ executable: "cat", stdin: { file } }, options)

  it.scopedLive("is read from its beginning, relative to the working directory", () =>
    Effect.gen(function* () {
      const [cwd, other] = [yield* directory, yield* directory]
      const content = randomBytes(3 * 1024 * 1024)
      fs.writeFileSync(join(cwd, "in"), content)
      const output = yield* ExecutionBackend.execute(cat("in", { cwd }))
      assert.strictEqual(Buffer.compare(output.stdoutBytes, content), 0)
      const path = join(other, "ü $x")
      fs.writeFileSync(path, "there")
      assert.strictEqual((yield* ExecutionBackend.execute(cat(path, { cwd }))).stdout, "there")
      // a file, and no pipe: the program may seek in it, and share it
      const seeks = command({ executable: "sh", args: ["-c", "tail -c 3; tail -c 3; cat"], stdin: { file: path } })
      assert.strictEqual((yield* ExecutionBackend.execute(seeks)).stdout, "ere")
      assert.strictEqual((yield* ExecutionBackend.execute(cat("/dev/null"))).stdout, "")
    }).pipe(backend)
  )

  it.scopedLive("that cannot be opened fails the task, which never was EXECUTING", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      fs.writeFileSync(join(cwd, "out"), "before")
      const follow = yield* statesOf
      const error = yield* taskError(cat("not/there", { cwd, capture: { stdout: "out" } }))
      assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "ENOENT"])
      assert.strictEqual(error.details["path"], join(cwd, "not/there"))
      assert.match(error.message, /its input file .*\/not\/there cannot be opened/)
      const changes = yield* follow(error.taskUid)
      assert.deepStrictEqual(
        changes.map(({ state }) => state),
        ["NEW", "READY", "FAILED"]
      )
      // what it would have overwritten is as it was
      assert.strictEqual(fs.readFileSync(join(cwd, "out"), "utf8"), "before")
    }).pipe(backend)
  )

  // Limit of Node, which would be blocked itself.
  if (launcher === "node") {
    it.scopedLive("may be no FIFO", () =>
      Effect.gen(function* () {
        const cwd = yield* directory
        execFileSync("mkfifo", [join(cwd, "fifo")])
        const error = yield* taskError(cat("fifo", { cwd }))
        assert.deepStrictEqual([error.reason, error.details["path"]], ["LaunchFailed", join(cwd, "fifo")])
        assert.include(error.message, "a FIFO, which only the launch agent can open: install Python 3.8 or later")
      }).pipe(backend)
    )
  } else {
    it.scopedLive("may be a FIFO: its task alone waits for who writes it, and can be stopped", () =>
      Effect.gen(function* () {
        const { alive, env } = yield* marked
        const cwd = yield* directory
        execFileSync("mkfifo", [join(cwd, "fifo")])
        const waits = (path: string) => ExecutionBackend.submit(cat(path, { cwd, env }))
        const stopped = yield* waits("fifo")
        assert.strictEqual((yield* ExecutionBackend.execute(sh("echo beside it"))).stdout, "beside it\n")
        yield* Fiber.interrupt(stopped)
        assert.deepStrictEqual(yield* alive, [])
        const waiting = yield* waits(join(cwd, "fifo"))
        yield* ExecutionBackend.execute(sh("echo from another > fifo", { cwd }))
        assert.strictEqual((yield* Fiber.join(waiting)).stdout, "from another\n")
      }).pipe(backend)
    )
  }
})

const isLaunchFailed = (error: unknown) => error instanceof TaskError && error.reason === "LaunchFailed"

overBoth("the error of a program whose stderr is in a file", ({ provide }) => {
  const backend = provide()

  it.scopedLive("says where, and ends with its last lines", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const last = Array.from({ length: 20 }, (_, i) => `line ${i + 981}`).join("\n")
      const script = "for i in $(seq 1 1000); do echo line $i >&2; done"
      for (const [capture, file] of [
        [{ stderr: "err" }, "err"],
        [{ stdout: "out", stderr: "err" }, "err"],
        [{ stdout: "both", mergeStderr: true }, "both"]
      ] as const) {
        const error = yield* taskError(sh(`${script}; exit 3`, { cwd, capture }))
        const path = join(cwd, file)
        assert.deepInclude(error.details, { stderr: last, stderrPath: path })
        assert.isTrue(error.message.endsWith(`\nits stderr is in ${path} and ends with:\n${last}`), error.message)
        const killed = yield* taskError(sh(`${script}; kill -9 $$`, { cwd, capture }))
        assert.isTrue(killed.message.endsWith(`ends with:\n${last}`), killed.message)
      }
    }).pipe(backend)
  )

  it.scopedLive("says where alone when there is nothing to be shown", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const capture = { stderr: "err" }
      const silent = yield* taskError(sh("exit 3", { cwd, capture }))
      assert.isTrue(silent.message.endsWith(`\nits stderr is in ${join(cwd, "err")}`), silent.message)
      const removed = yield* taskError(sh("echo why >&2; rm err; exit 3", { cwd, capture }))
      assert.notProperty(removed.details, "stderr")
      // nor is anything read that is no file: to open this FIFO again would take for ever
      execFileSync("mkfifo", [join(cwd, "fifo")])
      const reader = yield* Effect.acquireRelease(
        Effect.sync(() => spawn("cat", ["fifo"], { cwd, stdio: ["ignore", "pipe", "ignore"] })),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const read = yield* Effect.forkScoped(
        Effect.async<string>((resume) => void reader.stdout.once("data", (data) => resume(Effect.succeed(`${data}`))))
      )
      // its reader may take a moment to come
      const retry = { times: 100, schedule: Schedule.spaced("20 millis"), while: isLaunchFailed }
      const fifo = yield* taskError(sh("echo why >&2; exit 3", { cwd, retry, capture: { stderr: "fifo" } }))
      assert.strictEqual(yield* Fiber.join(read), "why\n")
      assert.deepStrictEqual([fifo.exitCode, fifo.details["stderrPath"]], [3, join(cwd, "fifo")])
      assert.notProperty(fifo.details, "stderr")
      const none = yield* taskError(sh("exit 3", { cwd, capture: { stderr: "/dev/zero" } }))
      assert.deepStrictEqual([none.exitCode, none.details["stderr"]], [3, undefined])
    }).pipe(backend)
  )
})
