import { assert, describe, it } from "@effect/vitest"
import {
  Config,
  ConfigError,
  ConfigProvider,
  Context,
  Deferred,
  Effect,
  Fiber,
  Layer,
  Option,
  Redacted,
  Ref,
  Schema,
  TestClock
} from "effect"
import type { Driver } from "effect-rhapsody"
import { Backend, BackendRegistry, ConcurrentBackend, Defaults, ExecutionBackend, Task } from "effect-rhapsody"
import { BackendError, ConfigurationError } from "effect-rhapsody/Errors"
import { ok, Program } from "./support.js"

type EchoDriver = Driver.SlotDriver<"executable">
const driver = (type: string, some: Partial<EchoDriver> = {}): EchoDriver => ({
  type,
  kinds: ["executable"],
  concurrency: 1,
  run: () => ok,
  ...some
})

const typeOf = Effect.map(ExecutionBackend.ExecutionBackend, ({ type }) => type)
const refusal = <A>(layer: Layer.Layer<A, BackendRegistry.Refusal, BackendRegistry.BackendRegistry>) =>
  Effect.scoped(Effect.flip(Layer.build(layer)))
const unavailable = (message: string) =>
  new BackendError({ backendType: "x", reason: "Unavailable", details: { message } })

/** Its layer never starts anything, whatever it is asked. */
const named = (name: string, probe?: Effect.Effect<void, BackendError>) =>
  BackendRegistry.entry({
    name,
    layer: () => Backend.layer(driver(name)),
    ...(probe === undefined ? {} : { probe })
  })

/** A backend with options of every sort. */
const Cluster = BackendRegistry.entry({
  name: "cluster",
  options: Schema.Struct({
    nodes: Schema.Int,
    queue: Schema.optionalWith(Schema.String, { default: () => "debug" }),
    limits: Schema.optional(Schema.Struct({ hours: Schema.Array(Schema.Number) }))
  }),
  layer: ({ nodes, queue }) =>
    nodes > 8
      ? Layer.fail(new ConfigurationError({ configKey: "nodes", reason: "InvalidOption", details: { message: "few" } }))
      : Backend.layer(driver(`${queue}-${nodes}`))
})
const registry = BackendRegistry.layerEntries(named("a"), Cluster, named("b"))

// ------------------------------------------------------------------------------------------- the original's reference

/** Those that need nothing installed; test/dask has the others. */
const here = BackendRegistry.backends.filter(({ name }) => name !== "dask")

describe("the original's examples", () => {
  it.effect("list the backends and get each", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      for (const name of yield* BackendRegistry.list) {
        lines.push(
          yield* typeOf.pipe(
            Effect.provide(BackendRegistry.layer(name)),
            Effect.match({
              onSuccess: (type) => `${name}: ${type}`,
              onFailure: (error) => `${name}: Not available (${error.message})`
            })
          )
        )
      }
      assert.deepStrictEqual(lines, ["concurrent: concurrent", "noop: noop", "broken: Not available (broken)"])
    }).pipe(
      Effect.provide(
        BackendRegistry.layerEntries(...here, {
          name: "broken",
          layer: () => Layer.fail(new ConfigurationError({ reason: "InvalidOption", details: { message: "broken" } }))
        })
      )
    )
  )

  it.effect("register a LoggingBackend and get it", () =>
    Effect.gen(function* () {
      const log = yield* Ref.make<ReadonlyArray<string>>([])
      const say = (line: string) => Ref.update(log, (lines) => [...lines, line])
      const LoggingBackend = Backend.layer(
        Effect.gen(function* () {
          yield* Effect.addFinalizer(() => say("Terminating"))
          return driver("logging", { run: (spec) => Effect.zipRight(say(`Submitting ${spec.uid}`), ok) })
        })
      )
      yield* BackendRegistry.register({ name: "logging", layer: () => LoggingBackend })

      const answer = yield* ExecutionBackend.execute(Program.make(undefined, { uid: "test_task" })).pipe(
        Effect.provide(BackendRegistry.layer("logging"))
      )
      assert.strictEqual(answer, "ok")
      assert.deepStrictEqual(yield* Ref.get(log), ["Submitting test_task", "Terminating"])
      assert.deepStrictEqual(yield* BackendRegistry.list, ["concurrent", "dask", "noop", "logging"])
      const described = (yield* BackendRegistry.entries).filter(({ description }) => description !== undefined)
      assert.deepStrictEqual(
        described.map(({ name }) => name),
        ["concurrent", "dask", "noop"]
      )
    }).pipe(Effect.provide(BackendRegistry.layerDefault))
  )

  it.effect("discover: every backend of this library that needs nothing installed runs here", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* BackendRegistry.discover(), [
        { name: "concurrent", available: true },
        { name: "noop", available: true }
      ])
    }).pipe(Effect.provide(BackendRegistry.layerEntries(...here)))
  )
})

