/** I6 and I9: what a program is given is what the task says, byte for byte, with no shell between. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, FastCheck, Option, Redacted, Runtime } from "effect"
import type { Task } from "effect-rhapsody"
import { ExecutionBackend } from "effect-rhapsody"
import { idle, nothingLeft } from "../support.js"
import type { Launcher } from "./support.js"
import { command, directory, notUtf8, overBoth, program, refusal, text } from "./support.js"

const utf8 = (text: string) => new TextEncoder().encode(text)

// everything that a shell, or a careless join, would make something else of
const awkward = [
  "",
  " ",
  "a b",
  `"double"`,
  "'single'",
  "$HOME",
  "$(touch pwned)",
  "`touch pwned`",
  "; touch pwned",
  "&& touch pwned",
  "| touch pwned",
  "> pwned",
  "line\nbreak\r\n",
  "*",
  "~",
  "\\",
  "\\n",
  "%s%d",
  "--",
  "-n",
  "a=b",
  "\t",
  "\u0001\u001b",
  "ü ∆ 𝄞 e\u0301",
  "\ufeffmark",
  ""
]

overBoth("arguments", ({ launcher, provide }) => {
  const backend = provide()

  it.scopedLive("reach the program as they are, without a shell", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const task = command({ executable: "printf", args: ["%s\\0", ...awkward] }, { cwd })
      const { stdoutBytes } = yield* ExecutionBackend.execute(task)
      assert.deepStrictEqual(text(stdoutBytes).split("\0").slice(0, -1), awkward)
      assert.deepStrictEqual(fs.readdirSync(cwd), [])
    }).pipe(backend)
  )

  it.scopedLive("may be bytes, as may the program's path, its input and its environment", () =>
    Effect.gen(function* () {
      const path = yield* program(join(yield* directory, "a ; ü $x"), `printf '%s\\0' "$0" "$@" "$X"; cat`)
      const { stdoutBytes } = yield* ExecutionBackend.execute(
        command({
          executable: utf8(path),
          args: awkward.map(utf8),
          env: { X: utf8("\ufeffx\n𝄞") },
          stdin: notUtf8
        })
      )
      const expected = [path, ...awkward, "\ufeffx\n𝄞"].map((word) => `${word}\0`).join("")
      assert.deepStrictEqual(Buffer.from(stdoutBytes), Buffer.concat([utf8(expected), notUtf8]))
    }).pipe(backend)
  )

  // Limit of Node: it refuses them, see below.
  if (launcher === "agent") {
    it.scopedLive("need not be UTF-8, nor need the program's path and its environment", () =>
      Effect.gen(function* () {
        const path = Buffer.concat([utf8(`${yield* directory}/`), notUtf8])
        fs.writeFileSync(path, `#!/bin/sh\nprintf '%s\\0' "$0" "$@" "$X"\n`, { mode: 0o755 })
        const { stdoutBytes } = yield* ExecutionBackend.execute(
          command({ executable: path, args: ["a", notUtf8], env: { X: notUtf8 } })
        )
        const expected = [path, utf8("a"), notUtf8, notUtf8].map((word) => Buffer.concat([word, utf8("\0")]))
        assert.deepStrictEqual(Buffer.from(stdoutBytes), Buffer.concat(expected))
      }).pipe(backend)
    )
  }

  it.live("none are none, and args[0] is not the program's name", () =>
    Effect.gen(function* () {
      const script = `printf '%s,' "$#" "$@"`
      const { stdout } = yield* ExecutionBackend.execute(command({ executable: "sh", args: ["-c", script] }))
      assert.strictEqual(stdout, "0,")
      const { stdout: cmdline } = yield* ExecutionBackend.execute(
        command({ executable: "cat", args: ["/proc/self/cmdline"] })
      )
      assert.strictEqual(cmdline, "cat\0/proc/self/cmdline\0")
    }).pipe(backend)
  )

  it.live("may be many and long", () =>
    Effect.gen(function* () {
      const args = Array.from({ length: 5000 }, (_, i) => `${i}`.padStart(100, "x"))
      const { stdout } = yield* ExecutionBackend.execute(command({ executable: "printf", args: ["%s\\n", ...args] }))
      assert.strictEqual(stdout, args.map((arg) => `${arg}\n`).join(""))
    }).pipe(backend)
  )
})

// Limit of Node, which would replace them.
const undecodable = {
  "a program that is not UTF-8": [{ executable: notUtf8 }, "executable"],
  "an argument that is not UTF-8": [{ executable: "true", args: ["a", notUtf8] }, "args[1]"],
  "a variable that is not UTF-8": [{ executable: "true", env: { X: notUtf8 } }, "env.X"]
} as const
const lone = "half \ud834 of a pair"
const refusals: Record<string, readonly [unknown, string, string?]> = {
  "a program with NUL": [{ executable: "tr\0ue" }, "executable"],
  "an argument with NUL": [{ executable: "true", args: ["a", "b\0"] }, "args[1]"],
  "an argument with NUL as bytes": [{ executable: "true", args: ["a", Uint8Array.of(97, 0)] }, "args[1]"],
  "a variable with NUL": [{ executable: "true", env: { X: "\0" } }, "env.X"],
  "a redacted variable with NUL": [{ executable: "true", env: { X: Redacted.make("se\0cret") } }, "env.X"],
  "a working directory with NUL": [{ executable: "true", cwd: "/\0" }, "cwd"],
  "a program that is no text": [{ executable: 7 }, "executable"],
  "an empty program": [{ executable: "" }, "executable"],
  "an argument that is no text": [{ executable: "true", args: ["a", 7] }, "args[1]"],
  "an argument that is undefined": [{ executable: "true", args: ["a", undefined] }, "args[1]"],
  "arguments that are no array": [{ executable: "true", args: "-l" }, "args"],
  "a variable that is no text": [{ executable: "true", env: { X: 7 } }, "env.X"],
  "a redacted variable that is no text": [{ executable: "true", env: { X: Redacted.make(7) } }, "env.X"],
  "an input that is no text": [{ executable: "true", stdin: 7 }, "stdin"],
  "a program with half a surrogate pair": [{ executable: lone }, "executable"],
  "an argument with half a surrogate pair": [{ executable: "true", args: ["a", lone] }, "args[1]"],
  "a variable with half a surrogate pair": [{ executable: "true", env: { X: lone } }, "env.X"],
  "an input with half a surrogate pair": [{ executable: "true", stdin: lone }, "stdin"],
  "a variable whose name is half a surrogate pair": [
    { executable: "true", env: { [lone]: "" } },
    `env.${lone}`,
    "InvalidOption"
  ],
  "a variable whose name has =": [{ executable: "true", env: { "A=B": "" } }, "env.A=B", "InvalidOption"],
  "a variable without a name": [{ executable: "true", env: { "": "" } }, "env.", "InvalidOption"],
  "a command that is none": [undefined, "command"],
  "a command that is a promise": [Promise.resolve({ executable: "true" }), "command"]
}

overBoth("a command that cannot be passed on exactly is refused", ({ launcher, provide }) => {
  const all: typeof refusals = launcher === "node" ? { ...undecodable, ...refusals } : refusals
  for (const [name, [wrong, configKey, reason = "InvalidPayload"]] of Object.entries(all)) {
    it.live(name, () =>
      Effect.gen(function* () {
        const error = yield* refusal(command(wrong, { uid: "refused" }))
        assert.deepStrictEqual([error.reason, error.configKey], [reason, configKey])
        assert.notInclude(error.message, "cret")
        // no trace: the uid is free, and so is the only slot
        assert.isTrue(Option.isNone(yield* ExecutionBackend.taskState("refused")))
        yield* ExecutionBackend.execute(command({ executable: "true" }, { uid: "refused" }))
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(provide({ maxWorkers: 1 }))
    )
  }

  it.live("as is what the options add to it", () =>
    Effect.gen(function* () {
      const options: ReadonlyArray<readonly [any, string]> = [
        ...(launcher === "node" ? [[{ env: { X: notUtf8 } }, "env.X"] as const] : []),
        [{ env: { X: "\0" } }, "env.X"],
        [{ cwd: "/\0" }, "cwd"],
        [{ cwd: 7 }, "cwd"]
      ]
      for (const [wrong, configKey] of options) {
        const error = yield* refusal(command({ executable: "true" }, wrong))
        assert.deepStrictEqual([error.reason, error.configKey], ["InvalidPayload", configKey])
      }
    }).pipe(provide())
  )
})

// -------------------------------------------------------------------------------------------------- any text at all

const anyText = FastCheck.string({ unit: "binary", maxLength: 30 }).map((text) => text.replaceAll("\0", ""))
const anyBytes = FastCheck.uint8Array({ min: 1, maxLength: 30 })
const textOf = (launcher: Launcher): FastCheck.Arbitrary<Task.Text> =>
  FastCheck.oneof(anyText, anyText.map(utf8), ...(launcher === "agent" ? [anyBytes] : []))
const name = FastCheck.oneof(
  { weight: 5, arbitrary: anyText.map((text) => text.replaceAll("=", "")).filter((text) => text !== "") },
  { weight: 1, arbitrary: FastCheck.constantFrom("__proto__", "constructor", "BASH_FUNC_x%%", "LANG", "HOME") }
)
const valueOf = (launcher: Launcher) =>
  FastCheck.oneof(textOf(launcher), anyText.map(Redacted.make), FastCheck.constant(undefined))

const bytes = (text: Task.Text | Redacted.Redacted<string>) =>
  Buffer.from(Redacted.isRedacted(text) ? Redacted.value(text) : text)
const entries = (environ: Uint8Array) => Buffer.from(environ).toString("latin1").split("\0").slice(0, -1).sort()

overBoth("any text", ({ launcher, provide }) => {
  const inputs = FastCheck.record({
    args: FastCheck.array(textOf(launcher), { maxLength: 8 }),
    pairs: FastCheck.array(FastCheck.tuple(name, valueOf(launcher)), { maxLength: 6 }),
    stdin: FastCheck.oneof(anyText, FastCheck.uint8Array({ maxLength: 5000 }))
  })
  let run = 0
  const check = ({ args, pairs, stdin }: typeof inputs extends FastCheck.Arbitrary<infer I> ? I : never) =>
    Effect.gen(function* () {
      const file = join(yield* directory, "stdin")
      // the system's own account of what it was given; the shell could have changed its variables
      const script = `/bin/cat /proc/$$/cmdline; /bin/cat /proc/$$/environ >&2; /bin/cat > "$0"`
      const env = Object.fromEntries(pairs)
      const uid = `any ${++run}`
      const output = yield* ExecutionBackend.execute(
        command({ executable: "/bin/sh", args: ["-c", script, file, ...args], stdin }, { env, uid })
      )
      const argv = ["/bin/sh", "-c", script, file, ...args].map((arg) => Buffer.concat([bytes(arg), utf8("\0")]))
      assert.deepStrictEqual(Buffer.from(output.stdoutBytes), Buffer.concat(argv))
      assert.deepStrictEqual(fs.readFileSync(file), bytes(stdin))
      const expected = new Map<string, Task.Env[string]>(Object.entries(process.env))
      expected.set("RHAPSODY_TASK_UID", uid).set("RHAPSODY_ATTEMPT", "1")
      for (const [name, value] of pairs) expected.set(name, value)
      assert.deepStrictEqual(
        entries(output.stderrBytes),
        [...expected]
          .flatMap(([name, value]) => (value === undefined ? [] : [Buffer.concat([utf8(`${name}=`), bytes(value)])]))
          .map((entry) => entry.toString("latin1"))
          .sort()
      )
    }).pipe(Effect.scoped)

  it.live("reaches the program as arguments, environment and input", () =>
    Effect.gen(function* () {
      // one backend for all, since each would start its agent
      const runtime = yield* Effect.runtime<ExecutionBackend.ExecutionBackend<"executable">>()
      const property = FastCheck.asyncProperty(inputs, (input) => Runtime.runPromise(runtime)(check(input)))
      yield* Effect.promise(() => FastCheck.assert(property, { numRuns: 60 }))
      assert.strictEqual(run, 60)
    }).pipe(provide())
  )
})
