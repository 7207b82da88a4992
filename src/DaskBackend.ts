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
 * can stop: `cancelRunning` says what becomes of it.
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
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Defaults from "./Defaults.js"
import type { BatchDriver } from "./Driver.js"
import type { BackendError } from "./Errors.js"
import { ConfigurationError } from "./Errors.js"
import * as ExecutionBackend from "./ExecutionBackend.js"
import * as internal from "./internal/dask/driver.js"
import { Settings } from "./internal/dask/place.js"
import { interpreters } from "./internal/launch/python.js"
import { snapshot } from "./internal/launch/select.js"
import { settings as makeSettings } from "./TaskOptions.js"

const type = Defaults.BackendType.DASK

/** The kinds of this version. */
export type Kinds = internal.Kinds
const allKinds: ReadonlyArray<Kinds> = ["executable", "python"]

export interface Options<K extends Kinds = Kinds> extends ExecutionBackend.Options {
  /**
   * Of a running scheduler, such as `"tls://head:8786"`; it is left running. Default: a cluster of this layer's own, which
   * no other user of the machine can use: its messages go over TLS with certificates made for it.
   */
  readonly address?: string
  /** Path of the PEM file with the authority that signed the certificate of the scheduler at `address`; needs `cert`. */
  readonly ca?: string
  /** Path of the PEM file with this client's certificate; needs `ca`. */
  readonly cert?: string
  /** Path of the PEM file with the key of `cert`. Default: it is in the file of `cert`. */
  readonly key?: string
  /**
   * `true`: a cluster of this layer's own uses no TLS. Every user of the machine can then run code as you; a warning in
   * the log says so. Default `false`.
   */
  readonly insecure?: boolean
  /** Worker processes of an own cluster. What is not said here and below is Dask's own default. */
  readonly workers?: number
  /** Tasks at the same time in each worker of an own cluster. */
  readonly threadsPerWorker?: number
  /** Of each worker of an own cluster: bytes, or as Dask writes it: `"4GB"`, `"auto"`. */
  readonly memoryLimit?: number | string
  /**
   * What each worker of an own cluster has, for tasks that ask for it: `{ GPU: 1 }`. Without being named it has `CPU`, its
   * threads or its share of the machine's cores, whichever is more, and `MEMORY`, its `memoryLimit` in bytes.
   */
  readonly workerResources?: Readonly<Record<string, number>>
  /** `false`: the workers of an own cluster are threads of one process. Default `true`. */
  readonly processes?: boolean
  /**
   * Address of the dashboard of an own cluster, such as `":8787"`, which listens on this machine alone; with a host,
   * `"0.0.0.0:8787"`, on its interfaces. It shows tasks and logs without a login to every user who can reach it. Default:
   * there is none.
   */
  readonly dashboardAddress?: string
  /**
   * The Python that has `dask` and `distributed`, of the same version as the cluster's, and `cryptography` for a cluster
   * of its own. Modules of the current directory and of PYTHONPATH are not used. Default: `python3`.
   */
  readonly python?: string
  /**
   * Directories of the workers where modules of tasks are looked for first. Workers of an own cluster find only these
   * and installed packages.
   */
  readonly path?: ReadonlyArray<string>
  /** Runs only these, so that another layer can serve the others. Default: all. */
  readonly kinds?: ReadonlyArray<K>
  /** Of a program, between TERM and KILL. Default 5 seconds. */
  readonly killGrace?: Duration.DurationInput
  /**
   * What becomes of a synchronous Python function that runs when it shall stop. `"wait"`, the default: `cancel` fails
   * with CancelUnsupported and the function goes on; whatever else ends the task waits for it, for `stopGrace` at most,
   * and tells `stopped: false`. `"abandon"`: the task ends at once, with `stopped: false`, and the function runs to its
   * end in a place that is not free before. `"restart"`: its worker process is killed and started anew: the function has
   * stopped, and Dask runs again whatever else that worker had, which may be work of others.
   */
  readonly cancelRunning?: "wait" | "abandon" | "restart"
  /** Bytes of JSON that the result of a function may have. Default 16 MiB, at most 60 MiB. */
  readonly resultLimit?: number
  /** How long a scheduler may take to answer. Default 30 seconds. */
  readonly connectTimeout?: Duration.DurationInput
  /**
   * How long a task waits while no worker can take it, because there is none, or none that has what it asks for; then
   * BackendError Unavailable. Its own `timeout` counts from its start. Tasks that wait are in the log, and in the
   * `details` of `ExecutionBackend.state`. Raise it for a cluster whose workers wait in the queue of a batch system;
   * `Duration.infinity` is no limit. Default 10 minutes.
   */
  readonly noWorkersTimeout?: Duration.DurationInput
  /** Where programs with `sandbox: true` get their directories, on their worker. Default `rhapsody.sandboxes`. */
  readonly sandboxes?: string
}

