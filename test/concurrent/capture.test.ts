/** I6: what a program prints is what its task gives, byte for byte, within the limits that were set. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { ExecutionBackend, Task } from "effect-rhapsody"
import type { TaskError } from "effect-rhapsody/Errors"
import { directory, inbox, marked, overBoth, sh, taskError } from "./support.js"

const MB = 1024 * 1024
const every = Uint8Array.from({ length: 256 }, (_, i) => i)
/** Every byte beside every other, so that nothing that works on pairs can go unnoticed. */
const pairs = Uint8Array.from({ length: 2 * 256 * 256 }, (_, i) => (i % 2 === 0 ? i >> 9 : (i >> 1) & 255))

const options = { payload: { script: Schema.String, stdin: Schema.optional(Schema.Uint8ArrayFromSelf) } }
const command = ({ script, stdin }: { readonly script: string; readonly stdin?: Uint8Array | undefined }) => ({
  executable: "sh",
  args: ["-c", script],
  ...(stdin === undefined ? {} : { stdin })
})
const Text = Task.executable("Text", { ...options, command })
const Bytes = Task.executable("Bytes", { ...options, success: Schema.Uint8ArrayFromSelf, command })
const Numbers = Task.executable("Numbers", { ...options, success: Schema.NumberFromString, command })
const All = Task.executable("All", { ...options, success: Task.Output, command })

const assertBytes = (actual: Uint8Array, expected: Uint8Array) => {
  // not a Buffer, whose methods are others, and which may be a part of other memory
  assert.strictEqual(Object.getPrototypeOf(actual), Uint8Array.prototype)
  assert.strictEqual(actual.length, expected.length)
  assert.strictEqual(Buffer.compare(actual, expected), 0)
}

const isOutputLimit = (error: TaskError, stream: string, limit: number) => {
  assert.strictEqual(error.reason, "OutputLimit")
  assert.deepInclude(error.details, { stream, limit })
  assert.include(error.message, "raise capture.limit or capture to a file")
}

