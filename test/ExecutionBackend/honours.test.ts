// What a driver does not say it honours never reaches it: the library refuses it, by the name of the field.
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Backend, ConcurrentBackend, Driver, ExecutionBackend, NoopBackend, Task } from "effect-rhapsody"
import { ConfigurationError } from "effect-rhapsody/Errors"
import { honours as dask } from "../../src/internal/dask/driver.js"
import { ok } from "../support.js"

type Command = Omit<Task.Command, "executable">
const asking = (command: Command, options: Task.Options) =>
  Task.executable("Asking", { command: () => ({ executable: "program", ...command }) }).make(undefined, options)

/** What a program can ask for: by which option of the driver, in which field. */
const asked: Record<string, readonly [Driver.HonouredOption, key: string, task: Task.Instance<any, never, any>]> = {
  "a directory": ["cwd", "cwd", asking({}, { cwd: "/" })],
  "a directory, by its command": ["cwd", "cwd", asking({ cwd: "/" }, {})],
  "a variable": ["env", "env", asking({}, { env: { A: "1" } })],
  "a variable, by its command": ["env", "env", asking({ env: { A: "1" } }, {})],
  "a variable that is removed": ["env", "env", asking({}, { env: { A: undefined } })],
  "input of text": ["stdin", "stdin", asking({ stdin: "text" }, {})],
  "input of bytes": ["stdin", "stdin", asking({ stdin: new Uint8Array() }, {})],
  "input from a file": ["stdinFile", "stdin.file", asking({ stdin: { file: "f" } }, {})],
  "output to a file": ["captureFiles", "capture.stdout", asking({}, { capture: { stdout: "f" } })],
  "standard error to a file": ["captureFiles", "capture.stderr", asking({}, { capture: { stderr: "f" } })],
  "one stream of two": ["mergeStderr", "capture.mergeStderr", asking({}, { capture: { mergeStderr: true } })],
  "a part of its output": ["overflow", "capture.overflow", asking({}, { capture: { overflow: "truncate" } })],
  "less output": ["overflow", "capture.limit", asking({}, { capture: { limit: 10 } })],
  "output as it comes": ["onChunk", "capture.onChunk", asking({}, { capture: { onChunk: () => Effect.void } })],
  preparation: ["preExec", "preExec", asking({}, { preExec: ["true"] })],
  "a directory of its own": ["sandbox", "sandbox", asking({}, { sandbox: true })],
  limits: ["rlimits", "rlimits", asking({}, { rlimits: { cpuSeconds: 1 } })],
  niceness: ["nice", "nice", asking({}, { nice: 1 })],
  "what stays behind": ["orphans", "orphans", asking({}, { orphans: "detach" })],
  "a GPU": ["gpus", "resources.gpus", asking({}, { resources: { gpus: 1 } })],
  ranks: ["ranks", "resources.ranks", asking({}, { resources: { ranks: 2 } })],
  nodes: ["nodes", "resources.nodes", asking({}, { resources: { nodes: 2 } })]
}

const honouring = (honours?: ReadonlyArray<Driver.HonouredOption>) =>
  Backend.layer({ type: "mine", kinds: ["executable"], concurrency: 1, honours, run: () => ok })

const refusal = (task: Task.Instance<any, any, any>) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(ExecutionBackend.submit(task))
    assert.isTrue(error instanceof ConfigurationError)
    assert.deepStrictEqual([...(yield* ExecutionBackend.taskStates)], [])
    return error as ConfigurationError
  })

