/** The layer: its options, the kinds it runs, the settings it takes. What it does with programs is in `concurrent/`. */
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Either, Fiber, Layer, Option, Schema } from "effect"
import type { Driver } from "effect-rhapsody"
import { Backend, ConcurrentBackend, Defaults, ExecutionBackend, Task } from "effect-rhapsody"
import { ConfigurationError } from "effect-rhapsody/Errors"
import type { Over, Program } from "./concurrent/support.js"
import { overBoth, refusal, sh, taskError } from "./concurrent/support.js"
import { idle, nothingLeft } from "./support.js"

const Wait = Task.function("Wait")
const Double = Task.function("Double", { payload: { n: Schema.Number }, success: Schema.Number })
const DoubleLive = Double.toLayer(({ n }) => Effect.succeed(2 * n))

/** How many tasks a layer runs at a time. */
const width = <E>(layer: Layer.Layer<ExecutionBackend.ExecutionBackend<"function">, E>) =>
  Effect.gen(function* () {
    let running = 0
    const handler = Wait.toLayer(() => {
      running++
      return Effect.never
    })
    return yield* Effect.gen(function* () {
      yield* Effect.replicateEffect(ExecutionBackend.submit(Wait.make()), 12)
      const { active, queued } = yield* ExecutionBackend.state
      assert.strictEqual(active + queued, 12)
      while (running < active) yield* Effect.yieldNow()
      yield* Effect.replicateEffect(Effect.yieldNow(), 50)
      return running
    }).pipe(Effect.provide([layer, handler]))
  })

const refused = <A, E>(layer: Layer.Layer<A, E>) =>
  Effect.map(Effect.either(Effect.scoped(Layer.build(layer))), (built) => {
    const error = Either.isLeft(built) ? built.left : undefined
    assert(error instanceof ConfigurationError, String(error ?? "the layer was built"))
    return [error.reason, error.configKey, error.message]
  })

const fromMap = (entries: ReadonlyArray<readonly [string, string]>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(entries)))

const constant = (options: Over["options"]) => ({
  launcher: Config.succeed(options.launcher),
  ...("python" in options ? { python: Config.succeed(options.python) } : {})
})

describe("maxWorkers", () => {
  it.live("is as many tasks at a time, 4 by default", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* width(ConcurrentBackend.layer()), 4)
      assert.strictEqual(yield* width(ConcurrentBackend.layer({ maxWorkers: 1 })), 1)
      assert.strictEqual(yield* width(ConcurrentBackend.layer({ maxWorkers: 7 })), 7)
    })
  )

  for (const maxWorkers of [0, -1, 1.5, Number.NaN, Infinity, "4" as unknown as number]) {
    it.live(`of ${JSON.stringify(maxWorkers)} (${maxWorkers}) is refused`, () =>
      Effect.gen(function* () {
        const expected = (key: string) => {
          const found = typeof maxWorkers === "string" ? "a string" : maxWorkers
          return ["InvalidOption", key, `${key}: must be an integer, 1 or more, not ${found}`]
        }
        assert.deepStrictEqual(yield* refused(ConcurrentBackend.layer({ maxWorkers })), expected("maxWorkers"))
        const byDefault = Layer.provide(ConcurrentBackend.layer(), Defaults.layer({ maxWorkers }))
        assert.deepStrictEqual(yield* refused(byDefault), expected("Defaults.maxWorkers"))
      })
    )
  }

  it.live("comes from Defaults where the layer names none", () =>
    Effect.gen(function* () {
      const defaults = Defaults.layer({ maxWorkers: 2 })
      assert.strictEqual(yield* width(Layer.provide(ConcurrentBackend.layer(), defaults)), 2)
      assert.strictEqual(yield* width(Layer.provide(ConcurrentBackend.layer({ maxWorkers: 3 }), defaults)), 3)
      const config = Layer.provide(Defaults.layerConfig(), fromMap([["RHAPSODY.MAX_WORKERS", "5"]]))
      assert.strictEqual(yield* width(Layer.provide(ConcurrentBackend.layer(), config)), 5)
    })
  )
})