// --------------------------------------------------------------------------------------------------------------- names

describe("names", () => {
  it.effect("without one it is the default backend, which can be another", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Effect.provide(typeOf, BackendRegistry.layer()), "concurrent")
      const other = Layer.provide(BackendRegistry.layer(), Defaults.layer({ backend: "noop" }))
      assert.strictEqual(yield* Effect.provide(typeOf, other), "noop")
    }).pipe(Effect.provide(BackendRegistry.layerDefault))
  )

  it.effect("an unknown one is refused and those that are known are listed", () =>
    Effect.gen(function* () {
      const error = yield* refusal(BackendRegistry.layer("dsk"))
      assert.deepInclude(error, { _tag: "ConfigurationError", reason: "UnknownBackend", configKey: "backend" })
      assert.strictEqual(error.message, "backend: dsk is not registered; known: a, cluster, b")
      const byDefault = yield* refusal(BackendRegistry.layer())
      assert.include(byDefault.message, "concurrent, which is Defaults.backend, is not registered")
      const empty = yield* Effect.provide(refusal(BackendRegistry.layer("a")), BackendRegistry.layerEntries())
      assert.include(empty.message, "known: none")
    }).pipe(Effect.provide(registry))
  )

  it.effect("one that is taken is refused and the first stays, unless it is to be replaced", () =>
    Effect.gen(function* () {
      const again = { name: "a", layer: () => Backend.layer(driver("second")) }
      const error = yield* Effect.flip(BackendRegistry.register(again))
      assert.deepInclude(error, { reason: "DuplicateBackend", configKey: "backend" })
      assert.include(error.message, "a is registered already")
      assert.strictEqual(yield* Effect.provide(typeOf, BackendRegistry.layer("a")), "a")

      yield* BackendRegistry.register(again, { replace: true })
      assert.strictEqual(yield* Effect.provide(typeOf, BackendRegistry.layer("a")), "second")
      assert.deepStrictEqual(yield* BackendRegistry.list, ["a", "cluster", "b"])
    }).pipe(Effect.provide(registry))
  )

  it.effect("two of a name in one layer, and an empty one, are refused", () =>
    Effect.gen(function* () {
      const error = yield* refusal(BackendRegistry.layerEntries(named("a"), named("b"), named("a")))
      assert.deepInclude(error, { reason: "DuplicateBackend", configKey: "backend" })
      const empty = yield* Effect.flip(BackendRegistry.register(named("")))
      assert.deepInclude(empty, { reason: "InvalidOption", configKey: "backend" })
    }).pipe(Effect.provide(registry))
  )

  it.effect("one that is registered before the layer is built is found", () =>
    Effect.gen(function* () {
      const layer = BackendRegistry.layer("late")
      yield* BackendRegistry.register(named("late"))
      assert.strictEqual(yield* Effect.provide(typeOf, layer), "late")
    }).pipe(Effect.provide(registry))
  )
})

// ------------------------------------------------------------------------------------------------------------- options

