// Wrong arguments of verbs, options and definitions: a typed error at once, which names the field.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Schema } from "effect"
import {
  ConcurrentBackend,
  ConfigurationError,
  ExecutionBackend,
  NoopBackend,
  Task,
  TaskDictionary
} from "effect-rhapsody"

const Program = Task.executable("Program", { command: () => ({ executable: "x" }) })
const throwing = Object.defineProperty({}, "timeout", {
  enumerable: true,
  get: () => {
    throw new Error("no")
  }
})
const revoked = Proxy.revocable({}, {})
revoked.revoke()
const cyclic: Record<string, unknown> = {}
cyclic["self"] = cyclic
const hostile: ReadonlyArray<unknown> = [
  null,
  true,
  7,
  Number.NaN,
  -1,
  1e308,
  "text",
  "\ud834",
  Symbol("s"),
  10n,
  () => {},
  [],
  {},
  cyclic,
  throwing,
  revoked.proxy,
  Object.create(null),
  Promise.resolve(1),
  new Map([["a", 1]]),
  new Date(),
  Uint8Array.of(1),
  /x/
]

const refused = (effect: Effect.Effect<unknown, unknown, any>) =>
  Effect.map(Effect.flip(Effect.provide(effect, NoopBackend.layer())), (error) => error as ConfigurationError)