overBoth("in memory", ({ provide }) => {
  const backend = provide()

  it.scopedLive("the bytes are exact, as bytes and as output", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      assertBytes(yield* ExecutionBackend.execute(Bytes.make({ script: "cat", stdin: every })), every)
      const output = yield* ExecutionBackend.execute(
        All.make({ script: "cat > f; cat f; cat f >&2", stdin: pairs }, { cwd })
      )
      assertBytes(output.stdoutBytes, pairs)
      assertBytes(output.stderrBytes, pairs)
      assert.deepStrictEqual([output.exitCode, output.stdoutPath, output.stderrPath], [0, undefined, undefined])
      const nothing = yield* ExecutionBackend.execute(All.make({ script: "" }))
      assertBytes(nothing.stdoutBytes, new Uint8Array())
      assertBytes(nothing.stderrBytes, new Uint8Array())
    }).pipe(backend)
  )

  it.live("a schema from text decodes them, with U+FFFD for what is no UTF-8", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ExecutionBackend.execute(Numbers.make({ script: "echo 42.5" })), 42.5)
      const stdin = Buffer.concat([Buffer.from("\ufeffü𝄞"), Uint8Array.of(0xff, 0x61, 0xc3)])
      assert.strictEqual(yield* ExecutionBackend.execute(Text.make({ script: "cat", stdin })), "\ufeffü𝄞\ufffda\ufffd")
      const output = yield* ExecutionBackend.execute(All.make({ script: "cat >&2", stdin }))
      assert.strictEqual(output.stderr, "\ufeffü𝄞\ufffda\ufffd")
    }).pipe(backend)
  )

  it.live("50 MB come whole, up to the very byte of the limit", () =>
    Effect.gen(function* () {
      const size = 50 * MB
      const expected = Buffer.alloc(size, "0123456789abcdef\n")
      const script = `yes 0123456789abcdef | head -c ${size}`
      assertBytes(yield* ExecutionBackend.execute(Bytes.make({ script }, { capture: { limit: size } })), expected)
      isOutputLimit(yield* taskError(Bytes.make({ script }, { capture: { limit: size - 1 } })), "stdout", size - 1)
    }).pipe(backend)
  )

  it.live("64 MiB are the limit where none is set", () =>
    Effect.gen(function* () {
      const error = yield* taskError(Bytes.make({ script: `head -c ${64 * MB + 1} /dev/zero` }))
      isOutputLimit(error, "stdout", 64 * MB)
      const script = `head -c ${64 * MB} /dev/zero`
      assert.strictEqual((yield* ExecutionBackend.execute(Bytes.make({ script }))).length, 64 * MB)
    }).pipe(backend)
  )

  it.scopedLive("beyond the limit the program and its group are stopped, on either stream or both merged", () =>
    Effect.gen(function* () {
      const { alive, env } = yield* marked
      const forever = (redirect: string) => `trap '' TERM; sleep 100 & yes ${redirect}`
      isOutputLimit(yield* taskError(sh(forever(""), { env, capture: { limit: 1000 } })), "stdout", 1000)
      assert.deepStrictEqual(yield* alive, [])
      isOutputLimit(yield* taskError(sh(forever(">&2"), { env, capture: { limit: 1000 } })), "stderr", 1000)
      assert.deepStrictEqual(yield* alive, [])
      const merged = { limit: 1000, mergeStderr: true }
      isOutputLimit(yield* taskError(sh(forever(">&2"), { env, capture: merged })), "stdout", 1000)
      assert.deepStrictEqual(yield* alive, [])
    }).pipe(backend)
  )

  it.live("the limit is for each stream, and its last byte still allowed", () =>
    Effect.gen(function* () {
      const run = (script: string, capture: Task.Capture) =>
        Effect.map(ExecutionBackend.execute(sh(script, { capture })), (_) => [_.stdout, _.stderr])
      assert.deepStrictEqual(yield* run("printf 12345; printf 12345 >&2", { limit: 5 }), ["12345", "12345"])
      assert.deepStrictEqual(yield* run("printf 123; printf 45 >&2", { limit: 5, mergeStderr: true }), ["12345", ""])
      assert.deepStrictEqual(yield* run("", { limit: 0 }), ["", ""])
      isOutputLimit(yield* taskError(sh("printf 123456", { capture: { limit: 5 } })), "stdout", 5)
      isOutputLimit(yield* taskError(sh("printf 123456 >&2", { capture: { limit: 5 } })), "stderr", 5)
      const merged = sh("printf 123; printf 456 >&2", { capture: { limit: 5, mergeStderr: true } })
      isOutputLimit(yield* taskError(merged), "stdout", 5)
      isOutputLimit(yield* taskError(sh("printf 1", { capture: { limit: 0 } })), "stdout", 0)
    }).pipe(backend)
  )
})

