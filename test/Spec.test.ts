// Specs, outcomes, updates and keys of attempts are data: what is written as JSON is read as it was.
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, FastCheck as fc, Redacted, Schema } from "effect"
import type { Kind } from "effect-rhapsody"
import { Backend, ConcurrentBackend, DaskBackend, Driver, ExecutionBackend, Task } from "effect-rhapsody"
import { BackendError, isRhapsodyError, RhapsodyError, TaskError } from "effect-rhapsody/Errors"
import { Data } from "../src/internal/plain.js"
import { ok } from "./support.js"

const throughJson = <A, I>(schema: Schema.Schema<A, I>) => {
  const text = Schema.parseJson(schema)
  const [encode, decode] = [Schema.encodeSync(text), Schema.decodeSync(text)]
  return { encode, decode, both: (value: A): A => decode(encode(value)) }
}

/** By values alone: a field that is undefined is as good as absent, -0 as 0, and errors are compared as JSON. */
const plain = (value: unknown): unknown => {
  if (value === 0) return 0
  if (typeof value !== "object" || value === null) return value
  if (value instanceof Uint8Array) return ["bytes", ...value]
  if (value instanceof RegExp || value instanceof URL) return String(value)
  if (isRhapsodyError(value)) return JSON.stringify(Schema.encodeSync(RhapsodyError)(value))
  if (Array.isArray(value)) return Array.from(value, plain)
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) => (inner === undefined ? [] : [[key, plain(inner)]]))
  )
}

/** Every value is read as it was written, and written as it was read. */
const same = <A, I>(schema: Schema.Schema<A, I>, values: fc.Arbitrary<A> = Arbitrary.make(schema)) => {
  const { both, decode, encode } = throughJson(schema)
  fc.assert(
    fc.property(values, (value) => {
      const text = encode(value)
      assert.deepStrictEqual(plain(both(value)), plain(value))
      assert.strictEqual(encode(decode(text)), text)
    }),
    { numRuns: 200 }
  )
}

const kinds: ReadonlyArray<Kind.Kind> = ["executable", "function", "worker", "python", "service"]

describe("as JSON", () => {
  for (const kind of kinds) {
    it(`the spec of a task of kind ${kind} is read as it was`, () => same(Driver.specSchema({ kinds: [kind] })))
  }
  it("any spec is read as it was", () => same(Driver.Spec))
  it("the key of an attempt is read as it was", () => same(Driver.AttemptKey))
  it("how a program ended is read as it was", () => same(Driver.ProcessExit))

  const errors = fc.oneof(Arbitrary.make(TaskError), Arbitrary.make(BackendError))
  const nested = errors.map(
    (error): Driver.Outcome => ({ _tag: "NestedFailure", error: Schema.encodeSync(RhapsodyError)(error) })
  )
  const others = Arbitrary.make(Driver.Outcome).filter(({ _tag }) => _tag !== "NestedFailure")
  it("an outcome is read as it was", () => same(Driver.Outcome, fc.oneof(others, nested)))
  it("an update is read as it was", () =>
    same(
      Driver.Update,
      Arbitrary.make(Driver.Update).filter(
        (update) => update._tag !== "Ended" || update.outcome._tag !== "NestedFailure"
      )
    ))

  it("encoded data is read as it was: bytes, numbers that JSON has no word for, and objects that look marked", () => {
    const { both } = throughJson(Schema.Struct({ value: Data }))
    const values = [
      Uint8Array.of(0, 255),
      [undefined, null],
      { a: undefined, "~": "bytes" },
      { "~": "object", value: { "~": 1 } },
      [-0, Number.NaN, Infinity, -Infinity, 1e300],
      2n ** 80n,
      "\ud800",
      JSON.parse('{"__proto__": 1}')
    ]
    for (const value of values) assert.deepStrictEqual(both({ value }), { value })
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withNullPrototype: true }), (value) => {
        assert.deepStrictEqual(both({ value }), { value })
      })
    )
  })

  it("what JSON would change is refused, with what it is", () => {
    const { encode } = throughJson(Driver.Outcome)
    const cyclic: Record<string, unknown> = {}
    cyclic["self"] = cyclic
    for (const [value, what] of [
      [new Date(0), /an object of a class/],
      [() => 1, /a function/],
      [Symbol(), /a symbol/],
      [cyclic, /nested too deeply/]
    ] as const) {
      assert.throws(() => encode(Driver.Outcome.success({ value })), what)
    }
  })

  it("an error shows as text what is not data", () => {
    const error = new TaskError({ taskUid: "u", task: "T", reason: "Defect", details: { at: new URL("a:b"), big: 7n } })
    const { both } = throughJson(RhapsodyError)
    assert.deepStrictEqual(both(error).details, { at: "a:b", big: 7n })
  })
})

