import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Schema } from "effect"
import { Driver, ExecutionBackend, Task } from "effect-rhapsody"
import { ConfigurationError } from "effect-rhapsody/Errors"
import { executables, functions } from "./support.js"

describe("definitions", () => {
  it("are plain values that say what they are", () => {
    const kinds = [
      Task.executable("A", { command: () => ({ executable: "a" }) }),
      Task.function("B"),
      Task.worker("C", { module: new URL("file:///c.js"), export: "c" }),
      Task.python("D", { callable: "d:d" }),
      Task.service("E", { command: () => ({ executable: "e" }), ready: /e/ })
    ].map(({ kind, name }) => `${name} ${kind}`)
    assert.deepStrictEqual(kinds, ["A executable", "B function", "C worker", "D python", "E service"])
  })

  it("refuse an error schema with a tag of ours, alone or in a union", () => {
    class Own extends Schema.TaggedError<Own>()("Own", {}) {}
    class Taken extends Schema.TaggedError<Taken>("Taken")("TaskError", {}) {}
    const define = (error: Schema.Schema.All) => Task.function("F", { error: error as any })
    for (const error of [
      Taken,
      Schema.Union(Own, Taken),
      Schema.Union(Own, Schema.Struct({ _tag: Schema.Literal("BackendError", "Other") })),
      Schema.TaggedStruct("ConfigurationError", {})
    ]) {
      assert.throws(() => define(error), ConfigurationError, /rename your error/)
    }
    assert.doesNotThrow(() => define(Schema.Union(Own, Schema.String)))
    // @ts-expect-error and it does not compile
    assert.throws(() => Task.function("F", { error: Taken }), ConfigurationError)
  })

  it.effect("may refer to themselves: schemas are compiled when they are first needed", () => {
    interface Tree {
      readonly children: ReadonlyArray<Tree>
    }
    const Tree = Schema.Struct({ children: Schema.Array(Schema.suspend((): Schema.Schema<Tree> => Tree)) })
    const Size = Task.function("Size", { payload: { tree: Tree }, success: Schema.Int })
    const size = (tree: Tree): number => 1 + tree.children.reduce((sum, child) => sum + size(child), 0)
    return Effect.gen(function* () {
      const leaf = { children: [] }
      assert.strictEqual(
        yield* ExecutionBackend.execute(Size.make({ tree: { children: [leaf, { children: [leaf] }] } })),
        4
      )
    }).pipe(Effect.provide([functions(1), Size.toLayer(({ tree }) => Effect.succeed(size(tree)))]))
  })

  it.effect("with asynchronous schemas work", () => {
    const Slow = Schema.transformOrFail(Schema.String, Schema.Number, {
      decode: (text) => Effect.delay(Effect.succeed(Number(text)), "0 millis"),
      encode: (n) => Effect.delay(Effect.succeed(String(n)), "0 millis")
    })
    const Double = Task.function("Double", { payload: { n: Slow }, success: Slow })
    return Effect.gen(function* () {
      assert.strictEqual(yield* ExecutionBackend.execute(Double.make({ n: 21 })), 42)
    }).pipe(Effect.provide([functions(1), Double.toLayer(({ n }) => Effect.succeed(n * 2))]), Effect.withClock(live))
  })

  it.effect("a handler gets what its layer was given, and knows its attempt", () => {
    const Info = Task.function("Info", { success: Schema.String })
    class Greeting extends Effect.Service<Greeting>()("Greeting", { succeed: { word: "hello" } }) {}
    const handler = Info.toLayer((_, { attempt, uid }) =>
      Effect.map(Greeting, ({ word }) => `${word} ${uid} ${attempt}`)
    )
    return Effect.gen(function* () {
      assert.strictEqual(yield* ExecutionBackend.execute(Info.make(undefined, { uid: "me" })), "hello me 1")
    }).pipe(Effect.provide(Layer.merge(functions(1), Layer.provide(handler, Greeting.Default))))
  })

  it("instance options win over the definition's", () => {
    const Both = Task.function("Both", { timeout: "1 minute", priority: 3, env: { A: "1", B: "1" } })
    const { options } = Both.make(undefined, { timeout: "2 minutes", env: { B: "2" }, uid: "x" })
    assert.deepStrictEqual(options, { timeout: "2 minutes", priority: 3, env: { A: "1", B: "2" }, uid: "x" })
    assert.deepStrictEqual(Both.make().options, { timeout: "1 minute", priority: 3, env: { A: "1", B: "1" } })
  })
})

const live = await Effect.runPromise(Effect.clock)

describe("results of a program", () => {
  const result = <T extends Task.Instance<any, any, any>>(instance: T, exit: Driver.ProcessExit) =>
    ExecutionBackend.execute(instance).pipe(
      Effect.provide(executables(() => Effect.succeed(Driver.Outcome.exited(exit))))
    ) as Effect.Effect<T["Success"], unknown>
  const command = () => ({ executable: "x" })
  const bytes = new Uint8Array([0, 255, 10])

  it.effect("text by default, decoded by a schema from text, bytes by a schema from bytes", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* result(Task.executable("T", { command }).make(), { stdout: " a\n" }), " a\n")
      const N = Task.executable("N", { success: Schema.NumberFromString, command })
      assert.strictEqual(yield* result(N.make(), { stdout: "12" }), 12)
      const Json = Task.executable("J", { success: Schema.parseJson(Schema.Struct({ e: Schema.Number })), command })
      assert.deepStrictEqual(yield* result(Json.make(), { stdout: '{"e":1}' }), { e: 1 })
      const B = Task.executable("B", { success: Schema.Uint8ArrayFromSelf, command })
      assert.deepStrictEqual(yield* result(B.make(), { stdout: bytes }), bytes)
      assert.strictEqual(yield* result(Task.executable("U", { command }).make(), { stdout: bytes }), "\0\ufffd\n")
    })
  )

  it.effect("Task.Output for everything that is known", () =>
    Effect.gen(function* () {
      const Out = Task.executable("O", { success: Task.Output, exitCodes: [0, 1], command })
      const output = yield* result(Out.make(), { exitCode: 1, stdout: bytes, stderr: "e", wallMillis: 5 })
      assert.instanceOf(output, Task.Output)
      assert.deepStrictEqual(
        [output.exitCode, output.stdoutBytes, output.stderr, output.wallMillis],
        [1, bytes, "e", 5]
      )
      const wrong = yield* Effect.flip(result(Out.make(), { exitCode: 2 }))
      assert.strictEqual((wrong as any).exitCode, 2)
    })
  )

  it("durations of a definition are what Duration takes", () => {
    const F = Task.function("F", { timeout: Duration.seconds(3) })
    assert.isTrue(Duration.isDuration(F.options.timeout))
  })
})