overBoth("while this process is blocked", ({ launcher, provide }) => {
  const backend = provide()

  /** Programs that end, and are dead, reaped or not, when `end` returns. */
  const programs = Effect.gen(function* () {
    const [cwd, { path, take }] = [yield* directory, yield* inbox]
    const start = (name: string) =>
      Effect.gen(function* () {
        const script = `echo $$ > ${path}; while ! [ -e ${name} ]; do sleep 0.01; done; echo ${name}`
        const fiber = yield* ExecutionBackend.submit(sh(script, { cwd }))
        return { name, fiber, stat: `/proc/${yield* take}/stat` }
      })
    const isDead = (stat: string) => {
      try {
        return fs.readFileSync(stat, "utf8").includes(") Z ")
      } catch {
        return true
      }
    }
    // this process meanwhile does nothing else, not even reap it
    const end = ({ name, stat }: { readonly name: string; readonly stat: string }) => {
      fs.writeFileSync(join(cwd, name), "")
      while (!isDead(stat)) {}
    }
    return { end, all: [yield* start("first"), yield* start("second"), yield* start("late")] as const }
  })
  const block = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1200)
  const nothingLost = (all: Effect.Effect.Success<typeof programs>["all"]) =>
    Effect.forEach(all, ({ fiber, name }) =>
      Effect.map(Fiber.join(fiber), ({ stdout }) => assert.strictEqual(stdout, `${name}\n`))
    )

  it.scopedLive("for longer than pipes may stay open, nothing that was printed is lost", () =>
    Effect.gen(function* () {
      const { all, end } = yield* programs
      for (const one of all) end(one)
      block()
      yield* nothingLost(all)
    }).pipe(backend)
  )

  // An agent hears of the deaths itself.
  if (launcher === "node") {
    it.scopedLive("in the midst of hearing of deaths, nothing is lost either", () =>
      Effect.gen(function* () {
        const { all, end } = yield* programs
        const [first, second, late] = all
        // Two deaths are heard of in one turn of the loop. In the midst of it the late one dies, too, with the others is
        // reaped unread, and then the turn lasts too long.
        let deaths = 0
        const heard = () => {
          deaths++
          if (deaths === 1) end(late)
          else if (deaths === 2) block()
        }
        yield* Effect.acquireRelease(
          Effect.sync(() => process.on("SIGCHLD", heard)),
          () => Effect.sync(() => process.off("SIGCHLD", heard))
        )
        end(first)
        end(second)
        yield* nothingLost(all)
        assert.isAtLeast(deaths, 2)
      }).pipe(backend)
    )
  }
})

// one word to each stream in turn, from one process and from its children
const alternating = `i=0; while [ $i -lt 100 ]; do echo "out $i"; echo "err $i" >&2; i=$((i + 1)); done
  for j in 1 2 3; do sh -c 'echo "child out"'; sh -c 'echo "child err" >&2'; done`
const inOrder = [
  ...Array.from({ length: 100 }, (_, i) => `out ${i}\nerr ${i}\n`),
  ...Array.from({ length: 3 }, () => "child out\nchild err\n")
].join("")

overBoth("merged", ({ provide }) => {
  const backend = provide()

  it.live("both streams are one, in the order of writing", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 5; i++) {
        const output = yield* ExecutionBackend.execute(sh(alternating, { capture: { mergeStderr: true } }))
        assert.strictEqual(output.stdout, inOrder)
        assert.deepStrictEqual([output.stderr, output.stdoutPath, output.stderrPath], ["", undefined, undefined])
      }
      const capture = { mergeStderr: true }
      assertBytes(yield* ExecutionBackend.execute(Bytes.make({ script: "cat >&2", stdin: pairs }, { capture })), pairs)
    }).pipe(backend)
  )

  it.scopedLive("they are so in a file", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const capture = { mergeStderr: true, stdout: "log" }
      const output = yield* ExecutionBackend.execute(sh(alternating, { cwd, capture }))
      const path = join(cwd, "log")
      assert.strictEqual(fs.readFileSync(path, "utf8"), inOrder)
      assert.deepStrictEqual([output.stdout, output.stderr], ["", ""])
      assert.deepStrictEqual([output.stdoutPath, output.stderrPath], [path, path])
      assert.strictEqual(yield* ExecutionBackend.execute(Text.make({ script: alternating }, { cwd, capture })), inOrder)
    }).pipe(backend)
  )

  it.scopedLive("they are so where both are sent to the same file", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const capture = { stdout: "log", stderr: "../" + cwd.split("/").at(-1) + "/log" }
      const output = yield* ExecutionBackend.execute(sh(alternating, { cwd, capture }))
      const path = join(cwd, "log")
      assert.strictEqual(fs.readFileSync(path, "utf8"), inOrder)
      assert.deepStrictEqual([output.stdoutPath, output.stderrPath], [path, path])
    }).pipe(backend)
  )
})
