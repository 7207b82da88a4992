/**
 * What applies where nothing is said: backend `"concurrent"`, 4 workers, no retries, 1 second between attempts, no
 * timeout. Options of a layer or a task come first, then a `Defaults` layer, then these.
 *
 * @example
 * ```ts
 * import { Layer } from "effect"
 * import { ConcurrentBackend, Defaults } from "effect-rhapsody"
 *
 * // RHAPSODY_MAX_WORKERS, RHAPSODY_RETRY_ATTEMPTS, RHAPSODY_RETRY_DELAY, RHAPSODY_TIMEOUT, RHAPSODY_BACKEND
 * export const Backend = ConcurrentBackend.layer().pipe(Layer.provide(Defaults.layerConfig()))
 * ```
 */
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"

/** Names of the backends that this library has or will have; a registry may know more. */
export const BackendType = {
  CONCURRENT: "concurrent",
  DASK: "dask",
  RADICAL_PILOT: "radical_pilot"
} as const

export interface Values {
  /** The backend that a registry gives when none is named. */
  readonly backend: string
  /** Tasks at the same time in a backend with slots. */
  readonly maxWorkers: number
  /** Further attempts after the first. */
  readonly retryAttempts: number
  /** Pause between attempts. */
  readonly retryDelay: Duration.Duration
  /** Longest time of one attempt; undefined: no limit. */
  readonly timeout: Duration.Duration | undefined
}

/** The values of the original library. */
export const values: Values = {
  backend: BackendType.CONCURRENT,
  maxWorkers: 4,
  retryAttempts: 0,
  retryDelay: Duration.seconds(1),
  timeout: undefined
}

/** Read when a backend's layer is built. A `Context.Reference`: nobody has to provide it. */
export class Defaults extends Context.Reference<Defaults>()("effect-rhapsody/Defaults", {
  defaultValue: (): Values => values
}) {}

/** Replaces some of the defaults for the layers that it is provided to. */
export const layer = (some: Partial<Values>): Layer.Layer<Defaults> => Layer.succeed(Defaults, { ...values, ...some })

/** The same from `Config`: `MAX_WORKERS`, `RETRY_ATTEMPTS`, `RETRY_DELAY`, `TIMEOUT`, `BACKEND` under a prefix. */
export const layerConfig = (prefix = "RHAPSODY"): Layer.Layer<Defaults, ConfigError> =>
  Layer.effect(
    Defaults,
    Config.all({
      backend: Config.nonEmptyString("BACKEND").pipe(Config.withDefault(values.backend)),
      maxWorkers: Config.integer("MAX_WORKERS").pipe(Config.withDefault(values.maxWorkers)),
      retryAttempts: Config.integer("RETRY_ATTEMPTS").pipe(Config.withDefault(values.retryAttempts)),
      retryDelay: Config.duration("RETRY_DELAY").pipe(Config.withDefault(values.retryDelay)),
      timeout: Config.option(Config.duration("TIMEOUT")).pipe(Config.map(Option.getOrUndefined))
    }).pipe(
      Config.nested(prefix),
      Effect.map((read): Values => read)
    )
  )