describe("what is wrong is named", () => {
  const { awaitAll, cancel, submit, submitMany } = ExecutionBackend
  const cases: Record<string, readonly [key: string | undefined, Effect.Effect<unknown, unknown, any>]> = {
    "a timeout of awaitAll": ["timeout", awaitAll({ timeout: "nonsense" as never })],
    "a negative one": ["timeout", awaitAll({ timeout: -1 })],
    "one that is NaN": ["timeout", awaitAll({ timeout: Number.NaN })],
    "failFast that is no flag": ["failFast", awaitAll({ failFast: "yes" as never })],
    "an unknown option of awaitAll": ["timeOut", awaitAll({ timeOut: 1 } as never)],
    "a target that is none": ["target", cancel({} as never)],
    "no tasks": ["tasks", submitMany(7 as never)],
    "atomic that is no flag": ["atomic", submitMany([], { atomic: 1 } as never)],
    "retry that is a number": ["retry", submit(Program.make(undefined, { retry: 3 as never }))],
    "an unknown part of retry": ["retry.time", submit(Program.make(undefined, { retry: { time: 3 } as never }))],
    "an unknown option": ["timeOut", submit(Program.make(undefined, { timeOut: 3 } as never))],
    "an unknown resource": ["resources.gpu", submit(Program.make(undefined, { resources: { gpu: 1 } as never }))],
    "an unknown part of capture": ["capture.file", submit(Program.make(undefined, { capture: { file: "" } as never }))],
    "variables as text": ["env", submit(Program.make(undefined, { env: "A=1" as never }))],
    "variables as a Map": ["env", submit(Program.make(undefined, { env: new Map([["A", "1"]]) as never }))],
    "an option that throws": ["timeout", submit(Program.make(undefined, throwing as never))],
    "a definition without make": [undefined, submit(Program as never)]
  }
  for (const [what, [key, effect]] of Object.entries(cases)) {
    it.effect(what, () =>
      Effect.map(refused(effect), (error) => {
        assert.isTrue(error instanceof ConfigurationError, String(error))
        assert.strictEqual(error.configKey, key)
      })
    )
  }
  it.effect("a definition that is submitted, with the remedy", () =>
    Effect.map(refused(submit(Program as never)), ({ message }) => assert.include(message, "did you forget .make()?"))
  )

  it("a success schema that reads no text, settings of no backend: where they are written", () => {
    const success = Schema.Struct({ x: Schema.Number }) as never
    assert.throws(() => Task.executable("X", { success, command: () => ({ executable: "x" }) }), /Schema.parseJson/)
    for (const backend of [undefined, "", 7]) {
      assert.throws(() => Task.settings(backend as never, Schema.Struct({})), /the type of a backend's driver/)
    }
    for (const schema of [Schema.Literal("a", "b"), Schema.NumberFromString, Schema.Uint8ArrayFromSelf, Task.Output]) {
      Task.executable("X", { success: schema as typeof Schema.String, command: () => ({ executable: "x" }) })
    }
  })

  it.effect("settings take any duration, also one without end, and none that is negative", () =>
    Effect.gen(function* () {
      const { settings } = ConcurrentBackend
      const noop = NoopBackend.layer({ settings, answer: () => "" })
      for (const killGrace of ["5 seconds", 0, Duration.infinity, undefined] as const) {
        yield* Effect.provide(
          ExecutionBackend.execute(Program.make(undefined, { settings: settings({ killGrace }) })),
          noop
        )
      }
      for (const killGrace of [-1, Number.NaN, "-5 seconds" as const]) {
        const task = Program.make(undefined, { settings: settings({ killGrace }) })
        const error = yield* Effect.flip(Effect.provide(ExecutionBackend.submit(task), NoopBackend.layer({ settings })))
        assert.strictEqual((error as ConfigurationError).configKey, "settings.killGrace")
      }
    })
  )

  it.effect("__proto__ in a dictionary, which would be lost", () =>
    Effect.gen(function* () {
      for (const text of [
        '{"executable": "x", "env": {"__proto__": "1"}}',
        '{"function": "a:b", "kwargs": {"__proto__": {"x": 1}}}',
        '{"executable": "x", "task_backend_specific_kwargs": {"__proto__": {"x": 1}}}',
        '{"executable": "x", "task_backend_specific_kwargs": {"dask": {"resources": {"__proto__": 1}}}}'
      ]) {
        const error = yield* Effect.flip(TaskDictionary.decode(JSON.parse(text)))
        assert.include(error.message, "__proto__")
      }
    })
  )
})

describe("whatever is given ends typed, and never as a defect", () => {
  const typed = (effect: Effect.Effect<unknown, unknown, any>) =>
    Effect.map(Effect.exit(Effect.provide(effect, NoopBackend.layer())), (exit) => {
      if (Exit.isFailure(exit)) assert.isTrue(Cause.isFailType(exit.cause), Cause.pretty(exit.cause))
    })
  const keys = [
    "uid",
    "timeout",
    "priority",
    "retry",
    "resources",
    "capture",
    "cwd",
    "env",
    "prepare",
    "sandbox",
    "limits",
    "nice",
    "leftovers",
    "settings"
  ]
  const verbs: Record<string, (value: any) => Effect.Effect<unknown, unknown, any>> = {
    submit: (value) => ExecutionBackend.submit(value),
    execute: (value) => ExecutionBackend.execute(value),
    submitMany: (value) => ExecutionBackend.submitMany(value),
    "submitMany, its options": (value) => ExecutionBackend.submitMany([], value),
    cancel: (value) => ExecutionBackend.cancel(value),
    awaitAll: (value) => ExecutionBackend.awaitAll(value),
    "awaitAll, timeout": (timeout) => Effect.map(ExecutionBackend.awaitAll({ timeout }), () => undefined),
    onStateChange: (value) => Effect.scoped(ExecutionBackend.onStateChange(value)),
    taskState: (value) => ExecutionBackend.taskState(value),
    options: (value) => ExecutionBackend.submit(Program.make(undefined, value)),
    layer: (value) => Effect.provide(ExecutionBackend.state, NoopBackend.layer(value)),
    "layer of Concurrent": (value) => Effect.provide(ExecutionBackend.state, ConcurrentBackend.layer(value)),
    "layer, stopGrace": (stopGrace) => Effect.provide(ExecutionBackend.state, NoopBackend.layer({ stopGrace })),
    driver: (value) => Effect.scoped(ExecutionBackend.make(value)),
    command: (value) => ExecutionBackend.submit(Task.executable("X", { command: () => value }).make()),
    ...Object.fromEntries(
      keys.map((key) => [key, (value: unknown) => ExecutionBackend.submit(Program.make(undefined, { [key]: value }))])
    )
  }
  for (const [name, verb] of Object.entries(verbs)) {
    it.effect(name, () =>
      Effect.forEach(hostile, (value) => typed(Effect.suspend(() => verb(value))), { discard: true })
    )
  }
})