overBoth("options from Config", ({ options }) => {
  it.live("are taken each on its own or all together", () =>
    Effect.gen(function* () {
      const single = ConcurrentBackend.layerConfig({ ...constant(options), maxWorkers: Config.integer("WORKERS") })
      assert.strictEqual(yield* width(Layer.provide(single, fromMap([["WORKERS", "3"]]))), 3)
      const all = ConcurrentBackend.layerConfig(
        Config.all({
          ...constant(options),
          maxWorkers: Config.integer("WORKERS"),
          forceKillAfter: Config.duration("GRACE")
        })
      )
      const both: ReadonlyArray<readonly [string, string]> = [
        ["WORKERS", "2"],
        ["GRACE", "100 millis"]
      ]
      assert.strictEqual(yield* width(Layer.provide(all, fromMap(both))), 2)
      // deaf to TERM for longer than the test may last: it ends since the grace is the configured one
      const deaf = sh("trap '' TERM; while :; do sleep 1; done", { timeout: "300 millis" })
      const error = yield* taskError(deaf).pipe(Effect.provide(Layer.provide(all, fromMap(both))))
      assert.strictEqual(error.reason, "Timeout")
      assert.notProperty(error.details, "stopped")
    })
  )
})

describe("other options", () => {
  it.live("that Config does not have, or has wrong, fail the layer with ConfigError", () =>
    Effect.gen(function* () {
      const layer = ConcurrentBackend.layerConfig({ maxWorkers: Config.integer("WORKERS") })
      const build = (entries: ReadonlyArray<readonly [string, string]>) =>
        Effect.flip(Effect.scoped(Layer.build(Layer.provide(layer, fromMap(entries)))))
      assert.include(JSON.stringify(yield* build([])), "WORKERS")
      assert.include(JSON.stringify(yield* build([["WORKERS", "many"]])), "WORKERS")
      const zero = yield* build([["WORKERS", "0"]])
      assert(zero instanceof ConfigurationError)
      assert.strictEqual(zero.configKey, "maxWorkers")
    })
  )

  it.live("are refused where they make no sense", () =>
    Effect.gen(function* () {
      const grace = yield* refused(ConcurrentBackend.layer({ forceKillAfter: "5 parsecs" as any }))
      assert.deepStrictEqual(grace.slice(0, 2), ["InvalidOption", "forceKillAfter"])
      const none = yield* refused(ConcurrentBackend.layer({ kinds: [] }))
      assert.deepStrictEqual(none.slice(0, 2), ["InvalidOption", "kinds"])
      const launcher = yield* refused(ConcurrentBackend.layer({ launcher: "agents" as "agent" }))
      assert.deepStrictEqual(launcher, [
        "InvalidOption",
        "launcher",
        "launcher: must be auto or agent or node, not agents"
      ])
      for (const sandboxes of ["", "a\0", 7 as unknown as string]) {
        const wrong = yield* refused(ConcurrentBackend.layer({ sandboxRoot: sandboxes }))
        assert.deepStrictEqual(wrong.slice(0, 2), ["InvalidOption", "sandboxRoot"])
      }
      for (const options of [
        { sandboxRoot: "/dev/fd/../fd/3/a" },
        { sandboxRoot: "/proc/self/cwd" },
        { python: "/proc/self/exe" }
      ]) {
        const [key] = Object.keys(options)
        const own = yield* refused(ConcurrentBackend.layer(options))
        assert.deepStrictEqual(own.slice(0, 2), ["InvalidOption", key])
        assert.include(own[2], "this path means something else in each process")
      }
      const python = yield* refused(ConcurrentBackend.layer({ python: "/not/there" }))
      assert.deepStrictEqual(python.slice(0, 2), ["InvalidOption", "python"])
      const foreign = yield* refused(ConcurrentBackend.layer({ kinds: ["function", "python" as "function"] }))
      assert.deepStrictEqual(foreign, [
        "InvalidOption",
        "kinds",
        "kinds: must be some of executable, function, not python"
      ])
    })
  )

  it.live("of the engine are passed on", () =>
    Effect.gen(function* () {
      yield* ExecutionBackend.execute(Double.make({ n: 1 }, { uid: "forgotten" }))
      yield* ExecutionBackend.execute(Double.make({ n: 1 }, { uid: "remembered" }))
      assert.isTrue(Option.isNone(yield* ExecutionBackend.taskState("forgotten")))
      assert.isTrue(Option.isSome(yield* ExecutionBackend.taskState("remembered")))
    }).pipe(Effect.provide([ConcurrentBackend.layer({ historySize: 1 }), DoubleLive]))
  )
})

const functionsOnly = ConcurrentBackend.layer({ kinds: ["function"] })

