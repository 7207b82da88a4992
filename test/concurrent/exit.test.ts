/** What a program's end means: its code, the signal that killed it, and what the definition makes of them. */
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Schedule, Schema } from "effect"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import { directory, failing, overBoth, program, sh, taskError } from "./support.js"

class Diverged extends Schema.TaggedError<Diverged>()("Diverged", {
  step: Schema.Int,
  said: Schema.String
}) {}

const shell = (script: string) => ({ executable: "sh", args: ["-c", script] })

overBoth("an exit code", ({ provide }) => {
  const backend = provide()

  it.live("is reported as it is", () =>
    Effect.gen(function* () {
      // 126 and 127 are a shell's, 128 and more look like its account of signals, 255 is -1
      const codes = [1, 2, 3, 42, 77, 100, 125, 126, 127, 128, 129, 130, 137, 143, 200, 254, 255]
      const errors = yield* Effect.forEach(codes, (code) => taskError(sh(`exit ${code}`)), { concurrency: 4 })
      assert.deepStrictEqual(
        errors.map(({ exitCode, reason, signal }) => [reason, exitCode, signal]),
        codes.map((code) => ["Exit", code, undefined])
      )
      assert.match(
        errors[4]!.message,
        /^task Sh \(task\.\d+\) exited with code 77 after \d+ms\ncommand: sh -c .exit 77.\ndirectory: \/.*$/
      )
      assert.strictEqual((yield* ExecutionBackend.execute(sh("exit 0"))).exitCode, 0)
    }).pipe(backend)
  )

  it.live("counts as success when exitCodes has it, and then only", () =>
    Effect.gen(function* () {
      const Grep = Task.executable("Grep", {
        payload: { code: Schema.Int },
        exitCodes: [0, 2],
        command: ({ code }) => shell(`echo found; exit ${code}`)
      })
      assert.strictEqual(yield* ExecutionBackend.execute(Grep.make({ code: 0 })), "found\n")
      assert.strictEqual(yield* ExecutionBackend.execute(Grep.make({ code: 2 })), "found\n")
      assert.strictEqual((yield* taskError(Grep.make({ code: 1 }))).exitCode, 1)
      const Not = Task.executable("Not", {
        payload: { code: Schema.Int },
        success: Task.Output,
        exitCodes: [3],
        command: ({ code }) => shell(`exit ${code}`)
      })
      assert.strictEqual((yield* ExecutionBackend.execute(Not.make({ code: 3 }))).exitCode, 3)
      const error = yield* taskError(Not.make({ code: 0 }))
      assert.deepStrictEqual([error.reason, error.exitCode], ["Exit", 0])
    }).pipe(backend)
  )
})

overBoth("death by a signal", ({ launcher, provide }) => {
  const backend = provide()

  it.live("is reported with its name, and is no exit code", () =>
    Effect.gen(function* () {
      const signals = ["HUP", "INT", "QUIT", "ABRT", "KILL", "SEGV", "PIPE", "TERM", "USR1", "XCPU"]
      const run = (signal: string) => taskError(sh(`ulimit -c 0; kill -${signal} $$; echo survived`))
      const errors = yield* Effect.forEach(signals, run, { concurrency: 4 })
      assert.deepStrictEqual(
        errors.map(({ exitCode, reason, signal }) => [reason, exitCode, signal]),
        signals.map((signal) => ["Signal", undefined, `SIG${signal}`])
      )
      assert.match(errors[5]!.message, /^task Sh \(task\.\d+\) was killed by SIGSEGV after \d+ms\n/)
    }).pipe(backend)
  )

  it.live(launcher === "agent" ? "may be a real-time one" : "that is a real-time one is taken for exit code 0", () =>
    Effect.gen(function* () {
      const task = sh("ulimit -c 0; kill -40 $$; echo survived")
      // Limit of Node, which knows no name for it.
      if (launcher === "node") return assert.strictEqual((yield* ExecutionBackend.execute(task)).exitCode, 0)
      const error = yield* taskError(task)
      assert.deepStrictEqual([error.reason, error.exitCode, error.signal], ["Signal", undefined, "SIGRTMIN+6"])
    }).pipe(backend)
  )

  it.live("is no code of exitCodes, and failure is asked about it", () =>
    Effect.gen(function* () {
      const Killed = Task.executable("Killed", {
        payload: { signal: Schema.String },
        exitCodes: [0, 9, 137],
        error: Diverged,
        failure: ({ exitCode, signal, stderr }, payload) =>
          payload.signal === "KILL" ? new Diverged({ step: exitCode, said: `${signal} ${stderr}` }) : undefined,
        command: ({ signal }) => shell(`ulimit -c 0; echo last words >&2; kill -${signal} $$`)
      })
      const own = yield* failing(Killed.make({ signal: "KILL" }))
      assert.deepStrictEqual(own, new Diverged({ step: 137, said: "SIGKILL last words\n" }))
      const error = yield* taskError(Killed.make({ signal: "TERM" }))
      assert.deepStrictEqual([error.reason, error.signal, error.exitCode], ["Signal", "SIGTERM", undefined])
      assert.include(error.message, "last words")
    }).pipe(backend)
  )
})