describe("the specs of a driver", () => {
  it("are of its own kinds: another does not decode", () => {
    const { decode } = throughJson(Driver.specSchema({ kinds: ["executable"] }))
    const { encode } = throughJson(Driver.Spec)
    const [python] = fc.sample(Arbitrary.make(Driver.specSchema({ kinds: ["python"] })), 1)
    assert.throws(() => decode(encode(python!)), /"executable"/)
  })

  /** The spec that a driver gets. */
  const specOf = (settings: Task.SettingsConstructor<never>, options: Task.Options, env: Task.Env = {}) =>
    Effect.gen(function* () {
      let seen: Driver.Attempt<"executable"> | undefined
      const driver: Driver.SlotDriver<"executable"> = {
        type: settings.backend,
        kinds: ["executable"],
        concurrency: 1,
        honours: Driver.everyOption,
        settings,
        run: (spec, hooks) => {
          seen = { spec, hooks }
          return ok
        }
      }
      const Program = Task.executable("Program", { command: () => ({ executable: "program", env }) })
      yield* Effect.provide(ExecutionBackend.execute(Program.make(undefined, options)), Backend.layer(driver))
      return { driver, ...seen! }
    })

  it.effect("carry settings as they are given, durations as milliseconds", () =>
    Effect.gen(function* () {
      const forceKillAfter = "2 seconds"
      const concurrent = yield* specOf(ConcurrentBackend.settings, {
        settings: ConcurrentBackend.settings({ forceKillAfter }),
        resources: { cores: 2, walltime: "1 hour" }
      })
      const { both, encode } = throughJson(Driver.specSchema(concurrent.driver))
      assert.deepStrictEqual(both(concurrent.spec), concurrent.spec)
      const written = JSON.parse(encode(concurrent.spec))
      assert.deepStrictEqual(written.settings, { forceKillAfter: 2000 })
      assert.deepStrictEqual(written.resources, { cores: 2, walltime: 3_600_000 })

      const dask = yield* specOf(DaskBackend.settings, { settings: DaskBackend.settings({ workers: [0, "a"] }) })
      const read = throughJson(Driver.specSchema(dask.driver)).both(dask.spec)
      assert.deepStrictEqual(read, dask.spec)
    })
  )

  it.effect("have a secret variable by its name; its value is in the hooks, and is encoded only when asked for", () =>
    Effect.gen(function* () {
      const secret = Redacted.make("hunter2")
      const env = { TOKEN: secret, GONE: undefined, BYTES: Uint8Array.of(255), ["__proto__"]: "kept" }
      const { driver, hooks, spec } = yield* specOf(ConcurrentBackend.settings, {}, env)
      const { both, encode } = throughJson(Driver.specSchema(driver))
      assert.deepStrictEqual(Object.entries(both(spec).work.env), [
        ["TOKEN", { _tag: "Secret" }],
        ["GONE", undefined],
        ["BYTES", Uint8Array.of(255)],
        ["__proto__", "kept"]
      ])
      assert.notInclude(encode(spec), "hunter2")
      assert.notInclude(JSON.stringify(spec), "hunter2")
      const secrets = throughJson(Driver.Secrets)
      assert.strictEqual(secrets.encode(hooks.secrets), '[["TOKEN","hunter2"]]')
      assert.strictEqual(Redacted.value(secrets.both(hooks.secrets).get("TOKEN")!), "hunter2")
    })
  )
})