describe("options", () => {
  it.effect("are decoded with the schema of the backend", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Effect.provide(typeOf, BackendRegistry.layer("cluster", { nodes: 2 })), "debug-2")
    }).pipe(Effect.provide(registry))
  )

  const wrong: Record<string, readonly [name: string, options: unknown, key: string, message: string]> = {
    missing: ["cluster", undefined, "cluster.nodes", "is missing"],
    "of the wrong type": ["cluster", { nodes: "two" }, "cluster.nodes", "Expected number"],
    nested: ["cluster", { nodes: 1, limits: { hours: [1, "2"] } }, "cluster.limits.hours[1]", "Expected number"],
    unknown: ["cluster", { nodes: 1, queu: "x" }, "cluster.queu", "is unexpected"],
    "unknown and nested": ["cluster", { nodes: 1, limits: { hours: [], h: 1 } }, "cluster.limits.h", "is unexpected"],
    "refused by the backend itself": ["cluster", { nodes: 9 }, "cluster.nodes", "few"],
    "no object": ["cluster", 7, "cluster", "actual 7"],
    "of a backend that takes none": ["a", { nodes: 1 }, "a.nodes", "takes no options"],
    "of concurrent, out of range": ["concurrent", { maxWorkers: 0 }, "concurrent.maxWorkers", "1 or more"],
    "of concurrent, misspelled": ["concurrent", { max_workers: 2 }, "concurrent.max_workers", "is unexpected"],
    "of concurrent, no duration": [
      "concurrent",
      { forceKillAfter: "soon" },
      "concurrent.forceKillAfter",
      "a duration such as"
    ],
    "of concurrent, a limit": ["concurrent", { maxActiveTasks: -1 }, "concurrent.maxActiveTasks", ""],
    "of concurrent, a kind": ["concurrent", { kinds: ["python"] }, "concurrent.kinds", "python"],
    "of noop": ["noop", { maxWorkers: 2 }, "noop.maxWorkers", "is unexpected"]
  }
  for (const [what, [name, options, configKey, message]] of Object.entries(wrong)) {
    it.effect(`${what}: ${configKey} is named`, () =>
      Effect.gen(function* () {
        const error = yield* refusal(BackendRegistry.layer(name, options))
        assert.deepInclude(error, { _tag: "ConfigurationError", reason: "InvalidOption", configKey })
        assert.include(error.message, message)
      }).pipe(Effect.provide(BackendRegistry.layerEntries(...BackendRegistry.backends, named("a"), Cluster)))
    )
  }

  it.effect("of concurrent reach it", () =>
    Effect.gen(function* () {
      const kinds = Effect.map(ExecutionBackend.ExecutionBackend, ({ kinds }) => [...kinds])
      const options = {
        maxWorkers: 2,
        kinds: ["function"],
        forceKillAfter: "1 second",
        stopTimeout: 500,
        maxActiveTasks: 9
      }
      assert.deepStrictEqual(yield* Effect.provide(kinds, BackendRegistry.layer("concurrent", options)), ["function"])
    }).pipe(Effect.provide(BackendRegistry.layerDefault))
  )
})