describe("what a driver does not honour", () => {
  for (const [what, [option, key, task]] of Object.entries(asked)) {
    it.effect(`is refused by its field: ${what}`, () =>
      Effect.gen(function* () {
        const others = Driver.everyOption.filter((other) => other !== option)
        for (const honours of [undefined, [], others]) {
          const error = yield* Effect.provide(refusal(task), honouring(honours))
          assert.deepStrictEqual([error.reason, error.configKey], ["UnsupportedOption", key])
          assert.include(error.message, "backend mine does not honour it")
        }
        assert.strictEqual(yield* Effect.provide(ExecutionBackend.execute(task), honouring([option])), "ok")
      })
    )
  }

  it.effect("is let through where it asks for nothing, or the work is the same without it", () =>
    Effect.gen(function* () {
      const same: ReadonlyArray<Task.Options> = [
        { cwd: undefined as never, env: {}, capture: {}, preExec: [], sandbox: false, rlimits: {}, nice: 0 },
        { orphans: "kill", capture: { mergeStderr: false, overflow: "fail", limit: 64 * 1024 * 1024 } },
        { resources: { cores: 8, memory: 1e9, walltime: "1 hour", gpus: 0, ranks: 1, nodes: 1 } },
        { timeout: "1 hour", priority: 3, retry: { times: 1 }, uid: "x" }
      ]
      for (const options of same) assert.strictEqual(yield* ExecutionBackend.execute(asking({}, options)), "ok")
    }).pipe(Effect.provide(honouring()))
  )

  it.effect("is an option of that name, or the driver is refused", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(honouring(["cwd", "directory" as never]))))
      assert.strictEqual(error.configKey, "honours")
      assert.include(error.message, "directory")
    })
  )
})

it("the table of the guide says what the drivers say", () => {
  const guide = fs.readFileSync(path.join(import.meta.dirname, "../../examples/README.md"), "utf8")
  const noop = NoopBackend.driver().honours!
  return Effect.runPromise(
    Effect.map(Effect.scoped(ConcurrentBackend.driver({ launcher: "node" })), ({ honours }) => {
      const drivers = [honours!, dask, noop, []]
      for (const name of Driver.resourceOptions) {
        const row = guide.split("\n").find((line) => line.startsWith("| `resources.") && line.includes(`.${name}\``))!
        const cells = row.split("|").slice(2, -1)
        const said = cells.map((cell) => !/^ (ignored|refused)/.test(cell))
        const driven = drivers.map((all) => all.includes(name))
        assert.deepStrictEqual(said, driven, name)
      }
      for (const all of [honours!, dask, noop]) assert.includeMembers([...all], [...Driver.programOptions])
    })
  )
})

describe("an option of programs", () => {
  const schemas = { success: Schema.Unknown }
  const others: Record<string, { readonly make: (payload: void, options: Task.Options) => any }> = {
    function: Task.function("Mine", schemas),
    worker: Task.worker("Mine", { ...schemas, module: new URL("file:///a.js"), export: "a" }),
    python: Task.python("Mine", { ...schemas, callable: "a:a" })
  }
  const options: ReadonlyArray<readonly [string, Task.Options]> = [
    ["cwd", { cwd: "/" }],
    ["env", { env: { A: "1" } }],
    ["env", { env: { A: new Uint8Array() } }],
    ["env", { env: { A: undefined } }],
    ["capture", { capture: { limit: 1 } }],
    ["capture", { capture: { mergeStderr: true } }],
    ["preExec", { preExec: ["true"] }],
    ["sandbox", { sandbox: true }],
    ["rlimits", { rlimits: { openFiles: 0 } }],
    ["nice", { nice: 1 }],
    ["orphans", { orphans: "detach" }]
  ]
  for (const [kind, task] of Object.entries(others)) {
    it.effect(`is refused for a ${kind}`, () =>
      Effect.gen(function* () {
        for (const [key, option] of options) {
          const error = yield* refusal(task.make(undefined, option))
          assert.deepStrictEqual([error.reason, error.configKey], ["UnsupportedOption", key])
          assert.include(error.message, `is for programs, and task Mine is of kind ${kind}`)
        }
        const nothing = { env: {}, capture: {}, preExec: [], sandbox: false, rlimits: {}, nice: 0 }
        yield* ExecutionBackend.execute(task.make(undefined, nothing))
      }).pipe(Effect.provide(NoopBackend.layer()))
    )
  }
  it.effect("of a definition is refused too", () =>
    Effect.gen(function* () {
      const error = yield* refusal(Task.function("Mine", { env: { A: "1" } }).make())
      assert.deepStrictEqual([error.reason, error.configKey], ["UnsupportedOption", "env"])
    }).pipe(Effect.provide(NoopBackend.layer()))
  )
})
