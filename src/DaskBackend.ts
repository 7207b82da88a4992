/**
 * Runs tasks on Dask: Python functions and programs on the workers of a cluster that this layer starts and closes, or
 * of a scheduler that runs already. For work that needs more than one process of Python, or more than one machine.
 *
 * A bridge, one process of the given Python, stands between this process and the scheduler. Nothing of this library
 * need be installed on the cluster: what scheduler and workers need is shipped when the layer is built, and removed when
 * it closes. Programs are started by a launch agent on the worker that Dask chose, with the worker's environment; paths
 * are relative to the worker's directory. The cluster must run the same Python packages that functions need.
 *
 * What a cancel does: a task that has not started never runs; of a program, the whole process tree is gone when it is
 * told; an asynchronous function is cancelled at its next `await`. A synchronous function runs in a thread, which nothing
 * can stop: `onUncancellable` says what becomes of it.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { Backend, DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
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
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Backend from "./Backend.js"
import * as Defaults from "./Defaults.js"
import type { QueueDriver } from "./Driver.js"
import type { BackendError, ConfigurationError } from "./Errors.js"
import type * as ExecutionBackend from "./ExecutionBackend.js"
import { checkOptions, kinds } from "./internal/dask/checks.js"
import * as internal from "./internal/dask/driver.js"
import { Settings } from "./internal/dask/place.js"
import { limitsIn } from "./internal/engine/submit/limits.js"
import { millisOf } from "./internal/options/values.js"
import { interpreters } from "./internal/process/python.js"
import { snapshot } from "./internal/process/select.js"
import { settings as makeSettings } from "./TaskOptions.js"

const type = Defaults.BackendType.DASK

/** The kinds of this version. */
export type Kinds = internal.Kinds

export interface Options<K extends Kinds = Kinds> extends Backend.Options {
  /**
   * Of a running scheduler, such as `"tls://head:8786"`; it is left running. Default: a cluster of this layer's own, which
   * no other user of the machine can use: its messages go over TLS with certificates made for it.
   */
  readonly address?: string | undefined
  /** Path of the PEM file with the authority that signed the certificate of the scheduler at `address`; needs `cert`. */
  readonly ca?: string | undefined
  /** Path of the PEM file with this client's certificate; needs `ca`. */
  readonly cert?: string | undefined
  /** Path of the PEM file with the key of `cert`. Default: it is in the file of `cert`. */
  readonly key?: string | undefined
  /**
   * `true`: a cluster of this layer's own uses no TLS. Every user of the machine can then run code as you; a warning in
   * the log says so. Default `false`.
   */
  readonly insecure?: boolean | undefined
  /** Worker processes of an own cluster. What is not said here and below is Dask's own default. */
  readonly workers?: number | undefined
  /** Tasks at the same time in each worker of an own cluster. */
  readonly threadsPerWorker?: number | undefined
  /** Of each worker of an own cluster: bytes, or as Dask writes it: `"4GB"`, `"auto"`. */
  readonly memoryLimit?: number | string | undefined
  /**
   * What each worker of an own cluster has, for tasks that ask for it: `{ GPU: 1 }`. Without being named it has `CPU`, its
   * threads or its share of the machine's cores, whichever is more, and `MEMORY`, its `memoryLimit` in bytes.
   */
  readonly workerResources?: Readonly<Record<string, number>> | undefined
  /** `false`: the workers of an own cluster are threads of one process. Default `true`. */
  readonly processes?: boolean | undefined
  /**
   * Address of the dashboard of an own cluster, such as `":8787"`, which listens on this machine alone; with a host,
   * `"0.0.0.0:8787"`, on its interfaces. It shows tasks and logs without a login to every user who can reach it. Default:
   * there is none.
   */
  readonly dashboardAddress?: string | undefined
  /**
   * The Python that has `dask` and `distributed`, of the same version as the cluster's, and `cryptography` for a cluster
   * of its own. Modules of the current directory and of PYTHONPATH are not used. Default: `python3`.
   */
  readonly python?: string | undefined
  /**
   * Directories of the workers where modules of tasks are looked for first. Workers of an own cluster find only these
   * and installed packages.
   */
  readonly path?: ReadonlyArray<string> | undefined
  /** Runs only these, so that another layer can serve the others. Default: all. */
  readonly kinds?: ReadonlyArray<K> | undefined
  /** Of a program, between TERM and KILL. Default 5 seconds. */
  readonly forceKillAfter?: Duration.DurationInput | undefined
  /**
   * What becomes of a synchronous Python function that runs when it shall stop. `"wait"`, the default: `cancel` fails
   * with CancelUnsupported and the function goes on; whatever else ends the task waits for it, for `stopTimeout` at most,
   * and tells `stopped: false`. `"abandon"`: the task ends at once, with `stopped: false`, and the function runs to its
   * end in a place that is not free before. `"restart"`: its worker process is killed and started anew: the function has
   * stopped, and Dask runs again what else that worker had, which may be work of others; its programs are Lost.
   */
  readonly onUncancellable?: "wait" | "abandon" | "restart" | undefined
  /** Bytes of JSON that the result of a function may have. Default 16 MiB, at most 60 MiB. */
  readonly resultLimit?: number | undefined
  /** How long a scheduler may take to answer. Default 30 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /**
   * How long a task waits while no worker can take it, because there is none, or none that has what it asks for; then
   * BackendError Unavailable. Its own `timeout` counts from its start. Tasks that wait are in the log, and in the
   * `details` of `ExecutionBackend.state`. Raise it for a cluster whose workers wait in the queue of a batch system;
   * `Duration.infinity` is no limit. Default 10 minutes.
   */
  readonly noWorkersTimeout?: Duration.DurationInput | undefined
  /** Where programs with `sandbox: true` get their directories, on their worker. Default `rhapsody.sandboxes`. */
  readonly sandboxRoot?: string | undefined
}

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

const clusterOf = (options: Options): internal.Settled["cluster"] => {
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
