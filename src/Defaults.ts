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
import { integer, span, string } from "./internal/options/config.js"
import type { Given, Values } from "./internal/options/defaults.js"
import { defaultChecks, over } from "./internal/options/defaults.js"

export type { Given, Values }

/** Names of the backends that this library has or will have; a registry may know more. */
export const BackendType = {
  CONCURRENT: "concurrent",
  DASK: "dask",
  RADICAL_PILOT: "radical_pilot"
} as const

/** The values of RHAPSODY. */
export const values: Values = {
  backend: BackendType.CONCURRENT,
  maxWorkers: 4,
  retryAttempts: 0,
  retryDelay: Duration.seconds(1),
  timeout: undefined
}

/**
 * Read when a backend's layer is built. A `Context.Reference`: it need not be provided. One that cannot be honoured, or
 * that is unknown, refuses the backend with `ConfigurationError` InvalidOption: `Defaults.maxWorkers`.
 */
export class Defaults extends Context.Reference<Defaults>()("effect-rhapsody/Defaults", {
  defaultValue: (): Values => values
}) {}

/**
 * Replaces some of the defaults for the layers that it is provided to: `retryAttempts` of 0 or more, `maxWorkers` of 1
 * or more, a `timeout` of more than zero. What cannot be honoured is refused by the backends: see `Defaults`.
 */
export const layer = (some: Given): Layer.Layer<Defaults> => Layer.sync(Defaults, () => over(values, some))

const variable = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)

/**
 * The same from `Config`: `MAX_WORKERS`, `RETRY_ATTEMPTS`, `RETRY_DELAY`, `TIMEOUT`, `BACKEND` under a prefix. A variable
 * that cannot be honoured, an empty one too, is a `ConfigError` that names it.
 */
export const layerConfig = (prefix = "RHAPSODY"): Layer.Layer<Defaults, ConfigError> =>
  Layer.effect(
    Defaults,
    Config.all({
      backend: variable(string("BACKEND", defaultChecks.backend)),
      maxWorkers: variable(integer("MAX_WORKERS", defaultChecks.maxWorkers)),
      retryAttempts: variable(integer("RETRY_ATTEMPTS", defaultChecks.retryAttempts)),
      retryDelay: variable(span("RETRY_DELAY", defaultChecks.retryDelay)),
      timeout: variable(span("TIMEOUT", defaultChecks.timeout))
    }).pipe(
      Config.nested(prefix),
      Effect.map((read): Values => over(values, read))
    )
  )
