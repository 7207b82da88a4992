import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Layer } from "effect"
import { Defaults } from "effect-rhapsody"

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
