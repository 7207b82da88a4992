// What was given may be changed as soon as a task is accepted: a queued task runs with what was given.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { Driver, ExecutionBackend, Task } from "effect-rhapsody"
import { executables, functions, held } from "../support.js"

type Executable = Driver.Executable

/** What the driver is given for a task that was queued while everything of it was changed. */
const queued = (task: Task.Instance<any, any, any>, change: () => void) =>
  Effect.gen(function* () {
    const first = yield* held
    let seen: Driver.Spec | undefined
    const layer = executables((spec) => {
      if (spec.uid === "first") return first.run
      seen = spec
      return Effect.succeed(Driver.Outcome.exited({ exitCode: 0, stdout: "" }))
    })
    yield* Effect.gen(function* () {
      yield* ExecutionBackend.submit(
        Task.executable("First", { command: () => ({ executable: "a" }) }).make(undefined, { uid: "first" })
      )
      yield* first.started
      const fiber = yield* ExecutionBackend.submit(task)
      change()
      yield* first.release
      yield* Fiber.await(fiber)
    }).pipe(Effect.provide(layer))
    return seen!
  })

describe("a queued task keeps", () => {
  it.effect("its arguments, input and variables", () =>
    Effect.gen(function* () {
      const args: Array<Task.Text> = ["a", Uint8Array.of(1), "c"]
      const stdin = Uint8Array.of(1, 2, 3)
      const own: Record<string, string | Uint8Array> = { A: "own", BYTES: Uint8Array.of(1) }
      const env: Record<string, string> = { B: "option" }
      const Program = Task.executable("Program", { command: () => ({ executable: "x", args, stdin, env: own }) })
      const { work } = yield* queued(Program.make(undefined, { env }), () => {
        ;(args[1] as Uint8Array)[0] = 9
        ;(own["BYTES"] as Uint8Array)[0] = 9
        args.length = 1
        stdin.fill(9)
        own["A"] = env["B"] = env["C"] = "changed"
      })
      const { args: kept, env: variables, stdin: input } = work as Executable
      assert.deepStrictEqual(kept, ["a", Uint8Array.of(1), "c"])
      assert.deepStrictEqual(input, Uint8Array.of(1, 2, 3))
      assert.deepStrictEqual(variables, { A: "own", BYTES: Uint8Array.of(1), B: "option" })
    })
  )

  it.effect("input that is long, also where the same bytes are given again", () =>
    Effect.gen(function* () {
      const stdin = Buffer.alloc(1 << 20, 1)
      const Program = Task.executable("Program", { command: () => ({ executable: "x", stdin }) })
      const one = yield* queued(Program.make(), () => void stdin.fill(2))
      const two = yield* queued(Program.make(), () => {})
      const three = yield* queued(Program.make(), () => void stdin.fill(3))
      const inputs = [one, two, three].map(({ work }) => (work as Executable).stdin as Uint8Array)
      assert.deepStrictEqual(
        inputs.map((bytes) => [bytes.length, ...new Set(bytes)]),
        [
          [1 << 20, 1],
          [1 << 20, 2],
          [1 << 20, 2]
        ]
      )
      // and is there once for all tasks that were given it
      assert.strictEqual(inputs[1], inputs[2])
    })
  )

  it.effect("its options", () =>
    Effect.gen(function* () {
      const capture = { limit: 10, stdout: "a" }
      const prepare = ["true"]
      const limits = { openFiles: 64 }
      const resources = { cores: 2 }
      const retry = { times: 0 }
      const Program = Task.executable("Program", { command: () => ({ executable: "x", stdin: file }) })
      const file = { file: "a" }
      const task = Program.make(undefined, { capture, preExec: prepare, rlimits: limits, resources, retry })
      const spec = yield* queued(task, () => {
        capture.limit = 1
        capture.stdout = file.file = "b"
        prepare.push("false")
        limits.openFiles = 1
        resources.cores = 1
        retry.times = 9
      })
      const program = spec.work as Executable
      assert.deepInclude(program.capture, { limit: 10, stdout: "a" })
      assert.deepStrictEqual(
        [program.preExec, program.rlimits, spec.resources],
        [["true"], { openFiles: 64 }, { cores: 2 }]
      )
      assert.deepStrictEqual(program.stdin, { file: "a" })
    })
  )

  it.effect("its payload, also what its schema passes on as it is", () =>
    Effect.gen(function* () {
      const Keep = Task.function("Keep", {
        payload: {
          list: Schema.Array(Schema.Number),
          any: Schema.Unknown,
          bytes: Schema.Uint8ArrayFromSelf,
          nested: Schema.Struct({ any: Schema.Any })
        },
        success: Schema.Unknown
      })
      const gate = yield* held
      const live = Keep.toLayer((payload) => Effect.as(gate.run, payload))
      const ring: Record<string, unknown> = { name: "ring" }
      ring["self"] = [ring, ring]
      const own = new Map([["a", 1]])
      const payload = { list: [1], any: { deep: [{ x: 1 }], ring, own }, bytes: Uint8Array.of(1), nested: { any: [1] } }
      const result = yield* Effect.gen(function* () {
        const first = yield* ExecutionBackend.submit(
          Keep.make({ list: [], any: 0, bytes: Uint8Array.of(), nested: { any: 0 } })
        )
        yield* gate.started
        const fiber = yield* ExecutionBackend.submit(Keep.make(payload))
        payload.list.push(2)
        payload.any.deep[0]!.x = 2
        payload.any.deep.push({ x: 3 })
        ring["name"] = "changed"
        payload.bytes[0] = 2
        payload.nested.any.push(2)
        yield* gate.release
        yield* Fiber.join(first)
        return (yield* Fiber.join(fiber)) as any
      }).pipe(Effect.provide([functions(1), live]))
      assert.deepStrictEqual(result.list, [1])
      assert.deepStrictEqual(result.any.deep, [{ x: 1 }])
      assert.deepStrictEqual(result.bytes, Uint8Array.of(1))
      assert.deepStrictEqual(result.nested, { any: [1] })
      assert.strictEqual(result.any.ring.name, "ring")
      assert.strictEqual(result.any.ring.self[1], result.any.ring)
      // what has a class of its own is the caller's
      assert.strictEqual(result.any.own, own)
    })
  )

  it.effect("its settings", () =>
    Effect.gen(function* () {
      const settings = Task.settings("mine", Schema.Struct({ hosts: Schema.Array(Schema.String), any: Schema.Unknown }))
      const values = { hosts: ["a"], any: { x: 1 } }
      const gate = yield* held
      let seen: unknown
      const layer = executables(
        (spec) => {
          seen = spec.settings
          return gate.run
        },
        { type: "mine", settings }
      )
      const Program = Task.executable("Program", { command: () => ({ executable: "x" }) })
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.submit(Program.make())
        yield* gate.started
        const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { settings: settings(values) }))
        values.hosts.push("b")
        values.any.x = 2
        yield* gate.release
        yield* Fiber.join(fiber)
      }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(seen, { hosts: ["a"], any: { x: 1 } })
    })
  )
})

it.effect("what a definition is made with may be changed, too", () =>
  Effect.gen(function* () {
    const exitCodes = [0, 3]
    const Program = Task.executable("Program", {
      exitCodes,
      success: Task.Output,
      command: () => ({ executable: "x" })
    })
    const path = ["a"]
    const Python = Task.python("Python", { callable: "a:b", path })
    exitCodes.length = 0
    path.push("b")
    assert.deepStrictEqual((Python.implementation as any).path, ["a"])
    const exit = Effect.succeed(Driver.Outcome.exited({ exitCode: 3 }))
    const { exitCode } = yield* Effect.provide(
      ExecutionBackend.execute(Program.make()),
      executables(() => exit)
    )
    assert.strictEqual(exitCode, 3)
  })
)
