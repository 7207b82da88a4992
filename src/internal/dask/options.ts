/** The options of a Dask backend, and what each may be. */
import type * as Duration from "effect/Duration"
import type { ConfigurationError } from "../../Errors.js"
import type { Options as BackendOptions } from "../engine/submit/limits.js"
import { limitChecks } from "../engine/submit/limits.js"
import type { Check, Checks } from "../options/values.js"
import { count, duration, fields, flag, isRecord, list, mustBe, oneOf, refuse, some, text } from "../options/values.js"
import { noOwnPath } from "../process/ownPaths.js"

export const kinds = ["executable", "python"] as const

export type Kinds = (typeof kinds)[number]

export interface Options<K extends Kinds = Kinds> extends BackendOptions {
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
  /** Worker processes of a managed cluster. What is not said here and below is Dask's own default. */
  readonly workers?: number | undefined
  /** Tasks at the same time in each worker of a managed cluster. */
  readonly threadsPerWorker?: number | undefined
  /** Of each worker of a managed cluster: bytes, or as Dask writes it: `"4GB"`, `"auto"`. */
  readonly memoryLimit?: number | string | undefined
  /**
   * What each worker of a managed cluster has, for tasks that ask for it: `{ GPU: 1 }`. Without being named it has `CPU`, its
   * threads or its share of the machine's cores, whichever is more, and `MEMORY`, its `memoryLimit` in bytes.
   */
  readonly workerResources?: Readonly<Record<string, number>> | undefined
  /** `false`: the workers of a managed cluster are threads of one process. Default `true`. */
  readonly processes?: boolean | undefined
  /**
   * Address of the dashboard of a managed cluster, such as `":8787"`, which listens on this machine alone; with a host,
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
   * Directories of the workers where modules of tasks are looked for first. Workers of a managed cluster find only these
   * and installed packages.
   */
  readonly path?: ReadonlyArray<string> | undefined
  /** Runs only these, so that another layer can serve the others. Default: all. */
  readonly kinds?: ReadonlyArray<K> | undefined
  /** Of a program, between TERM and KILL. Default 5 seconds. */
  readonly forceKillAfter?: Duration.DurationInput | undefined
  /**
   * What becomes of a synchronous Python function that runs when its task is to stop. `"wait"`, the default: `cancel` fails
   * with CancelUnsupported and the function goes on; any other end of the task waits for it, for `stopTimeout` at most,
   * and reports `stopped: false`. `"abandon"`: the task ends at once, with `stopped: false`, and the function runs to its
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

const maxResult = 60 * 1024 * 1024

const pem: Check = noOwnPath((key, value) =>
  typeof value === "string" && value !== "" && !/[\0\n]/.test(value)
    ? undefined
    : mustBe(key, "the path of a PEM file", value)
)
const positive: Check = (key, value) =>
  Number.isFinite(value) && (value as number) > 0 ? undefined : mustBe(key, "more than 0, and finite", value)
const memory: Check = (key, value) =>
  typeof value === "number"
    ? value > 0
      ? undefined
      : mustBe(key, "more than 0 bytes", value)
    : text('bytes, or text such as "4GB"', false)(key, value)
const resources: Check = (key, value) => {
  if (!isRecord(value)) return mustBe(key, "an object such as { GPU: 1 }", value)
  for (const [name, amount] of Object.entries(value)) {
    const wrong = positive(`${key}.${name}`, amount)
    if (wrong !== undefined) return wrong
  }
  return undefined
}
const result: Check = (key, value) =>
  typeof value === "number" && value >= 1 && value <= maxResult
    ? undefined
    : mustBe(key, `from 1 to ${maxResult} bytes`, value)
const directories: Check = (key, value) =>
  list("paths of directories", text("a path", false))(key, value) === undefined
    ? list("paths of directories", noOwnPath(text("a path", false), { here: false }))(key, value)
    : mustBe(key, "paths of directories", value)

const checks: Checks<Options> = {
  ...limitChecks,
  address: text("the address of a scheduler", false),
  ca: pem,
  cert: pem,
  key: pem,
  insecure: flag,
  workers: count(1),
  threadsPerWorker: count(1),
  memoryLimit: memory,
  workerResources: resources,
  processes: flag,
  dashboardAddress: text("an address", false),
  python: noOwnPath(text("the name or path of a Python", false)),
  path: directories,
  kinds: some("kinds", kinds),
  forceKillAfter: duration(),
  onUncancellable: oneOf("wait", "abandon", "restart"),
  resultLimit: result,
  connectTimeout: duration({ finite: true, positive: true }),
  noWorkersTimeout: duration({ positive: true }),
  sandboxRoot: noOwnPath(text("the path of a directory", false), { here: false })
}
const optionFields = fields(checks, "an option of DaskBackend")

const own = [
  ...(["workers", "threadsPerWorker", "memoryLimit", "workerResources", "processes"] as const),
  ...(["dashboardAddress", "insecure"] as const)
]
const joined = ["ca", "cert", "key"] as const

const invalid = (configKey: string, message: string) => refuse(configKey, "InvalidOption", message)

const checkTls = (options: Options): ConfigurationError | undefined => {
  const { address, ca, cert } = options
  const given = joined.find((key) => options[key] !== undefined)
  if (given === undefined) return undefined
  if (address === undefined) {
    return invalid(
      given,
      "is for a scheduler that already runs, and no address is given; leave it out, because a managed cluster makes its own"
    )
  }
  if (!address.startsWith("tls://")) {
    return invalid("address", `must begin with tls:// where ${given} is given, and is ${address}`)
  }
  if (ca === undefined) return invalid("ca", `is missing; Dask needs ca and cert, and ${given} is given`)
  return cert === undefined ? invalid("cert", `is missing; Dask needs ca and cert, and ${given} is given`) : undefined
}

/** The first option that cannot be honoured. */
export const checkOptions = (options: Options): ConfigurationError | undefined => {
  const wrong = optionFields("", options)
  if (wrong !== undefined) return wrong
  const idle = options.address === undefined ? undefined : own.find((key) => options[key] !== undefined)
  return idle === undefined
    ? checkTls(options)
    : invalid(idle, "is for a managed cluster, and an address is given; leave one of the two out")
}
