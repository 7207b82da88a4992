// Wrong arguments of verbs, options and definitions: a typed error at once, which names the field.
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Cause, Duration, Effect, Exit, FastCheck, Layer, Schema, Stream } from "effect"
import {
  Backend,
  BackendRegistry,
  ConcurrentBackend,
  ExecutionBackend,
  NoopBackend,
  Task,
  TaskDictionary
} from "effect-rhapsody"
import { ConfigurationError, isConfigurationError, isRhapsodyError } from "effect-rhapsody/Errors"

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
      for (const forceKillAfter of ["5 seconds", 0, Duration.infinity, undefined] as const) {
        yield* Effect.provide(
          ExecutionBackend.execute(Program.make(undefined, { settings: settings({ forceKillAfter }) })),
          noop
        )
      }
      for (const forceKillAfter of [-1, Number.NaN, "-5 seconds" as const]) {
        const task = Program.make(undefined, { settings: settings({ forceKillAfter }) })
        const error = yield* Effect.flip(Effect.provide(ExecutionBackend.submit(task), NoopBackend.layer({ settings })))
        assert.strictEqual((error as ConfigurationError).configKey, "settings.forceKillAfter")
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

  it.effect("__proto__ in a record of a payload or of settings, which would be lost", () =>
    Effect.gen(function* () {
      const given = JSON.parse('{"__proto__": {"x": 1}}')
      const fields = { map: Schema.Record({ key: Schema.String, value: Schema.Unknown }) }
      const Mapped = Task.executable("Mapped", { payload: fields, command: () => ({ executable: "x" }) })
      const settings = Task.settings("own", Schema.Struct(fields))
      const tasks = {
        payload: Mapped.make({ map: given }),
        settings: Mapped.make({ map: {} }, { settings: settings({ map: given }) })
      }
      for (const [key, task] of Object.entries(tasks)) {
        const error = yield* Effect.flip(Effect.provide(ExecutionBackend.submit(task), NoopBackend.layer({ settings })))
        assert.isTrue(isConfigurationError(error), String(error))
        assert.strictEqual((error as ConfigurationError).configKey, key)
        if (key === "payload") assert.include(error.message, "__proto__")
      }
    })
  )

  it.effect("settings in a dictionary that contain themselves", () =>
    Effect.gen(function* () {
      const dictionary = { executable: "x", task_backend_specific_kwargs: { dask: cyclic } }
      const error = yield* Effect.flip(TaskDictionary.decode(dictionary))
      assert.strictEqual(error.configKey, "task_backend_specific_kwargs")
      assert.include(error.message, "must not contain itself")
      const twice = { resources: { A: 1 } }
      yield* TaskDictionary.decode({ executable: "x", task_backend_specific_kwargs: { dask: { a: twice, b: twice } } })
    })
  )
})

describe("a definition that could never run throws where it is written", () => {
  const command = () => ({ executable: "x" })
  const wrong: Record<string, readonly [key: string, definition: () => unknown]> = {
    "no name": ["name", () => Task.executable("", { command })],
    "no command": ["command", () => Task.executable("X", {} as never)],
    "exit codes that are no array": ["exitCodes", () => Task.executable("X", { command, exitCodes: 3 as never })],
    "an exit code that is no number": [
      "exitCodes[1]",
      () => Task.executable("X", { command, exitCodes: [0, "1"] as never })
    ],
    "a failure that is no function": ["failure", () => Task.executable("X", { command, failure: 1 as never })],
    "a field that is no schema": ["payload.a", () => Task.function("X", { payload: { a: Number as never } })],
    "an error that is no schema": ["error", () => Task.function("X", { error: Error as never })],
    "no callable": ["callable", () => Task.python("X", { callable: "f" as never })],
    "an unknown call": ["call", () => Task.python("X", { callable: "m:f", call: "kw" as never })],
    "a path that is no array": ["path", () => Task.python("X", { callable: "m:f", path: "lib" as never })],
    "a module that is text": ["module", () => Task.worker("X", { module: "./w.js" as never, export: "f" })],
    "ready that is text": ["ready", () => Task.service("X", { command, ready: "up" as never })],
    "an option that throws": ["timeout", () => Task.executable("X", throwing as never)]
  }
  for (const [what, [key, definition]] of Object.entries(wrong)) {
    it(what, () => {
      try {
        definition()
      } catch (error) {
        assert.isTrue(isConfigurationError(error), String(error))
        return assert.strictEqual((error as ConfigurationError).configKey, key)
      }
      assert.fail("it was made")
    })
  }
})

