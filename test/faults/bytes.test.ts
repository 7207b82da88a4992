/** I6: bytes in are bytes out, whatever they are; what cannot be passed on is refused, and nothing is approximated. */
import { assert } from "@effect/vitest"
import { Effect, Exit, FastCheck as fc, Random } from "effect"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { ConfigurationError } from "effect-rhapsody/Errors"
import { failureOf, command as plain, sh, taskError } from "../concurrent/support.js"
import type { Launcher } from "./support.js"
import { both, caught, fault, limit, orchestrate, over, python } from "./support.js"

// -------------------------------------------------------------------------------------------------------------- length

fault(
  "long arguments",
  both(caught, "100 kB are passed on, what the system refuses is E2BIG, and others go on", (launcher) =>
    Effect.gen(function* () {
      const print = (...args: ReadonlyArray<string>) => plain({ executable: "printf", args: ["%s", ...args] })
      const long = "ü".repeat(50_000)
      assert.strictEqual((yield* ExecutionBackend.execute(print(long))).stdout, long)
      const fine = Array.from({ length: 10 }, () => long)
      assert.strictEqual((yield* ExecutionBackend.execute(print(...fine))).stdout, fine.join(""))
      for (const [what, args] of Object.entries({
        "one too long": ["x".repeat(1 << 18)],
        "too many": Array.from({ length: 60 }, () => long),
        "more than a message of the agent's can hold": Array.from({ length: 700 }, () => long)
      })) {
        const error = yield* taskError(print(...args))
        assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "E2BIG"], what)
        assert.strictEqual((yield* ExecutionBackend.execute(sh("echo on"))).stdout, "on\n")
      }
      const error = yield* taskError(plain({ executable: "true", env: { X: "x".repeat(1 << 18) } }))
      assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "E2BIG"])
    }).pipe(over(launcher))
  )
)

// --------------------------------------------------------------------------------------------------------------- bytes

/** What shells, C strings, lines, JSON, JavaScript objects or terminals would make something else of. */
const awkward = [
  ...["", " ", "-", "--", "-n", "=", "a=b", "\n", "\r\n", "\t", "\\", "\\n", '"', "'", "$HOME", "$(id)", "`id`", "*"],
  ...["~", "!", "#", "%s", "\u0001", "\u001b[2J", "\u007f", "\u0085", "\u2028", "\ufeff", "\ufffd", "\uffff", "𝄞"],
  ...["e\u0301", "{}", "[]", "null", "__proto__", "constructor", "toString", "0", "-0", "1e3", "() { :; }; echo"]
]
const names = ["BASH_FUNC_x%%", "a b", "new\nline", "__proto__", "constructor", "toString", "1", "ü", ".", "a.b-c", "_"]

const text = fc.oneof(
  fc.constantFrom(...awkward),
  fc.string({ unit: "binary", maxLength: 40 }).map((text) => text.replaceAll("\0", "0")),
  fc.array(fc.constantFrom(...awkward), { maxLength: 5 }).map((parts) => parts.join(""))
)
// NUL ends an argument
const bytes = fc.uint8Array({ min: 1, maxLength: 40 })
const anything = fc.oneof({ weight: 8, arbitrary: text }, { weight: 1, arbitrary: bytes })
const name = fc.oneof(
  fc.constantFrom(...names),
  text.map((text) => text.replaceAll("=", "_")).filter((text) => text !== "" && text !== "PATH")
)
const vector = fc.record({
  args: fc.array(anything, { maxLength: 8 }),
  env: fc.array(fc.tuple(name, anything), { maxLength: 5 }),
  // the last are longer than a pipe holds
  stdin: fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    text,
    fc.uint8Array({ minLength: 1, maxLength: 200 }).map((part) => Buffer.alloc(70_000, part))
  )
})
type Vector = typeof vector extends fc.Arbitrary<infer V> ? V : never

const utf8 = new TextDecoder("utf-8", { fatal: true })
const isText = (value: string | Uint8Array) => {
  try {
    return typeof value === "string" || utf8.decode(value) !== undefined
  } catch {
    return false
  }
}

/** The system's own copy of arguments and variables, then the input; the shell stays, for its copies are wanted. */
const command = ["/bin/sh", "-c", "/bin/cat /proc/$$/cmdline /proc/$$/environ -; :", "sh"]
const terminated = (parts: ReadonlyArray<string | Uint8Array>) =>
  Buffer.concat(parts.map((part) => Buffer.concat([Buffer.from(part), Buffer.of(0)])))