overBoth("failure", ({ provide }) => {
  const backend = provide()

  const Simulate = Task.executable("Simulate", {
    payload: { code: Schema.Int },
    error: Diverged,
    exitCodes: [0, 4],
    command: ({ code }) => shell(`echo out; echo step 7 >&2; exit ${code}`),
    failure: ({ exitCode, stderr, stdout }) => {
      if (exitCode === 5) throw new Error("unexpected code")
      return exitCode === 3 || exitCode === 4 || exitCode === 0
        ? new Diverged({ step: Number(stderr.split(" ")[1]), said: stdout })
        : undefined
    }
  })

  it.live("recognises the task's own error by the whole output", () =>
    Effect.gen(function* () {
      const step = yield* ExecutionBackend.execute(Simulate.make({ code: 3 })).pipe(
        Effect.catchTag("Diverged", (error) => Effect.succeed([error.step, error.said]))
      )
      assert.deepStrictEqual(step, [7, "out\n"])
    }).pipe(backend)
  )

  it.live("leaves what it does not recognise, and is not asked about success", () =>
    Effect.gen(function* () {
      const error = yield* taskError(Simulate.make({ code: 2 }))
      assert.deepStrictEqual([error.reason, error.exitCode], ["Exit", 2])
      assert.strictEqual(yield* ExecutionBackend.execute(Simulate.make({ code: 0 })), "out\n")
      assert.strictEqual(yield* ExecutionBackend.execute(Simulate.make({ code: 4 })), "out\n")
    }).pipe(backend)
  )

  it.live("that throws is a defect of this task alone", () =>
    Effect.gen(function* () {
      const error = yield* taskError(Simulate.make({ code: 5 }))
      assert.strictEqual(error.reason, "Defect")
      assert.include(error.message, "unexpected code")
      assert.strictEqual((error.cause as Error).message, "unexpected code")
      assert.strictEqual(yield* ExecutionBackend.execute(Simulate.make({ code: 0 })), "out\n")
    }).pipe(backend)
  )

  it.scopedLive("gives the error that a retry decides by", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      yield* program(join(cwd, "counts"), `echo >> n; test "$(wc -l < n)" -ge 3 || exit 3; wc -l < n`)
      const Counts = Task.executable("Counts", {
        success: Schema.NumberFromString,
        error: Diverged,
        failure: ({ exitCode }) => (exitCode === 3 ? new Diverged({ step: 1, said: "" }) : undefined),
        retry: { schedule: Schedule.spaced("1 millis"), while: (error) => error._tag === "Diverged" },
        command: () => ({ executable: "./counts", cwd })
      })
      assert.strictEqual(yield* ExecutionBackend.execute(Counts.make()), 3)
    }).pipe(backend)
  )
})

overBoth("a result", ({ provide }) => {
  const backend = provide()

  it.live("that does not fit its schema is an error that says where", () =>
    Effect.gen(function* () {
      const Energy = Task.executable("Energy", {
        payload: { prints: Schema.String },
        success: Schema.parseJson(Schema.Struct({ energy: Schema.Number })),
        command: ({ prints }) => ({ executable: "printf", args: ["%s", prints] })
      })
      const wrong = yield* taskError(Energy.make({ prints: `{"energy":"high"}` }))
      assert.strictEqual(wrong.reason, "InvalidResult")
      assert.match(wrong.message, /energy[\s\S]*Expected number, actual "high"/)
      const long = yield* taskError(Energy.make({ prints: `{"energy":"${"x".repeat(100_000)}"}` }))
      assert.match(long.message, /energy[\s\S]*Expected number, actual "x+/)
      assert.isBelow(long.message.length, 15_000)
      assert.strictEqual((yield* taskError(Energy.make({ prints: "no JSON" }))).reason, "InvalidResult")
      assert.strictEqual((yield* taskError(Energy.make({ prints: "" }))).reason, "InvalidResult")
      assert.deepStrictEqual(yield* ExecutionBackend.execute(Energy.make({ prints: `{"energy":-1}` })), { energy: -1 })
    }).pipe(backend)
  )
})

overBoth("the message of a failed task", ({ provide }) => {
  const backend = provide()

  it.live("ends with the last 20 lines of standard error, no more", () =>
    Effect.gen(function* () {
      const lines = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `line ${from + i}.`)
      const { details, message } = yield* taskError(sh("for i in $(seq 1 30); do echo line $i. >&2; done; exit 1"))
      assert.strictEqual(details["stderr"], lines(11, 30).join("\n"))
      assert.isTrue(message.endsWith(`\nits stderr ends with:\n${lines(11, 30).join("\n")}`), message)
      const few = yield* taskError(sh("for i in 1 2 3; do echo line $i. >&2; done; exit 1"))
      assert.strictEqual(few.details["stderr"], lines(1, 3).join("\n"))
    }).pipe(backend)
  )

  it.live("is short when there is one endless line", () =>
    Effect.gen(function* () {
      const { message } = yield* taskError(sh("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo END >&2; exit 1"))
      assert.isBelow(message.length, 5000)
      assert.isTrue(message.endsWith("xxxEND"), message)
    }).pipe(backend)
  )

  it.live("survives an encoding of the error", () =>
    Effect.gen(function* () {
      const error = yield* failing(sh("echo why >&2; exit 7"))
      assert(error instanceof TaskError)
      const near = JSON.stringify(yield* Schema.encode(TaskError)(error))
      const far = yield* Schema.decodeUnknown(Schema.parseJson(TaskError))(near)
      assert.strictEqual(far.message, error.message)
      assert.strictEqual(far.exitCode, 7)
    }).pipe(backend)
  )
})
