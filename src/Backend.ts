/**
 * How a driver becomes a backend: `layer` gives the layer that programs are provided with, `make` the service alone. The
 * contract (uids, states, retries, timeouts, maxActiveTasks, events, encoding) is the same for every driver.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Backend, Driver } from "effect-rhapsody"
 *
 * export const EchoBackend = Backend.layer({
 *   type: "echo",
 *   kinds: ["executable"],
 *   concurrency: 8,
 *   run: (spec) => Effect.succeed(Driver.Outcome.exited({ exitCode: 0, stdout: spec.name }))
 * })
 * ```
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { AnyDriver } from "./Driver.js"
import type { ConfigurationError } from "./Errors.js"
import type * as ExecutionBackend from "./ExecutionBackend.js"
import * as engine from "./internal/engine/engine.js"
import { named } from "./internal/engine/named.js"
import * as verbs from "./internal/engine/service.js"
import type { Options } from "./internal/engine/submit/limits.js"
import { keys, plain } from "./internal/keys.js"
import type { Kind } from "./Kind.js"

export type { Options } from "./internal/engine/submit/limits.js"

/** The service over a driver, for as long as the scope is open. Use `layer` unless you build a layer of your own. */
export const make = <const K extends Kind>(
  driver: AnyDriver<K>,
  options: Options = {}
): Effect.Effect<ExecutionBackend.Backend, ConfigurationError, Scope.Scope> =>
  Effect.gen(function* () {
    // a scope of its own, because its finalizers have an order, and the caller's scope may run its own in parallel
    const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
    return verbs.make(driver, yield* Scope.extend(engine.make(driver, options), scope))
  })

/**
 * A backend: the one way to a layer that claims kinds, which are those of the driver. Fails with `ConfigurationError`
 * when a limit has a value that cannot be honoured.
 */
export const layer = <const K extends Kind, E = never, R = never>(
  driver: AnyDriver<K> | Effect.Effect<AnyDriver<K>, E, R>,
  options?: Options
): Layer.Layer<ExecutionBackend.ExecutionBackend<K>, E | ConfigurationError, Exclude<R, Scope.Scope>> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const built = Effect.isEffect(driver)
        ? yield* Effect.mapError(driver, (error) => named(undefined, options?.name)(error) as E)
        : driver
      const backend = yield* make(built, options)
      return built.kinds.reduce<Context.Context<any>>(
        (context, kind) => Context.add(context, keys[kind], backend),
        Context.make(plain, backend)
      )
    })
  )

/** The key of the backend that runs a kind: for a layer that is built by other means than `layer`. */
export const forKind = <K extends Kind>(
  kind: K
): Context.Tag<ExecutionBackend.ExecutionBackend<K>, ExecutionBackend.Backend> => keys[kind]