describe("whatever is given ends typed, and never as a defect", () => {
  const keys = [
    "uid",
    "timeout",
    "priority",
    "retry",
    "resources",
    "capture",
    "cwd",
    "env",
    "preExec",
    "sandbox",
    "rlimits",
    "nice",
    "orphans",
    "settings"
  ]
  type Use = (value: any) => Effect.Effect<unknown, unknown, any>
  const each = (prefix: string, names: ReadonlyArray<string>, use: (name: string, value: unknown) => ReturnType<Use>) =>
    Object.fromEntries(names.map((name): [string, Use] => [`${prefix} ${name}`, (value) => use(name, value)]))

  const command = () => ({ executable: "x" })
  /** Of each kind, what is right: one field is wrong. */
  const definitions: Record<string, readonly [make: Use, right: object, fields: ReadonlyArray<string>]> = {
    executable: [
      (options) => ExecutionBackend.execute(Task.executable("X", options).make()),
      { command, success: Task.Output },
      ["command", "failure", "exitCodes"]
    ],
    function: [(options) => ExecutionBackend.execute(Task.function("X", options).make()), {}, []],
    python: [
      (options) => ExecutionBackend.execute(Task.python("X", options).make()),
      { callable: "m:f" },
      ["callable", "call", "path", "failure"]
    ],
    worker: [
      (options) => ExecutionBackend.execute(Task.worker("X", options).make()),
      { module: new URL("file:///x.js"), export: "f" },
      ["module", "export"]
    ],
    service: [
      (options) => ExecutionBackend.start(Task.service("X", options).make()),
      { command, ready: /x/ },
      ["command", "ready", "info"]
    ]
  }
  const slots = { type: "x", kinds: ["executable"], concurrency: 1, run: () => Effect.never }
  const batch = {
    type: "x",
    kinds: ["executable"],
    submit: () => Effect.void,
    cancel: () => Effect.void,
    updates: Stream.never
  }
  const common = [
    "type",
    "kinds",
    "honours",
    "check",
    "handler",
    "cancelable",
    "stopTimeout",
    "serve",
    "lost",
    "boundedStop"
  ]
  const echo = { name: "echo", layer: () => NoopBackend.layer() }
  const { discover, layer: get, register } = BackendRegistry
  const inRegistry = (effect: Effect.Effect<unknown, unknown, any>) =>
    Effect.scoped(Effect.provide(effect, BackendRegistry.layerEntries(BackendRegistry.backends[2]!)))

  const verbs: Record<string, Use> = {
    submit: (value) => ExecutionBackend.submit(value),
    submitScoped: (value) => Effect.scoped(ExecutionBackend.submitScoped(value)),
    execute: (value) => ExecutionBackend.execute(value),
    start: (value) => Effect.scoped(ExecutionBackend.start(value)),
    submitMany: (value) => ExecutionBackend.submitMany(value),
    "submitMany, its options": (value) => ExecutionBackend.submitMany([], value),
    cancel: (value) => ExecutionBackend.cancel(value),
    awaitAll: (value) => ExecutionBackend.awaitAll(value),
    "awaitAll, timeout": (timeout) => Effect.map(ExecutionBackend.awaitAll({ timeout }), () => undefined),
    onStateChange: (value) => Effect.scoped(ExecutionBackend.onStateChange(value)),
    taskState: (value) => ExecutionBackend.taskState(value),
    dictionary: (value) => TaskDictionary.decode(value),
    options: (value) => ExecutionBackend.submit(Program.make(undefined, value)),
    payload: (value) => ExecutionBackend.submit(Program.make(value)),
    layer: (value) => Effect.provide(ExecutionBackend.state, NoopBackend.layer(value)),
    "layer of Concurrent": (value) => Effect.provide(ExecutionBackend.state, ConcurrentBackend.layer(value)),
    "layer, stopTimeout": (stopTimeout) =>
      Effect.provide(ExecutionBackend.state, NoopBackend.layer({ stopTimeout: stopTimeout })),
    command: (value) => ExecutionBackend.submit(Task.executable("X", { command: () => value }).make()),
    driver: (value) => Effect.scoped(Backend.make(value)),
    ...each(
      "driver,",
      [...common, "concurrency", "run", "prefetch", "forceStop", "nativeStates", "details", "settings"],
      (name, value) => Effect.scoped(Backend.make({ ...slots, [name]: value } as never))
    ),
    ...each("batch driver,", [...common, "submit", "cancel", "updates"], (name, value) =>
      Effect.scoped(Backend.make({ ...batch, [name]: value } as never))
    ),
    ...each("options,", keys, (name, value) => ExecutionBackend.submit(Program.make(undefined, { [name]: value }))),
    ...Object.assign(
      {},
      ...Object.entries(definitions).map(([kind, [make, right, fields]]) => ({
        [`${kind}, its options`]: make,
        ...each(`${kind},`, [...fields, "payload", "success", "error", ...keys], (name, value) =>
          make({ ...right, [name]: value })
        )
      }))
    ),
    "the name of a definition": (name) => ExecutionBackend.submit(Task.executable(name, { command }).make()),
    "settings, backend": (value) => Effect.succeed(Task.settings(value, Schema.Struct({}))),
    "settings, schema": (value) => Effect.succeed(Task.settings("x", value)),
    register: (value) => inRegistry(register(value)),
    "register, its options": (value) => inRegistry(register(echo, value)),
    ...each("entry,", ["name", "description", "options", "config", "layer", "probe"], (name, value) =>
      inRegistry(Effect.zipRight(register({ ...echo, [name]: value } as never), discover()))
    ),
    "entry, what its layer gives": (value) =>
      inRegistry(Effect.zipRight(register({ ...echo, layer: () => value }), Layer.build(get("echo")))),
    "entry, what its layer fails with": (value) =>
      inRegistry(Effect.zipRight(register({ ...echo, layer: () => Layer.fail(value) }), Layer.build(get("echo")))),
    "entry, what its probe fails with": (value) =>
      inRegistry(Effect.zipRight(register({ ...echo, probe: Effect.failCause(Cause.fail(value)) }), discover())),
    discover: (value) => inRegistry(discover(value)),
    "discover, timeout": (timeout) => inRegistry(discover({ timeout })),
    "discover, concurrency": (concurrency) => inRegistry(discover({ concurrency })),
    get: (value) => inRegistry(Layer.build(get(value))),
    "get, its options": (value) => inRegistry(Layer.build(get("noop", value)))
  }
  const names = Object.keys(verbs)
  const isTyped = (cause: Cause.Cause<unknown>) => Cause.isFailType(cause) && isRhapsodyError(cause.error)
  /** The whole effect: a definition throws where it is written, and only its typed error may. */
  const exitOf = (verb: Use, value: unknown) =>
    Effect.suspend((): Effect.Effect<unknown, unknown, NoopBackend.Provides | Scope.Scope> => {
      try {
        return verb(value)
      } catch (error) {
        return isConfigurationError(error) ? Effect.fail(error) : Effect.die(error)
      }
    }).pipe(Effect.scoped, Effect.provide(NoopBackend.layer()), Effect.exit)

  it.effect("any value, in any place", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.constantFrom(...names),
          FastCheck.constantFrom(...hostile.keys()),
          async (name, index) => {
            const exit = await Effect.runPromise(exitOf(verbs[name]!, hostile[index]))
            // printing it reads all that is in it, getters that throw too
            if (Exit.isFailure(exit) && !isTyped(exit.cause)) assert.fail(Cause.pretty(exit.cause))
          }
        ),
        { numRuns: 200 }
      )
    )
  )
})
