/** I6: what becomes of more output than is kept in memory, where its task asks for another end than failure. */
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import { Effect, Fiber, Schedule, Schema } from "effect"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { command, directory, inbox, overBoth, sh, taskError, text } from "./support.js"

const MB = 1024 * 1024
const Text = Task.executable("Text", {
  payload: { script: Schema.String },
  command: ({ script }) => ({ executable: "sh", args: ["-c", script] })
})

overBoth("what is more is cut off", ({ provide }) => {
  const backend = provide()
  const truncate = (limit: number, more: Task.Capture = {}): Task.Options => ({
    capture: { limit, overflow: "truncate", ...more }
  })

  it.live("and counted, for each stream", () =>
    Effect.gen(function* () {
      const run = (script: string, limit: number) =>
        Effect.map(ExecutionBackend.execute(sh(script, truncate(limit))), (_) => [_.stdout, _.stderr, _.dropped])
      const both = "printf 123456789; printf abcdef >&2"
      assert.deepEqual(yield* run(both, 5), ["12345", "abcde", { stdout: 4, stderr: 1 }])
      assert.deepEqual(yield* run(both, 6), ["123456", "abcdef", { stdout: 3 }])
      assert.deepEqual(yield* run(both, 9), ["123456789", "abcdef", undefined])
      assert.deepEqual(yield* run(both, 0), ["", "", { stdout: 9, stderr: 6 }])
      assert.deepEqual(yield* run("printf abcdef >&2", 5), ["", "abcde", { stderr: 1 }])
    }).pipe(backend)
  )

  it.live("where both streams are one, from that", () =>
    Effect.gen(function* () {
      const run = (limit: number) =>
        Effect.map(
          ExecutionBackend.execute(sh("printf 123; printf 456 >&2; printf 7", truncate(limit, { mergeStderr: true }))),
          (_) => [_.stdout, _.stderr, _.dropped]
        )
      assert.deepEqual(yield* run(5), ["12345", "", { stdout: 2 }])
      assert.deepEqual(yield* run(7), ["1234567", "", undefined])
    }).pipe(backend)
  )

  it.live("byte by byte, and the program goes on to its own end", () =>
    Effect.gen(function* () {
      const script = `head -c ${20 * MB} /dev/zero; printf '\\001'; echo done >&2; exit 3`
      const Three = Task.executable("Three", {
        success: Task.Output,
        exitCodes: [3],
        command: () => ({ executable: "sh", args: ["-c", script] })
      })
      for (const limit of [20 * MB, 1000]) {
        const output = yield* ExecutionBackend.execute(Three.make(undefined, truncate(limit)))
        assert.deepEqual([output.exitCode, output.stderr], [3, "done\n"])
        assert.deepEqual(output.dropped, { stdout: 20 * MB + 1 - limit })
        assert.strictEqual(Buffer.compare(output.stdoutBytes, new Uint8Array(limit)), 0)
      }
      const error = yield* taskError(sh(script, truncate(1000)))
      assert.deepStrictEqual([error.reason, error.exitCode, error.details["stderr"]], ["Exit", 3, "done"])
    }).pipe(backend)
  )

  it.live("but no result is decoded from a part", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ExecutionBackend.execute(Text.make({ script: "printf 123" }, truncate(3))), "123")
      const error = yield* taskError(Text.make({ script: "printf 1234" }, truncate(3)))
      assert.strictEqual(error.reason, "OutputLimit")
      assert.deepInclude(error.details, { stream: "stdout", limit: 3 })
      const merged = yield* taskError(Text.make({ script: "printf 1234 >&2" }, truncate(3, { mergeStderr: true })))
      assert.strictEqual(merged.reason, "OutputLimit")
      // standard error is no part of the result, and a program that failed has none
      assert.strictEqual(yield* ExecutionBackend.execute(Text.make({ script: "echo why >&2" }, truncate(3))), "")
      const failed = yield* taskError(Text.make({ script: "printf 1234; exit 7" }, truncate(3)))
      assert.deepStrictEqual([failed.reason, failed.exitCode], ["Exit", 7])
    }).pipe(backend)
  )

  it.live("so that a flood takes no memory", () =>
    Effect.gen(function* () {
      const { arrayBuffers: before } = process.memoryUsage()
      let most = 0
      const watch = Effect.sync(() => {
        most = Math.max(most, process.memoryUsage().arrayBuffers - before)
      })
      const watcher = yield* Effect.fork(Effect.repeat(watch, Schedule.spaced("5 millis")))
      const script = `head -c ${400 * MB} /dev/zero`
      const output = yield* ExecutionBackend.execute(sh(script, truncate(10)))
      yield* Fiber.interrupt(watcher)
      assert.deepEqual(output.dropped, { stdout: 400 * MB - 10 })
      assert.isBelow(most, 200 * MB)
    }).pipe(backend)
  )
})