/** What differs between what a program was given and what it got, if it was not refused. */
const difference = ({ args, env, stdin }: Vector, uid: string, output: Uint8Array): string | undefined => {
  const rest = Buffer.from(output)
  const argv = terminated([...command, ...args])
  const input = Buffer.from(stdin)
  if (!rest.subarray(0, argv.length).equals(argv)) return "arguments"
  if (!rest.subarray(rest.length - input.length).equals(input)) return "input"
  const expected = new Map<string, Uint8Array>()
  for (const [name, value] of [
    ...Object.entries(process.env as Record<string, string>),
    ["RHAPSODY_TASK_UID", uid] as const,
    ["RHAPSODY_ATTEMPT", "1"] as const,
    ...env
  ]) {
    expected.set(name, terminated([Buffer.concat([Buffer.from(`${name}=`), Buffer.from(value)])]))
  }
  const latin1 = (buffer: Uint8Array) => Buffer.from(buffer).toString("latin1")
  const got = latin1(rest.subarray(argv.length, rest.length - input.length))
    .split("\0")
    .slice(0, -1)
    .sort()
  const wanted = [...expected.values()].map((line) => latin1(line).slice(0, -1)).sort()
  return got.join("\0") === wanted.join("\0") ? undefined : `variables: ${JSON.stringify([got, wanted])}`
}

/** Whether it was passed on. */
const check = (launcher: Launcher, vector: Vector, uid: string, reported: () => string) =>
  Effect.gen(function* () {
    // own properties all, whatever their names
    const env: Record<string, string | Uint8Array> = Object.create(null)
    for (const [name, value] of vector.env) env[name] = value
    const Own = Task.executable("Own", {
      success: Task.Output,
      command: () => ({
        executable: command[0]!,
        args: [...command.slice(1), ...vector.args],
        env,
        stdin: vector.stdin
      })
    })
    const exit = yield* Effect.exit(ExecutionBackend.execute(Own.make(undefined, { uid })))
    if (launcher === "node" && ![...vector.args, ...Object.values(env)].every(isText)) {
      const error = failureOf(exit)
      assert.isTrue(error instanceof ConfigurationError && error.reason === "InvalidPayload", reported())
      return false
    }
    if (Exit.isFailure(exit)) throw new Error(`${reported()}: ${failureOf(exit)}`)
    const what = difference(vector, uid, exit.value.stdoutBytes)
    if (what !== undefined) throw new Error(`${reported()}: ${what}`)
    return true
  })

const hostile = (launcher: Launcher) =>
  Effect.gen(function* () {
    const seed = yield* Random.nextIntBetween(0, 2 ** 31)
    const vectors = fc.sample(vector, { numRuns: 1000, seed })
    const passed = yield* Effect.forEach(
      vectors,
      (vector, i) =>
        check(launcher, vector, `v.${i}`, () => `seed ${seed}, vector ${i}: ${fc.stringify(vector).slice(0, 2000)}`),
      { concurrency: 8 }
    )
    const count = passed.filter((_) => _).length
    assert.isAbove(count, 300)
    return count
  }).pipe(over(launcher, { maxWorkers: 8 }))

fault("1,000 hostile argument vectors, environments and inputs", {
  agent: caught(
    "all are passed on byte for byte",
    Effect.map(hostile("agent"), (count) => assert.strictEqual(count, 1000))
  ),
  node: limit(
    "what is no UTF-8 is refused, all others are passed on byte for byte",
    Effect.map(hostile("node"), (count) => assert.isBelow(count, 1000))
  )
})

// ----------------------------------------------------------------------------------------------------------- inherited

// Values alone: with a name that is no UTF-8, Node aborts as soon as a program, or tsx, makes a Worker.
const perl = String.raw`$ENV{"BYTES"} = "a\xff\xfe"; $ENV{"BASH_FUNC_x%%"} = "() { echo \n}"; $ENV{"new\nline"} = "v\n";
  $ENV{"UTF8"} = "\xc3\xbc \xef\xbf\xbd"; exec @ARGV`
const inheritedAs = (launcher: Launcher) =>
  Effect.gen(function* () {
    const program = yield* orchestrate({
      program: "inherited",
      plan: { launcher, ...(launcher === "agent" ? { python } : {}) },
      before: ["perl", "-e", perl]
    })
    const said = (yield* program.said) as ReadonlyArray<string>
    return said.map((line) => Buffer.from(line, "base64").toString("latin1"))
  })
const same = ["BASH_FUNC_x%%=() { echo \n}", "new\nline=v\n", "UTF8=\xc3\xbc \xef\xbf\xbd"]

fault("an inherited environment that is no UTF-8", {
  agent: caught(
    "it is passed on byte for byte",
    Effect.gen(function* () {
      const env = yield* inheritedAs("agent")
      for (const line of same) assert.include(env, line)
      assert.include(env, "BYTES=a\xff\xfe")
    })
  ),
  node: limit(
    "Node has read U+FFFD for it, and passes that on",
    Effect.gen(function* () {
      const env = yield* inheritedAs("node")
      for (const line of same) assert.include(env, line)
      assert.include(env, "BYTES=a\xef\xbf\xbd\xef\xbf\xbd")
    })
  )
})