/**
 * Settings of a task that only Dask understands: `resources` that its worker must have, `workers` that may run it (by
 * address, name or host) and `allowOtherWorkers`, `priority` (instead of the common one), `retries` by Dask after a
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

const invalid = (configKey: string, message: string) =>
  new ConfigurationError({ configKey, reason: "InvalidOption", details: { message } })

const own = [
  ...(["workers", "threadsPerWorker", "memoryLimit", "workerResources", "processes"] as const),
  ...(["dashboardAddress", "insecure"] as const)
]
const joined = ["ca", "cert", "key"] as const

const count = (key: string, value: number | undefined) =>
  value === undefined || (Number.isInteger(value) && value >= 1)
    ? undefined
    : invalid(key, `must be an integer, 1 or more, not ${value}`)

const wrongTls = (options: Options): ConfigurationError | undefined => {
  const { address, ca, cert, insecure } = options
  if (insecure !== undefined && typeof insecure !== "boolean") return invalid("insecure", "must be true or false")
  const given = joined.find((key) => options[key] !== undefined)
  if (given === undefined) return undefined
  const bad = joined.find((key) => options[key] !== undefined && !isPath(options[key]))
  if (bad !== undefined) return invalid(bad, "must be the path of a PEM file")
  if (address === undefined) {
    return invalid(given, "is for a scheduler that runs, and no address is given; a cluster of its own makes its own")
  }
  if (!address.startsWith("tls://")) {
    return invalid("address", `must begin with tls:// where ${given} is given, and is ${address}`)
  }
  if (ca === undefined) return invalid("ca", `is missing; Dask needs ca and cert, and ${given} is given`)
  return cert === undefined ? invalid("cert", `is missing; Dask needs ca and cert, and ${given} is given`) : undefined
}

const isPath = (u: unknown): boolean => typeof u === "string" && u !== "" && !/[\0\n]/.test(u)

/** The first option that cannot be honoured. */
const wrong = (options: Options): ConfigurationError | undefined => {
  const { address, cancelRunning, memoryLimit, resultLimit, workerResources } = options
  if (address !== undefined) {
    if (typeof address !== "string" || address === "") return invalid("address", "must be that of a scheduler")
    const idle = own.find((key) => options[key] !== undefined)
    if (idle !== undefined) return invalid(idle, "is for a cluster of its own, and an address is given; leave one out")
  }
  const badTls = wrongTls(options)
  if (badTls !== undefined) return badTls
  const foreign = (options.kinds ?? []).find((kind) => !allKinds.includes(kind))
  if (foreign !== undefined) return invalid("kinds", `must be some of ${allKinds.join(", ")}, not ${foreign}`)
  if (cancelRunning !== undefined && !["wait", "abandon", "restart"].includes(cancelRunning)) {
    return invalid("cancelRunning", `must be wait, abandon or restart, not ${cancelRunning}`)
  }
  if (resultLimit !== undefined && !(resultLimit >= 1 && resultLimit <= maxResult)) {
    return invalid("resultLimit", `must be from 1 to ${maxResult} bytes, not ${resultLimit}`)
  }
  if (typeof memoryLimit === "number" && !(memoryLimit > 0)) return invalid("memoryLimit", "must be more than 0 bytes")
  for (const [name, value] of Object.entries(workerResources ?? {})) {
    if (!(Number.isFinite(value) && value > 0))
      return invalid(`workerResources.${name}`, "must be more than 0, and finite")
  }
  if (options.path?.every((one) => typeof one === "string" && one !== "" && !one.includes("\0")) === false) {
    return invalid("path", "must be paths of directories")
  }
  return count("workers", options.workers) ?? count("threadsPerWorker", options.threadsPerWorker)
}

const maxResult = 60 * 1024 * 1024

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
): Effect.Effect<BatchDriver<K>, ConfigurationError | BackendError, Scope.Scope> =>
  Effect.gen(function* () {
    const refusal = wrong(options)
    if (refusal !== undefined) return yield* refusal
    const duration = (key: "killGrace" | "connectTimeout" | "noWorkersTimeout", fallback: Duration.DurationInput) =>
      Option.match(Duration.decodeUnknown(options[key] ?? fallback), {
        onNone: () => Effect.fail(invalid(key, `must be a duration such as "5 seconds"`)),
        onSome: (duration) => Effect.succeed(Duration.toMillis(duration))
      })
    const killGrace = yield* duration("killGrace", "5 seconds")
    const timeout = yield* duration("connectTimeout", "30 seconds")
    const noWorkersTimeout = yield* duration("noWorkersTimeout", "10 minutes")
    return (yield* internal.make(
      {
        python: options.python ?? interpreters[0]!,
        env: snapshot(),
        cluster: clusterOf(options),
        timeout,
        noWorkersTimeout,
        path: options.path ?? [],
        resultLimit: options.resultLimit ?? 16 * 1024 * 1024,
        killGrace,
        deaf: options.cancelRunning ?? "wait",
        sandboxes: options.sandboxes ?? "rhapsody.sandboxes",
        kinds: options.kinds ?? allKinds
      },
      settings
    )) as BatchDriver<K>
  })

/**
 * The layer. The addresses of the scheduler and of the dashboard are in the `details` of `ExecutionBackend.state`, and in
 * the log: at the level of information where a `dashboardAddress` is given, else at that of debugging.
 */
export const layer = <const K extends Kinds = Kinds>(
  options: Options<K> = {}
): Layer.Layer<ExecutionBackend.ExecutionBackend<K>, ConfigurationError | BackendError> =>
  ExecutionBackend.layer(
    Effect.tap(driver(options), ({ details }) => {
      const { dashboard = "none", scheduler } = details?.() ?? {}
      // a dashboard is for people, who look for its address; else standard output is the program's own
      const log = options.dashboardAddress === undefined ? Effect.logDebug : Effect.logInfo
      return log(`Dask: scheduler at ${scheduler}, dashboard at ${dashboard}`)
    }),
    options
  )

/** The same with options from `Config`, each on its own or all together. */
export const layerConfig = <const K extends Kinds = Kinds>(
  options: Config.Config.Wrap<Options<K>>
): Layer.Layer<ExecutionBackend.ExecutionBackend<K>, ConfigurationError | BackendError | ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), (options) => layer(options as Options<K>)))