overBoth("what is more is spilled", ({ provide }) => {
  const backend = provide()
  const spill = (limit: number, more: Task.Capture = {}): Task.Capture => ({ limit, overflow: "spill", ...more })

  // a place of this test's own for files that the task did not name
  let place = ""
  const inherited = process.env["TMPDIR"]
  const setPlace = (path: string | undefined) => {
    if (path === undefined) delete process.env["TMPDIR"]
    else process.env["TMPDIR"] = path
  }
  beforeAll(() => {
    place = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "effect-rhapsody-")))
    setPlace(place)
  })
  afterAll(() => {
    setPlace(inherited)
    fs.rmSync(place, { recursive: true })
  })
  const spilled = () =>
    (fs.readdirSync(place, { recursive: true, withFileTypes: true }) as ReadonlyArray<fs.Dirent>)
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
  const nothingLeft = () =>
    assert.deepStrictEqual(
      fs.readdirSync(place).filter((name) => name.startsWith("effect-rhapsody.")),
      []
    )
  const read = (path: string | undefined) => {
    const content = fs.readFileSync(path!)
    fs.rmSync(path!)
    fs.rmdirSync(join(path!, ".."))
    return text(content)
  }

  it.live("to a file that has all of it, and the rest is in memory", () =>
    Effect.gen(function* () {
      const task = sh("printf 123456; printf abc >&2; printf 7", { uid: "its uid", capture: spill(5) })
      const output = yield* ExecutionBackend.execute(task)
      assert.deepEqual([output.stdout, output.stderr, output.dropped], ["", "abc", undefined])
      assert.strictEqual(output.stderrPath, undefined)
      assert.deepStrictEqual(spilled(), [output.stdoutPath])
      assert.include(output.stdoutPath, "its uid")
      assert.strictEqual(read(output.stdoutPath), "1234567")
      const other = yield* ExecutionBackend.execute(sh("printf 12345; printf abcdef >&2", { capture: spill(5) }))
      assert.deepEqual([other.stdout, other.stderr, other.stdoutPath], ["12345", "", undefined])
      assert.deepStrictEqual(spilled(), [other.stderrPath])
      assert.strictEqual(read(other.stderrPath), "abcdef")
      nothingLeft()
    }).pipe(backend)
  )

  it.live("or stays in memory, with no file left, where there is little", () =>
    Effect.gen(function* () {
      const output = yield* ExecutionBackend.execute(sh("printf 12345; printf abcde >&2", { capture: spill(5) }))
      assert.deepEqual([output.stdout, output.stderr], ["12345", "abcde"])
      assert.deepEqual([output.stdoutPath, output.stderrPath], [undefined, undefined])
      assert.strictEqual(
        yield* ExecutionBackend.execute(Text.make({ script: "printf 12" }, { capture: spill(5) })),
        "12"
      )
      nothingLeft()
    }).pipe(backend)
  )

  it.live("to one file where both streams are one", () =>
    Effect.gen(function* () {
      const script = "printf 123; printf 456 >&2; printf 7"
      const output = yield* ExecutionBackend.execute(sh(script, { capture: spill(5, { mergeStderr: true }) }))
      assert.deepEqual([output.stdout, output.stderr], ["", ""])
      assert.strictEqual(output.stderrPath, output.stdoutPath)
      assert.strictEqual(read(output.stdoutPath), "1234567")
      const few = yield* ExecutionBackend.execute(sh(script, { capture: spill(7, { mergeStderr: true }) }))
      assert.deepEqual([few.stdout, few.stdoutPath, few.stderrPath], ["1234567", undefined, undefined])
      nothingLeft()
    }).pipe(backend)
  )

  it.scopedLive("beside a stream that has a file of its own", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const script = "printf 123456; printf abcdef >&2"
      const output = yield* ExecutionBackend.execute(sh(script, { cwd, capture: spill(5, { stdout: "out" }) }))
      assert.deepEqual([output.stdout, output.stdoutPath], ["", join(cwd, "out")])
      assert.strictEqual(fs.readFileSync(join(cwd, "out"), "utf8"), "123456")
      assert.strictEqual(read(output.stderrPath), "abcdef")
      nothingLeft()
    }).pipe(backend)
  )

  it.live("and named where a result would have to be decoded from it", () =>
    Effect.gen(function* () {
      const error = yield* taskError(Text.make({ script: "printf 123456" }, { capture: spill(5) }))
      assert.strictEqual(error.reason, "OutputLimit")
      assert.deepInclude(error.details, { stream: "stdout", limit: 5 })
      assert.strictEqual(read(error.details["stdoutPath"] as string), "123456")
      nothingLeft()
    }).pipe(backend)
  )

  it.live("and named, with its end, where the program failed", () =>
    Effect.gen(function* () {
      const error = yield* taskError(sh("echo the cause >&2; echo out; exit 3", { capture: spill(5) }))
      assert.deepStrictEqual([error.reason, error.exitCode, error.details["stderr"]], ["Exit", 3, "the cause"])
      assert.include(error.message, `its stderr is in ${error.details["stderrPath"]}`)
      assert.strictEqual(read(error.details["stderrPath"] as string), "the cause\n")
      nothingLeft()
    }).pipe(backend)
  )

  it.scopedLive("and gone where no result names it", () =>
    Effect.gen(function* () {
      const { path, take } = yield* inbox
      const script = `printf 123456; echo ready > ${path}; sleep 100`
      const fiber = yield* ExecutionBackend.submit(sh(script, { capture: spill(5) }))
      assert.strictEqual(yield* take, "ready")
      assert.isNotEmpty(spilled())
      yield* Fiber.interrupt(fiber)
      nothingLeft()
      assert.strictEqual(
        (yield* taskError(command({ executable: "not-there" }, { capture: spill(5) }))).reason,
        "LaunchFailed"
      )
      nothingLeft()
    }).pipe(backend)
  )

  it.live("fails the task where there is no place for it", () =>
    Effect.gen(function* () {
      yield* Effect.sync(() => setPlace("/dev/null/no-place"))
      const error = yield* taskError(sh("true", { capture: spill(5) }))
      assert.strictEqual(error.reason, "LaunchFailed")
      assert.strictEqual(error.details["errno"], "ENOTDIR")
      assert.include(error.message, "/dev/null/no-place")
    }).pipe(Effect.ensuring(Effect.sync(() => setPlace(place))), backend)
  )
})
