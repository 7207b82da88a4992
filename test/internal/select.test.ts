/** Which launcher a backend gets, when, and what is reported of it. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Fiber, Logger, Schema } from "effect"
import { BackendRegistry, ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { ConfigurationError } from "effect-rhapsody/Errors"
import type { Executable } from "../../src/Driver.js"
import * as launchers from "../../src/internal/process/select.js"
import { directory, eventually, program } from "../concurrent/support.js"
import { keepersOf, kill } from "../faults/system.js"

const plain = {
  limit: 1000,
  overflow: "fail",
  append: false,
  makeDirectories: false,
  mergeStderr: false,
  wanted: true
} as const
const capture = { ...plain, stdout: undefined, stderr: undefined, streaming: false }
const own = { stdin: undefined, env: {}, cwd: undefined, preExec: [], sandbox: false, orphans: "kill" } as const
const executable = (executable: string, ...args: ReadonlyArray<string | Uint8Array>): Executable => {
  return { _tag: "executable", executable, args, capture, ...own, rlimits: undefined, nice: undefined }
}
const hooks = { secrets: new Map(), onChunk: undefined }
const launch = (program: Executable) => ({ uid: "x", program, ...hooks, env: {}, grace: 100, started: () => {} })
const auto = { launcher: "auto", python: undefined, width: 2 } as const
const notUtf8 = Uint8Array.of(0xff)

const children = () => fs.readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8").trim()

const logged = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ message }) => void lines.push(String(message)))
  return Effect.map(Effect.provide(effect, Logger.replace(Logger.defaultLogger, logger)), (value) => ({ lines, value }))
}

describe("the launcher", () => {
  it.scopedLive("is an agent, started with the first program", () =>
    Effect.gen(function* () {
      const launcher = yield* launchers.make(auto)
      assert.strictEqual(children(), "")
      const exit = yield* launcher.launch(launch(executable("printf", "%s", notUtf8)))
      assert.deepStrictEqual(exit.stdout, notUtf8)
      assert.notStrictEqual(children(), "")
    })
  )

  it.scopedLive("is Node where there is no Python, which is logged once, with why", () =>
    Effect.gen(function* () {
      const old = yield* program(join(yield* directory, "python"), `echo "Python 3.7 is too old" >&2; exit 3`)
      const names = ["no-such-python", old]
      const { lines, value } = yield* logged(
        Effect.gen(function* () {
          const launcher = yield* launchers.make({ ...auto, names })
          const echo = (text: string) => launcher.launch(launch(executable("printf", "%s", text)))
          const exits = yield* Effect.all([echo("1"), echo("2"), echo("3")], { concurrency: 3 })
          return { exits, refusal: yield* Effect.flip(launcher.check(executable("printf", notUtf8))) }
        })
      )
      assert.deepStrictEqual(
        value.exits.map(({ stdout }) => Buffer.from(stdout as Uint8Array).toString()),
        ["1", "2", "3"]
      )
      assert.strictEqual(value.refusal.configKey, "args[0]")
      assert.lengthOf(lines, 1)
      assert.match(lines[0]!, /through Node.*install Python 3.8 or later.*no-such-python.*Python 3.7 is too old/s)
    })
  )

  it.scopedLive("is decided by the first who needs it, who may go meanwhile", () =>
    Effect.gen(function* () {
      const launcher = yield* launchers.make(auto)
      const first = yield* Effect.fork(launcher.launch(launch(executable("true"))))
      yield* Effect.yieldNow()
      const second = yield* Effect.fork(launcher.launch(launch(executable("true"))))
      yield* Fiber.interrupt(first)
      assert.strictEqual((yield* Fiber.join(second)).exitCode, 0)
    })
  )

  it.live("is Node with a keeper, that ends with it, is replaced when it was killed, and is not seen by programs", () =>
    Effect.gen(function* () {
      const keepers = yield* Effect.scoped(
        Effect.gen(function* () {
          const launcher = yield* launchers.make({ ...auto, launcher: "node" })
          assert.deepStrictEqual(keepersOf(), [])
          const { stdout } = yield* launcher.launch(launch(executable("ls", "/proc/self/fd")))
          const without = execFileSync("ls", ["/proc/self/fd"], { encoding: "utf8" })
          assert.strictEqual(Buffer.from(stdout as Uint8Array).toString(), without)
          const [first] = keepersOf()
          kill(first!)
          const replaced = launcher.launch(launch(executable("true"))).pipe(Effect.map(() => keepersOf()))
          return yield* eventually(replaced, ([second]) => second !== undefined && second !== first)
        })
      )
      assert.lengthOf(keepers, 1)
      assert.deepStrictEqual(keepersOf(), [])
    })
  )

  it.scopedLive("is not needed to run functions", () =>
    Effect.gen(function* () {
      const Add = Task.function("Add", { payload: { a: Schema.Int }, success: Schema.Int })
      const live = Add.toLayer(({ a }) => Effect.succeed(a + 1))
      const before = children()
      const sum = yield* ExecutionBackend.execute(Add.make({ a: 1 })).pipe(
        Effect.zipLeft(Effect.sync(() => assert.strictEqual(children(), before))),
        Effect.provide([ConcurrentBackend.layer(), live])
      )
      assert.strictEqual(sum, 2)
    })
  )

  it.scopedLive("that was asked for and cannot be is refused when the layer is built", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Effect.scoped(launchers.make({ ...auto, launcher: "agent", names: ["no-such"] }))
      )
      assert.instanceOf(error, ConfigurationError)
      assert.strictEqual(error.configKey, "launcher")
      const python = yield* Effect.flip(Effect.scoped(launchers.make({ ...auto, python: "/no/such/python" })))
      assert.strictEqual(python.configKey, "python")
      assert.match(python.message, /\/no\/such\/python.*ENOENT/)
    })
  )

  it.scopedLive("may be chosen by the environment, and discovery reports when it is not the agent", () =>
    Effect.gen(function* () {
      const found = (settings: object) =>
        BackendRegistry.discover().pipe(
          Effect.provide(BackendRegistry.layerDefault),
          Effect.withConfigProvider(ConfigProvider.fromJson(settings)),
          Effect.map(([concurrent]) => concurrent)
        )
      assert.deepStrictEqual(yield* found({}), { name: "concurrent", available: true })
      assert.match(
        JSON.stringify(yield* found({ RHAPSODY: { CONCURRENT: { PYTHON: "/no/such/python" } } })),
        /"available":true,"note":"launches through Node, slower and less exact: .*no\/such\/python/
      )
    })
  )
})
