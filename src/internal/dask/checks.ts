/** What is wrong with the options of a Dask backend. */
import type { Options } from "../../DaskBackend.js"
import type { ConfigurationError } from "../../Errors.js"
import { limitChecks } from "../engine/submit/limits.js"
import type { Check, Checks } from "../options/values.js"
import { count, duration, fields, flag, isRecord, list, mustBe, oneOf, refuse, some, text } from "../options/values.js"
import { noOwnPath } from "../process/ownPaths.js"

export const kinds = ["executable", "python"] as const

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
    return invalid(given, "is for a scheduler that runs, and no address is given; a cluster of its own makes its own")
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
    : invalid(idle, "is for a cluster of its own, and an address is given; leave one out")
}