overBoth("kinds", ({ options }) => {
  it.live("are executables and functions", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* ExecutionBackend.execute(sh("echo a"))).stdout, "a\n")
      assert.strictEqual(yield* ExecutionBackend.execute(Double.make({ n: 21 })), 42)
    }).pipe(Effect.provide([ConcurrentBackend.layer(options), DoubleLive]))
  )

  it.live("of two layers go each to its own", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ExecutionBackend.execute(Double.make({ n: 1 })), 2)
      assert.strictEqual((yield* ExecutionBackend.execute(sh("echo b"))).stdout, "b\n")
      const [one, other] = [yield* Backend.forKind("function"), yield* Backend.forKind("executable")]
      assert.deepStrictEqual([[...one.kinds], [...other.kinds]], [["function"], ["executable"]])
    }).pipe(
      Effect.provide(
        Layer.mergeAll(
          functionsOnly,
          ConcurrentBackend.layer({ kinds: ["executable"], maxWorkers: 1, ...options }),
          DoubleLive
        )
      )
    )
  )
})

describe("kinds", () => {
  const runs = (layer: Layer.Layer<ExecutionBackend.ExecutionBackend<"executable">, ConfigurationError>) => layer

  it.live("may be fewer: another is refused when it is compiled, and when it is submitted", () =>
    Effect.gen(function* () {
      // @ts-expect-error ExecutionBackend<"function"> does not serve a program that needs "executable"
      const layer = runs(functionsOnly)
      const error = yield* refusal(sh("true", { uid: "refused" })).pipe(Effect.provide(layer))
      assert.deepStrictEqual([error.reason, error.configKey], ["UnsupportedKind", "kind"])
      assert.include(error.message, "backend concurrent runs function; task Sh is of kind executable")
      const twice = yield* Effect.provide(ExecutionBackend.execute(Double.make({ n: 2 })), [functionsOnly, DoubleLive])
      assert.strictEqual(twice, 4)
    })
  )

  const others: ReadonlyArray<readonly [string, Task.Any & { make: (...args: any) => unknown }]> = [
    ["worker", Task.worker("Other", { module: new URL("file:///module.js"), export: "run" })],
    ["python", Task.python("Other", { callable: "module:run" })],
    ["service", Task.service("Other", { command: () => ({ executable: "server" }), ready: /ready/ })]
  ]
  for (const [kind, task] of others) {
    it.live(`do not have ${kind}, and say which there are`, () =>
      Effect.gen(function* () {
        const error = yield* refusal(task.make() as Program)
        assert.deepStrictEqual([error.reason, error.configKey], ["UnsupportedKind", "kind"])
        assert.include(error.message, `backend concurrent runs executable, function; task Other is of kind ${kind}`)
        assert.deepStrictEqual(yield* idle, { ...nothingLeft, status: "INITIALIZED" as any })
      }).pipe(Effect.provide(ConcurrentBackend.layer()))
    )
  }
})

overBoth("settings", ({ provide }) => {
  const backend = provide()

  it.live("of another backend are refused, and theirs is named", () =>
    Effect.gen(function* () {
      const slurm = Task.settings("slurm", Schema.Struct({ partition: Schema.String }))
      const error = yield* refusal(sh("true", { settings: slurm({ partition: "debug" }) }))
      assert.deepStrictEqual([error.reason, error.configKey], ["WrongSettings", "settings"])
      assert.match(error.message, /for backend slurm, and backend concurrent would run the task/)
    }).pipe(backend)
  )

  it.live("with a wrong value, or one that no backend reads, are refused by name", () =>
    Effect.gen(function* () {
      const wrong = ConcurrentBackend.settings({ forceKillAfter: "soon" as unknown as Duration.Duration })
      const error = yield* refusal(sh("true", { settings: wrong }))
      assert.deepStrictEqual([error.reason, error.configKey], ["InvalidOption", "settings.forceKillAfter"])
      const misspelt = ConcurrentBackend.settings({ forcekillafter: Duration.zero } as {})
      assert.strictEqual((yield* refusal(sh("true", { settings: misspelt }))).configKey, "settings.forcekillafter")
      yield* ExecutionBackend.execute(sh("true", { settings: ConcurrentBackend.settings({}) }))
    }).pipe(backend)
  )
})

overBoth("the driver", ({ options }) => {
  it.live("can be wrapped", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const wrapped = Effect.map(ConcurrentBackend.driver({ maxWorkers: 2, ...options }), (driver) => ({
        ...driver,
        run: (spec: Driver.Spec<ConcurrentBackend.Kinds>, hooks: Driver.SlotHooks) => {
          seen.push(spec.uid)
          return driver.run(spec, hooks)
        }
      }))
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(sh("echo c", { uid: "wrapped" }))
        assert.strictEqual((yield* Fiber.join(fiber)).stdout, "c\n")
      }).pipe(Effect.provide(Backend.layer(wrapped)))
      assert.deepStrictEqual(seen, ["wrapped"])
    })
  )
})
