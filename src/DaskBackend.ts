/**
 * Runs tasks on Dask: Python functions and programs on the workers of a cluster that this layer starts and closes, or
 * of a scheduler that runs already. For work that needs more than one process of Python, or more than one machine.
 *
 * A bridge, one process of the given Python, stands between this process and the scheduler. Nothing of this library
 * need be installed on the cluster: what scheduler and workers need is shipped when the layer is built, and removed when
 * it closes. Programs are started by a launch agent on the worker that Dask chose, with the worker's environment; paths
 * are relative to the worker's directory. The cluster must run the same Python packages that functions need.
 *
 * What a cancel does: a task that has not started never runs; of a program, the whole process tree is gone when its
 * end is reported; an asynchronous function is cancelled at its next `await`. A synchronous function runs in a thread, which nothing
 * can stop: `onUncancellable` says what becomes of it.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
 *
 * const Mean = Task.python("Mean", {
 *   callable: "statistics:fmean",
 *   payload: { data: Schema.Array(Schema.Number) },
 *   success: Schema.Number
 * })
 *
 * export const program = ExecutionBackend.execute(Mean.make({ data: [1, 2, 3] })).pipe(
 *   Effect.provide(DaskBackend.layer({ workers: 2, python: "env/bin/python" }))
 * )
 * ```
 */

import * as path from "node:path"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Backend from "./Backend.js"
import * as Defaults from "./Defaults.js"
import type { QueueDriver } from "./Driver.js"
import type { BackendError, ConfigurationError } from "./Errors.js"
import type * as ExecutionBackend from "./ExecutionBackend.js"
import * as internal from "./internal/dask/driver.js"
import type { Options } from "./internal/dask/options.js"
import { checkOptions, kinds } from "./internal/dask/options.js"
import { Settings } from "./internal/dask/place.js"
import { limitsIn } from "./internal/engine/submit/limits.js"
import { millisOf } from "./internal/options/values.js"
import { interpreters } from "./internal/process/python.js"
import { snapshot } from "./internal/process/select.js"
import { settings as makeSettings } from "./TaskOptions.js"

export type { Options }

const type = Defaults.BackendType.DASK

/** The kinds of this version. */
export type Kinds = internal.Kinds

/**
 * Settings of a task that only Dask understands: `resources` that its worker must have, `workers` that may run it (by
 * address, host or name, which may be a number) and `allowOtherWorkers`, `priority` (instead of the common one), `retries` by Dask after a
 * failure (each is the same attempt here), and the `key` that Dask knows it by, which must be unique.
 *
 * Common resources are asked of the worker as `CPU` (`cores`, when more than one), `GPU` (`gpus`) and `MEMORY` (`memory`,
 * in bytes), which workers must have been started with; `nodes` and `ranks` of more than one are refused; `walltime`
 * means nothing to Dask.
 *
 * @example
 * ```ts
 * import { DaskBackend, Task } from "effect-rhapsody"
 *
 * export const Train = Task.python("Train", {
 *   callable: "model:fit",
 *   settings: DaskBackend.settings({ resources: { GPU: 1 }, retries: 2 })
 * })
 * ```
 */
export const settings = makeSettings(type, Settings)

/** `":8787"`: Dask would open it on all interfaces. */
const dashboard = (address: string | undefined): string | null =>
  address === undefined ? null : address.replace(/^:/, "127.0.0.1:")

const clusterOf = (options: Options): internal.ResolvedOptions["cluster"] => {
  const { address, ca, cert, dashboardAddress, insecure, key, memoryLimit, processes, threadsPerWorker } = options
  if (address !== undefined) {
    if (ca === undefined || cert === undefined) return { address }
    const [caFile, certFile] = [path.resolve(ca), path.resolve(cert)]
    return { address, tls: { ca: caFile, cert: certFile, ...(key === undefined ? {} : { key: path.resolve(key) }) } }
  }
  return {
    local: {
      options: {
        dashboard_address: dashboard(dashboardAddress),
        ...(options.workers === undefined ? {} : { n_workers: options.workers }),
        ...(threadsPerWorker === undefined ? {} : { threads_per_worker: threadsPerWorker }),
        ...(memoryLimit === undefined ? {} : { memory_limit: memoryLimit }),
        ...(processes === undefined ? {} : { processes })
      },
      resources: options.workerResources ?? {},
      insecure: insecure === true
    }
  }
}

/** The driver alone: to put something of your own around it. */
export const driver = <const K extends Kinds = Kinds>(
  options: Options<K> = {}
): Effect.Effect<QueueDriver<K>, ConfigurationError | BackendError, Scope.Scope> =>
  Effect.gen(function* () {
    const wrong = checkOptions(options)
    if (wrong !== undefined) return yield* wrong
    return (yield* internal.make(
      {
        python: options.python ?? interpreters[0]!,
        env: snapshot(),
        cluster: clusterOf(options),
        timeout: millisOf(options.connectTimeout ?? "30 seconds")!,
        noWorkersTimeout: millisOf(options.noWorkersTimeout ?? "10 minutes")!,
        path: options.path?.slice() ?? [],
        resultLimit: options.resultLimit ?? 16 * 1024 * 1024,
        forceKillAfter: millisOf(options.forceKillAfter ?? "5 seconds")!,
        deaf: options.onUncancellable ?? "wait",
        sandboxes: options.sandboxRoot ?? "rhapsody.sandboxes",
        kinds: options.kinds?.slice() ?? kinds
      },
      settings
    )) as QueueDriver<K>
  })

/**
 * The layer. The addresses of the scheduler and of the dashboard are in the `details` of `ExecutionBackend.state`, and in
 * the log: at the level of information where a `dashboardAddress` is given, else at that of debugging.
 */
export const layer = <const K extends Kinds = Kinds>(
  options: Options<K> = {}
): Layer.Layer<ExecutionBackend.ExecutionBackend<K>, ConfigurationError | BackendError> =>
  Backend.layer(
    Effect.tap(driver(options), ({ details }) => {
      const { dashboard = "none", scheduler } = details?.() ?? {}
      // a dashboard is for people, who look for its address; else standard output is the program's own
      const log = options.dashboardAddress === undefined ? Effect.logDebug : Effect.logInfo
      return log(`Dask: scheduler at ${scheduler}, dashboard at ${dashboard}`)
    }),
    limitsIn(options)
  )

/** The same with options from `Config`, each on its own or all together. */
export const layerConfig = <const K extends Kinds = Kinds>(
  options: Config.Config.Wrap<Options<K>>
): Layer.Layer<ExecutionBackend.ExecutionBackend<K>, ConfigurationError | BackendError | ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), (options) => layer(options as Options<K>)))