describe("options from Config", () => {
  const from = (entries: Record<string, string>, pathDelim = ".") =>
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(entries)), { pathDelim }))

  /** Says its options as its type. */
  const Queue = BackendRegistry.entry({
    name: "queue",
    options: Schema.Struct({
      nodes: Schema.Int.pipe(Schema.positive()),
      partition: Schema.optionalWith(Schema.String, { default: () => "debug" }),
      token: Schema.optional(Schema.RedactedFromSelf(Schema.String))
    }),
    config: {
      nodes: Config.integer("NODES").pipe(Config.nested("QUEUE")),
      partition: Config.string("PARTITION").pipe(Config.nested("QUEUE"), Config.withDefault(undefined)),
      token: Config.redacted("TOKEN").pipe(Config.nested("QUEUE"), Config.withDefault(undefined))
    },
    layer: ({ nodes, partition, token }) =>
      nodes > 8
        ? Layer.fail(
            new ConfigurationError({ configKey: "nodes", reason: "InvalidOption", details: { message: "8 at most" } })
          )
        : Backend.layer(driver(`${partition}-${nodes}-${token === undefined ? "" : Redacted.value(token)}`))
  })
  /** Knows no schema: its `Config` is all there is. */
  const Plain = BackendRegistry.entry({
    name: "plain",
    config: { slots: Config.integer("SLOTS"), mode: Config.string("MODE").pipe(Config.withDefault("fast")) },
    layer: ({ mode, slots }) => Backend.layer(driver(`${mode}-${slots satisfies number}`))
  })
  const Theirs = BackendRegistry.entry({
    name: "theirs",
    layer: () => ConcurrentBackend.layerConfig({ maxWorkers: Config.integer("WORKERS") })
  })
  const Defaulted = BackendRegistry.entry({
    name: "defaulted",
    config: { maxWorkers: Config.integer("WORKERS").pipe(Config.withDefault(0)) },
    layer: ConcurrentBackend.layer
  })
  const all = Effect.provide(BackendRegistry.layerEntries(...BackendRegistry.backends, Queue, Plain, Theirs, Defaulted))
  const chosen = (name: string, options?: unknown) => Effect.provide(typeOf, BackendRegistry.layer(name, options))

  it.effect("are those of Config, of what was given, or the default of the backend", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* chosen("queue"), "debug-2-")
      assert.strictEqual(yield* chosen("queue", { nodes: 3, partition: "big" }), "big-3-")
    }).pipe(all, from({ "QUEUE.NODES": "2" }))
  )

  it.effect("given ones win, and then their Config may be missing or wrong", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* chosen("queue", { nodes: 3 }), "long-3-s3cret")
    }).pipe(all, from({ "QUEUE.NODES": "many", "QUEUE.PARTITION": "long", "QUEUE.TOKEN": "s3cret" }))
  )

  it.effect("may have no schema, and then none can be given", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* chosen("plain"), "fast-2")
      const error = yield* refusal(BackendRegistry.layer("plain", { slots: 3 }))
      assert.deepInclude(error, { reason: "InvalidOption", configKey: "plain.slots" })
      assert.include(error.message, "from Config alone")
    }).pipe(all, from({ SLOTS: "2" }))
  )

  const wrong: Record<
    string,
    readonly [name: string, map: Record<string, string>, key: string, message: string, options?: unknown]
  > = {
    "that are missing": ["queue", {}, "QUEUE.NODES", "Expected QUEUE.NODES to exist"],
    "that are missing, with the remedy": ["queue", {}, "QUEUE.NODES", "or give nodes as an option"],
    "of the wrong type": ["queue", { "QUEUE.NODES": "two" }, "QUEUE.NODES", 'but received "two"'],
    "that the schema refuses": [
      "queue",
      { "QUEUE.NODES": "-2" },
      "queue.nodes",
      "actual -2; it comes from QUEUE.NODES"
    ],
    "that the layer refuses": ["queue", { "QUEUE.NODES": "9" }, "queue.nodes", "8 at most; it comes from QUEUE.NODES"],
    "that the layer refuses as they were given": ["queue", {}, "queue.nodes", "nodes: 8 at most", { nodes: 9 }],
    "misspelled where they are given": ["queue", {}, "queue.nods", "is unexpected", { nods: 2 }],
    "whose default the layer refuses": ["defaulted", {}, "defaulted.maxWorkers", "1 or more, not 0"],
    "without a schema": ["plain", { SLOTS: "x" }, "SLOTS", 'but received "x"'],
    "of a layerConfig": ["theirs", {}, "WORKERS", "Expected WORKERS to exist"],
    "of a layerConfig, ill-typed": ["theirs", { WORKERS: "x" }, "WORKERS", 'but received "x"'],
    "of concurrent, ill-typed": [
      "concurrent",
      { "RHAPSODY.CONCURRENT.FORCE_KILL_AFTER": "soon" },
      "RHAPSODY.CONCURRENT.FORCE_KILL_AFTER",
      'must be a duration such as "30 seconds", not soon'
    ],
    "of concurrent, out of range": [
      "concurrent",
      { "RHAPSODY.CONCURRENT.MAX_WORKERS": "0" },
      "concurrent.maxWorkers",
      "1 or more, not 0; it comes from RHAPSODY.CONCURRENT.MAX_WORKERS"
    ],
    "of concurrent, a kind": [
      "concurrent",
      { "RHAPSODY.CONCURRENT.KINDS": "executable,python" },
      "concurrent.kinds",
      "not python; it comes from RHAPSODY.CONCURRENT.KINDS"
    ],
    "of concurrent, a python that is none": [
      "concurrent",
      { "RHAPSODY.CONCURRENT.PYTHON": "/bin/false" },
      "concurrent.python",
      "it comes from RHAPSODY.CONCURRENT.PYTHON"
    ],
    "of noop": [
      "noop",
      { "RHAPSODY.NOOP.HISTORY_SIZE": "-1" },
      "noop.historySize",
      "0 or more, not -1; it comes from RHAPSODY.NOOP.HISTORY_SIZE"
    ]
  }
  for (const [what, [name, map, configKey, message, options]] of Object.entries(wrong)) {
    it.effect(`${what}: ${configKey} is named`, () =>
      Effect.gen(function* () {
        const error = yield* refusal(BackendRegistry.layer(name, options))
        assert.deepInclude(error, { _tag: "ConfigurationError", reason: "InvalidOption", configKey })
        assert.include(error.message, message)
        assert.strictEqual(error.message.includes("it comes from"), message.includes("it comes from"))
      }).pipe(all, from(map))
    )
  }

  it.effect("lose nothing: all that is wrong is reported, and the ConfigError is the cause", () =>
    Effect.gen(function* () {
      const error = yield* refusal(BackendRegistry.layer("concurrent"))
      assert.strictEqual(
        error.message,
        'RHAPSODY.CONCURRENT.MAX_WORKERS: must be a number, not "x"; ' +
          'RHAPSODY.CONCURRENT.FORCE_KILL_AFTER: must be a duration such as "30 seconds", not y; ' +
          "or give maxWorkers, forceKillAfter as an option"
      )
      assert.isTrue(ConfigError.isConfigError(error.cause))
      const wire = JSON.stringify(yield* Schema.encode(ConfigurationError)(error as ConfigurationError))
      assert.include(wire, "Invalid data at RHAPSODY.CONCURRENT.FORCE_KILL_AFTER")
    }).pipe(all, from({ "RHAPSODY.CONCURRENT.MAX_WORKERS": "x", "RHAPSODY.CONCURRENT.FORCE_KILL_AFTER": "y" }))
  )

  it.effect("of concurrent reach it by the names of environment variables", () =>
    Effect.gen(function* () {
      const backend = yield* Effect.provide(ExecutionBackend.ExecutionBackend, BackendRegistry.layer())
      assert.deepStrictEqual([backend.type, backend.name, ...backend.kinds], ["concurrent", "here", "function"])
      const refused = yield* refusal(BackendRegistry.layer("concurrent", { maxWorkers: 0 }))
      assert.strictEqual(refused.message, "concurrent.maxWorkers: must be an integer, 1 or more, not 0")
    }).pipe(
      all,
      from(
        {
          RHAPSODY_CONCURRENT_KINDS: "function",
          RHAPSODY_CONCURRENT_NAME: "here",
          RHAPSODY_CONCURRENT_MAX_WORKERS: "3",
          RHAPSODY_CONCURRENT_FORCE_KILL_AFTER: "1 second",
          RHAPSODY_CONCURRENT_MAX_ACTIVE_TASKS: "9",
          RHAPSODY_CONCURRENT_MAX_NESTED_TASKS: "9",
          RHAPSODY_CONCURRENT_HISTORY_SIZE: "0",
          RHAPSODY_CONCURRENT_EVENT_BUFFER: "9",
          RHAPSODY_CONCURRENT_STOP_TIMEOUT: "500 millis",
          RHAPSODY_CONCURRENT_LAUNCHER: "node",
          RHAPSODY_CONCURRENT_SANDBOX_ROOT: "/tmp"
        },
        "_"
      )
    )
  )

  it.live("of concurrent win over Defaults, and those given over both", () =>
    Effect.gen(function* () {
      const Hold = Task.function("Hold")
      /** How many of five run at a time. */
      const slots = (options?: unknown) =>
        Effect.gen(function* () {
          yield* Effect.replicateEffect(ExecutionBackend.submit(Hold.make()), 5)
          return (yield* ExecutionBackend.state).active
        }).pipe(
          Effect.provide([
            Hold.toLayer(() => Effect.never),
            Layer.provide(BackendRegistry.layer(undefined, options), Defaults.layerConfig())
          ])
        )
      assert.strictEqual(yield* from({ "RHAPSODY.MAX_WORKERS": "2" })(slots()), 2)
      const both = from({ "RHAPSODY.MAX_WORKERS": "2", "RHAPSODY.CONCURRENT.MAX_WORKERS": "3" })
      assert.strictEqual(yield* both(slots()), 3)
      assert.strictEqual(yield* both(slots({ maxWorkers: 1 })), 1)
    }).pipe(all)
  )

  it.effect("that are wrong make a backend unavailable, and discovery says why", () =>
    Effect.gen(function* () {
      const found = yield* BackendRegistry.discover()
      const reasons = Object.fromEntries(found.map((one) => [one.name, one.available || one.reason]))
      assert.deepInclude(reasons, {
        concurrent: true,
        noop: "noop.historySize: must be an integer, 0 or more, not -1; it comes from RHAPSODY.NOOP.HISTORY_SIZE",
        plain: "SLOTS: Expected SLOTS to exist in the provided map"
      })
    }).pipe(all, from({ "RHAPSODY.NOOP.HISTORY_SIZE": "-1", "QUEUE.NODES": "1" }))
  )
})

