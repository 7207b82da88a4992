/** What can be wrong with the command and the options of a task, told with the field and the remedy. */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { ConfigurationErrorReason } from "../../Errors.js"
import { ConfigurationError } from "../../Errors.js"
import type * as Task from "../../Task.js"
import { describe } from "./outcome.js"

export type Refusal = ConfigurationError | undefined

export const refuse = (
  configKey: string | undefined,
  reason: ConfigurationErrorReason,
  message: string,
  cause?: unknown
): ConfigurationError =>
  new ConfigurationError({
    ...(configKey === undefined ? {} : { configKey }),
    reason,
    details: { message },
    ...(cause === undefined ? {} : { cause })
  })

const isText = (u: unknown): u is Task.Text => typeof u === "string" || u instanceof Uint8Array
const hasNul = (text: Task.Text) => (typeof text === "string" ? text.includes("\0") : text.includes(0))

const loneSurrogate = /\p{Surrogate}/u

/** Text that has bytes. */
const checkContent = (key: string, value: unknown): Refusal => {
  if (!isText(value)) return refuse(key, "InvalidPayload", `must be a string or a Uint8Array, not ${typeof value}`)
  return typeof value === "string" && loneSurrogate.test(value)
    ? refuse(
        key,
        "InvalidPayload",
        "contains half of a surrogate pair, which no encoding can express; give bytes instead"
      )
    : undefined
}
/** Such text as the system passes on to a program. */
export const checkText = (key: string, value: unknown): Refusal =>
  isText(value) && hasNul(value)
    ? refuse(key, "InvalidPayload", "must not contain a NUL character: the system cannot pass it on")
    : checkContent(key, value)

export const checkInput = (stdin: unknown): Refusal =>
  typeof stdin === "object" && stdin !== null && "file" in stdin
    ? typeof stdin.file === "string"
      ? checkText("stdin.file", stdin.file)
      : refuse("stdin.file", "InvalidPayload", `must be a string, not ${typeof stdin.file}`)
    : checkContent("stdin", stdin)

export const checkEnv = (env: Task.Env | undefined): Refusal => {
  for (const name in env) {
    const value = env[name]
    if (name === "" || name.includes("=") || name.includes("\0") || loneSurrogate.test(name)) {
      const message = "a variable's name must not be empty nor contain =, NUL or half of a surrogate pair"
      return refuse(`env.${name}`, "InvalidOption", message)
    }
    if (value === undefined) continue
    const wrong = checkText(`env.${name}`, Redacted.isRedacted(value) ? Redacted.value(value) : value)
    if (wrong !== undefined) return wrong
  }
  return undefined
}

const uidPattern = /^(?!\.{1,2}$)[^/\p{Cc}\p{Cs}]{1,200}$/u

const nonNegative = (key: string, value: number | undefined): Refusal =>
  value === undefined || (typeof value === "number" && value >= 0 && Number.isFinite(value))
    ? undefined
    : refuse(key, "InvalidOption", `must be a finite number, 0 or more, not ${value}`)

const checkResources = (resources: Task.Resources): Refusal => {
  for (const key of ["cores", "gpus", "memory", "ranks", "nodes"] as const) {
    const wrong = nonNegative(`resources.${key}`, resources[key])
    if (wrong !== undefined) return wrong
  }
  return resources.walltime === undefined ? undefined : millis("resources.walltime", resources.walltime).wrong
}

export const millis = (
  key: string,
  input: Duration.DurationInput
): { readonly millis: number; readonly wrong: Refusal } => {
  const duration = Duration.decodeUnknown(input)
  const value = Option.isSome(duration) ? Duration.toMillis(duration.value) : Number.NaN
  return value > 0
    ? { millis: value, wrong: undefined }
    : { millis: value, wrong: refuse(key, "InvalidOption", `must be a positive duration such as "30 seconds"`) }
}

const notOption = (key: string, must: string, value: unknown): ConfigurationError =>
  refuse(key, "InvalidOption", `must be ${must}, not ${describe(value)}`)

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0

/** Undefined is as good as absent everywhere. */
const oneOf = (key: string, values: ReadonlyArray<unknown>, value: unknown): Refusal =>
  value === undefined || values.includes(value) ? undefined : notOption(key, values.join(" or "), value)

