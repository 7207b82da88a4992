import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Layer } from "effect"
import { Defaults, NoopBackend } from "effect-rhapsody"

const fromMap = (entries: Record<string, string>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(entries)), { pathDelim: "_" }))

describe("defaults", () => {
  it.effect("are those of the original: concurrent, 4 workers, 0 retries, 1 second, no timeout", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Defaults.Defaults, {
        backend: "concurrent",
        maxWorkers: 4,
        retryAttempts: 0,
        retryDelay: Duration.seconds(1),
        timeout: undefined
      })
    })
  )

  it.effect("some can be replaced", () =>
    Effect.gen(function* () {
      const { maxWorkers, retryAttempts } = yield* Defaults.Defaults
      assert.deepStrictEqual([maxWorkers, retryAttempts], [7, 0])
    }).pipe(Effect.provide(Defaults.layer({ maxWorkers: 7 })))
  )

  it.effect("and read from Config", () =>
    Effect.gen(function* () {
      const read = yield* Defaults.Defaults
      assert.deepStrictEqual(read, {
        backend: "dask",
        maxWorkers: 9,
        retryAttempts: 0,
        retryDelay: Duration.seconds(1),
        timeout: Duration.minutes(2)
      })
    }).pipe(
      Effect.provide(
        Layer.provide(
          Defaults.layerConfig(),
          fromMap({ RHAPSODY_BACKEND: "dask", RHAPSODY_MAX_WORKERS: "9", RHAPSODY_TIMEOUT: "2 minutes" })
        )
      )
    )
  )

  it.effect("a value that cannot be read is a ConfigError that names it", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Layer.build(Layer.provide(Defaults.layerConfig("HPC"), fromMap({ HPC_MAX_WORKERS: "many" })))
      ).pipe(Effect.scoped)
      assert.include(String(error), "MAX_WORKERS")
    })
  )
})

/** How a backend answers to them. */
const refused = (defaults: Layer.Layer<Defaults.Defaults, unknown>) =>
  Effect.flip(Effect.scoped(Layer.build(Layer.provide(NoopBackend.layer(), defaults))))

describe("a default that cannot be honoured refuses the backend", () => {
  const wrong: ReadonlyArray<readonly [key: string, Record<string, unknown>]> = [
    ...[Number.NaN, -1, 1.5, Infinity, "3"].map((value) => ["retryAttempts", { retryAttempts: value }] as const),
    ...[Number.NaN, 0, -1, 1.5, "4"].map((value) => ["maxWorkers", { maxWorkers: value }] as const),
    ...[0, -1, Number.NaN, "-5 seconds", "soon", []].map((value) => ["timeout", { timeout: value }] as const),
    ...[-1, Infinity, Number.NaN, "-1 second", {}].map((value) => ["retryDelay", { retryDelay: value }] as const),
    ...["", 7, null].map((value) => ["backend", { backend: value }] as const),
    ["maxWorker", { maxWorker: 4 }],
    ["__proto__", JSON.parse('{"__proto__": {"maxWorkers": 4}}')]
  ]
  for (const [key, some] of wrong) {
    it.effect(`${key}: ${JSON.stringify(some)}, by name`, () =>
      Effect.gen(function* () {
        const error = yield* refused(Defaults.layer(some))
        assert.deepInclude(error, { _tag: "ConfigurationError", reason: "InvalidOption", configKey: `Defaults.${key}` })
        // whichever way they come
        const bare = Layer.succeed(Defaults.Defaults, { ...Defaults.values, ...some } as Defaults.Values)
        assert.deepInclude(yield* refused(bare), { configKey: `Defaults.${key}` })
      })
    )
  }

  const variables: ReadonlyArray<readonly [name: string, text: string]> = [
    ...["", " ", "0", "-1", "1.5", "many", "NaN"].map((text) => ["MAX_WORKERS", text] as const),
    ...["", "-1", "1.5", "NaN", "Infinity"].map((text) => ["RETRY_ATTEMPTS", text] as const),
    ...["", "0 seconds", "-5 seconds", "soon"].map((text) => ["TIMEOUT", text] as const),
    ...["", "-5 seconds", "5"].map((text) => ["RETRY_DELAY", text] as const),
    ["BACKEND", ""]
  ]
  for (const [name, text] of variables) {
    it.effect(`RHAPSODY_${name}=${JSON.stringify(text)}, by its variable`, () =>
      Effect.gen(function* () {
        const provider = ConfigProvider.fromMap(new Map([[`RHAPSODY.${name}`, text]]))
        const error = yield* refused(Layer.provide(Defaults.layerConfig(), Layer.setConfigProvider(provider)))
        assert.deepInclude(JSON.parse(JSON.stringify(error)), { _op: "InvalidData", path: ["RHAPSODY", name] })
      })
    )
  }

  it.effect("what can be is taken: durations of any form, and what is undefined says nothing", () =>
    Effect.gen(function* () {
      const { maxWorkers, retryDelay, timeout } = yield* Defaults.Defaults
      assert.deepStrictEqual([maxWorkers, retryDelay, timeout], [4, Duration.zero, Duration.minutes(1)])
      yield* Effect.scoped(Layer.build(NoopBackend.layer()))
    }).pipe(Effect.provide(Defaults.layer({ maxWorkers: undefined, retryDelay: 0, timeout: "1 minute" })))
  )
})