// -------------------------------------------------------------------------------------------------------------- layers

class Left extends Context.Tag("test/Left")<Left, ExecutionBackend.Backend>() {}
class Right extends Context.Tag("test/Right")<Right, ExecutionBackend.Backend>() {}

describe("get", () => {
  it.effect("gives a backend of its own each time, though an entry answers with one layer value", () =>
    Effect.gen(function* () {
      const Same = Backend.layer(driver("same"))
      yield* BackendRegistry.register({ name: "same", layer: () => Same })

      // what two layers in one build hold
      const areOne = (left: typeof first, right: typeof first) =>
        Effect.all([Left, Right]).pipe(
          Effect.map(([left, right]) => left === right),
          Effect.provide(
            Layer.merge(
              Layer.provide(Layer.effect(Left, ExecutionBackend.ExecutionBackend), left),
              Layer.provide(Layer.effect(Right, ExecutionBackend.ExecutionBackend), right)
            )
          )
        )
      const first = BackendRegistry.layer("same")
      assert.isFalse(yield* areOne(first, BackendRegistry.layer("same")))
      assert.isTrue(yield* areOne(first, first))
    }).pipe(Effect.provide(registry))
  )

  it.effect("gives a backend that closes with its scope", () =>
    Effect.gen(function* () {
      const context = yield* Effect.scoped(Layer.build(BackendRegistry.layer("a")))
      const error = yield* Effect.flip(Effect.provide(ExecutionBackend.submit(Program.make()), context))
      assert.deepInclude(error, { _tag: "BackendError", reason: "Closed" })
    }).pipe(Effect.provide(registry))
  )

  it.effect("gives a layer that takes every kind and refuses, typed, those that the backend does not run", () =>
    Effect.gen(function* () {
      const Fit = Task.python("Fit", { callable: "fit:main" })
      const error = yield* Effect.flip(ExecutionBackend.execute(Fit.make()))
      assert.deepInclude(error, { _tag: "ConfigurationError", reason: "UnsupportedKind" })
      assert.strictEqual(yield* ExecutionBackend.execute(Program.make()), "ok")
    }).pipe(Effect.provide(Layer.provide(BackendRegistry.layer("a"), registry)))
  )
})