/** Text for the system, of an option that takes no bytes. */
const checkString = (key: string, value: unknown): Refusal =>
  typeof value !== "string"
    ? notOption(key, "a string", value)
    : value.includes("\0") || loneSurrogate.test(value)
      ? refuse(key, "InvalidOption", "must not contain NUL or half of a surrogate pair: the system cannot pass it on")
      : undefined

const checkCapture = (capture: Task.Capture): Refusal => {
  if (typeof capture !== "object" || capture === null) return notOption("capture", "an object", capture)
  const { limit, merged, onChunk, overflow, stderr, stdout } = capture
  if (limit !== undefined && !isCount(limit)) return notOption("capture.limit", "an integer, 0 or more", limit)
  if (onChunk !== undefined && typeof onChunk !== "function") {
    return notOption("capture.onChunk", "a function", onChunk)
  }
  if (merged === true && stderr !== undefined) {
    const message = "is without effect when the streams are merged; name capture.stdout alone"
    return refuse("capture.stderr", "InvalidOption", message)
  }
  if (onChunk !== undefined && overflow === "spill") {
    const message = "cannot be told what is spilled, which goes to files; choose another overflow, or write it yourself"
    return refuse("capture.onChunk", "InvalidOption", message)
  }
  return (
    oneOf("capture.overflow", ["fail", "truncate", "spill"], overflow) ??
    oneOf("capture.merged", [true, false], merged) ??
    (stdout === undefined ? undefined : checkString("capture.stdout", stdout)) ??
    (stderr === undefined ? undefined : checkString("capture.stderr", stderr))
  )
}

const checkPrepare = (lines: ReadonlyArray<string>): Refusal => {
  if (!Array.isArray(lines)) return notOption("prepare", "an array of lines", lines)
  for (let i = 0; i < lines.length; i++) {
    const wrong = checkString(`prepare[${i}]`, lines[i])
    if (wrong !== undefined) return wrong
  }
  return undefined
}

const limitNames: { readonly [K in keyof Task.Limits]-?: true } = {
  addressSpace: true,
  coreSize: true,
  cpuSeconds: true,
  dataSize: true,
  fileSize: true,
  lockedMemory: true,
  openFiles: true,
  processes: true,
  stackSize: true
}

const checkLimits = (limits: Task.Limits): Refusal => {
  if (typeof limits !== "object" || limits === null) return notOption("limits", "an object", limits)
  for (const [name, value] of Object.entries(limits)) {
    if (!Object.hasOwn(limitNames, name)) {
      const known = Object.keys(limitNames).join(", ")
      return refuse(`limits.${name}`, "InvalidOption", `is no limit that is known; there are ${known}`)
    }
    if (value !== undefined && !isCount(value)) return notOption(`limits.${name}`, "an integer, 0 or more", value)
  }
  return undefined
}

const checkNice = (nice: number): Refusal =>
  Number.isInteger(nice) && nice >= -20 && nice <= 19 ? undefined : notOption("nice", "an integer from -20 to 19", nice)

export const checkOptions = (options: Task.Options<any>): Refusal => {
  const { capture, cwd, env, leftovers, limits, nice, prepare, priority, resources, retry, sandbox, uid } = options
  if (uid !== undefined && !(typeof uid === "string" && uidPattern.test(uid))) {
    return refuse("uid", "InvalidOption", "must be a string of 1 to 200 characters without slash or control character")
  }
  if (priority !== undefined && !Number.isFinite(priority))
    return refuse("priority", "InvalidOption", "must be a finite number")
  if (retry?.times !== undefined && !(Number.isInteger(retry.times) && retry.times >= 0)) {
    return refuse("retry.times", "InvalidOption", "must be an integer, 0 or more")
  }
  return (
    (resources === undefined ? undefined : checkResources(resources)) ??
    (capture === undefined ? undefined : checkCapture(capture)) ??
    (cwd === undefined ? undefined : checkText("cwd", cwd)) ??
    (prepare === undefined ? undefined : checkPrepare(prepare)) ??
    oneOf("sandbox", [true, false], sandbox) ??
    (limits === undefined ? undefined : checkLimits(limits)) ??
    (nice === undefined ? undefined : checkNice(nice)) ??
    oneOf("leftovers", ["kill", "detach"], leftovers) ??
    checkEnv(env)
  )
}