describe("what a backend needs", () => {
  it.effect("loads when it is chosen, and not before its options are right", () =>
    Effect.gen(function* () {
      const loads: Array<string> = []
      yield* BackendRegistry.register({
        name: "lazy",
        options: Schema.Struct({ size: Schema.optional(Schema.Number) }),
        layer: () => {
          loads.push("lazy")
          return Promise.resolve(Backend.layer(driver("lazy")))
        }
      })
      yield* BackendRegistry.list
      const layer = BackendRegistry.layer("lazy")
      yield* refusal(BackendRegistry.layer("lazy", { size: "big" }))
      assert.deepStrictEqual(loads, [])
      assert.strictEqual(yield* Effect.provide(typeOf, layer), "lazy")
      assert.deepStrictEqual(loads, ["lazy"])
    }).pipe(Effect.provide(registry))
  )

  it.effect("and is missing is BackendError Unavailable, which says what", () =>
    Effect.gen(function* () {
      const missing: string = "effect-rhapsody-no-such-package"
      yield* BackendRegistry.register({ name: "missing", layer: () => import(missing).then(({ layer }) => layer) })
      const error = yield* refusal(BackendRegistry.layer("missing"))
      assert.deepInclude(error, { _tag: "BackendError", reason: "Unavailable", backendType: "missing" })
      assert.include(error.message, missing)
      const found = yield* BackendRegistry.discover()
      assert.deepInclude(found.at(-1), { name: "missing", available: false, reason: error.message })
    }).pipe(Effect.provide(registry))
  )
})

// ----------------------------------------------------------------------------------------------------------- discovery

describe("discover", () => {
  it.effect("reports of each, in order, whether it is available or why not", () =>
    Effect.gen(function* () {
      const found = yield* BackendRegistry.discover()
      assert.deepStrictEqual(found, [
        { name: "good", available: true },
        { name: "bad", available: false, reason: unavailable("no sinfo").message },
        { name: "dies", available: false, reason: "its probe died: Error: boom" },
        { name: "interrupted", available: false, reason: "its probe was interrupted" },
        { name: "unprobed", available: true },
        { name: "cluster", available: false, reason: "cluster.nodes: is missing" }
      ])
    }).pipe(
      Effect.provide(
        BackendRegistry.layerEntries(
          named("good", Effect.void),
          named("bad", Effect.fail(unavailable("no sinfo"))),
          named("dies", Effect.die(new Error("boom"))),
          named("interrupted", Effect.interrupt),
          named("unprobed"),
          Cluster
        )
      )
    )
  )

  it.effect("gives up on a probe after its time, even on one that cannot be interrupted", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(BackendRegistry.discover({ timeout: "3 seconds" }))
      yield* TestClock.adjust("2999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
      yield* TestClock.adjust("1 millis")
      const reason = "its probe did not answer within 3s"
      assert.deepStrictEqual(yield* Fiber.join(fiber), [
        { name: "hangs", available: false, reason },
        { name: "deaf", available: false, reason },
        { name: "good", available: true }
      ])
    }).pipe(
      Effect.provide(
        BackendRegistry.layerEntries(
          named("hangs", Effect.never),
          named("deaf", Effect.uninterruptible(Effect.never)),
          named("good", Effect.void)
        )
      )
    )
  )

  it.effect("waits 10 seconds when nothing else is said", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.fork(BackendRegistry.discover())
      yield* TestClock.adjust("10 seconds")
      const found = yield* Fiber.join(fiber)
      assert.deepInclude(found[0], { available: false, reason: "its probe did not answer within 10s" })
    }).pipe(Effect.provide(BackendRegistry.layerEntries(named("hangs", Effect.never))))
  )

  it.effect("interrupts a probe whose time is over", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const hangs = Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      yield* BackendRegistry.register(named("hangs", hangs))
      const fiber = yield* Effect.fork(BackendRegistry.discover())
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      yield* Deferred.await(interrupted)
    }).pipe(Effect.provide(registry))
  )

  it.effect("probes at most as many at a time as it may", () =>
    Effect.gen(function* () {
      let active = 0
      let most = 0
      const probe = Effect.acquireUseRelease(
        Effect.sync(() => {
          active++
          most = Math.max(most, active)
        }),
        () => Effect.sleep("1 second"),
        () => Effect.sync(() => active--)
      )
      const mostOf = (options?: BackendRegistry.DiscoverOptions) =>
        Effect.gen(function* () {
          most = 0
          const fiber = yield* Effect.fork(BackendRegistry.discover(options))
          yield* TestClock.adjust("10 seconds")
          assert.strictEqual((yield* Fiber.join(fiber)).filter(({ available }) => available).length, 7)
          return most
        })
      const seven = BackendRegistry.layerEntries(...Array.from({ length: 7 }, (_, i) => named(`${i}`, probe)))
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* mostOf(), 4)
        assert.strictEqual(yield* mostOf({ concurrency: 2 }), 2)
      }).pipe(Effect.provide(seven))
    })
  )

  it.effect("builds a backend that has no probe, and closes it again", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const make = () =>
        Backend.layer(
          Effect.as(
            Effect.acquireRelease(
              Effect.sync(() => log.push("open")),
              () => Effect.sync(() => log.push("closed"))
            ),
            driver("x")
          )
        )
      yield* BackendRegistry.register({ name: "x", layer: make })
      yield* BackendRegistry.discover()
      assert.deepStrictEqual(log, ["open", "closed"])
    }).pipe(Effect.provide(registry))
  )
})
