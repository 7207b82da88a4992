/** What can be wrong with the command and the options of a task, reported with the field and the remedy. */
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Task from "../../../Task.js"
import type { Check, Checks, Refusal } from "../../options/values.js"
import {
  callback,
  count,
  duration,
  fields,
  flag,
  isPromise,
  isRecord,
  list,
  mustBe,
  nameOf,
  oneOf,
  refuse,
  text
} from "../../options/values.js"

const isText = (u: unknown): u is Task.Text => typeof u === "string" || u instanceof Uint8Array
const hasNul = (text: Task.Text) => (typeof text === "string" ? text.includes("\0") : text.includes(0))

const loneSurrogate = /\p{Surrogate}/u

/** Text that has bytes. */
const checkContent = (key: string, value: unknown): Refusal => {
  if (!isText(value)) return refuse(key, "InvalidPayload", `must be a string or a Uint8Array, not ${nameOf(value)}`)
  return typeof value === "string" && loneSurrogate.test(value)
    ? refuse(
        key,
        "InvalidPayload",
        "contains half of a surrogate pair, which no encoding can express; give bytes instead"
      )
    : undefined
}
/** Such text as the system passes on to a program. */
const checkText = (key: string, value: unknown): Refusal =>
  isText(value) && hasNul(value)
    ? refuse(key, "InvalidPayload", "must not contain a NUL character: the system cannot pass it on")
    : checkContent(key, value)

const checkInput: Check = (key, stdin) =>
  typeof stdin === "object" && stdin !== null && "file" in stdin
    ? typeof stdin.file === "string"
      ? checkText("stdin.file", stdin.file)
      : refuse("stdin.file", "InvalidPayload", `must be a string, not ${nameOf(stdin.file)}`)
    : checkContent(key, stdin)

const checkEnv: Check = (key, env) => {
  if (!isRecord(env)) return mustBe(key, "an object of variables", env)
  for (const name of Object.keys(env)) {
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

const args: Check = (key, values) => {
  if (!Array.isArray(values)) return refuse(key, "InvalidPayload", `must be an array, not ${nameOf(values)}`)
  for (let i = 0; i < values.length; i++) {
    const wrong = checkText(`${key}[${i}]`, values[i])
    if (wrong !== undefined) return wrong
  }
  return undefined
}

const command: Checks<Task.Command> = { executable: checkText, args, stdin: checkInput, env: checkEnv, cwd: checkText }
const commandFields = fields(command, "a field of a command")

/** What the command function of a definition gave. */
export const checkCommand = (given: Task.Command, task: string): Refusal => {
  if (!isRecord(given)) {
    const what = isPromise(given) ? "a promise; it must give the command itself" : nameOf(given)
    return refuse("command", "InvalidPayload", `the command function of task ${task} gave ${what}`)
  }
  const { executable } = given
  if (executable === undefined || executable.length === 0) {
    return refuse("executable", "InvalidPayload", `must be a program, not ${nameOf(executable)}`)
  }
  return commandFields("", given)
}

const uidPattern = /^(?!\.{1,2}$)[^/\p{Cc}\p{Cs}]+$/u
/** The system's names of files have 255, and a uid may be a part of one. */
const longestUid = 200

const checkUid: Check = (key, uid) => {
  if (typeof uid !== "string" || !uidPattern.test(uid)) {
    return refuse(key, "InvalidOption", "must be a string without slash or control character, and not empty")
  }
  const bytes = uid.length * 3 <= longestUid ? 0 : Buffer.byteLength(uid)
  return bytes <= longestUid
    ? undefined
    : refuse(
        key,
        "InvalidOption",
        `must have ${longestUid} bytes of UTF-8 at most, because it names files; this has ${bytes}`
      )
}

const finite: Check = (key, value) => (Number.isFinite(value) ? undefined : mustBe(key, "a finite number", value))
const amount: Check = (key, value) =>
  Number.isFinite(value) && (value as number) >= 0 ? undefined : mustBe(key, "a finite number, 0 or more", value)
const niceness: Check = (key, value) =>
  Number.isInteger(value) && Math.abs((value as number) + 0.5) < 20
    ? undefined
    : mustBe(key, "an integer from -20 to 19", value)
const time = duration({ positive: true })
const isSchedule: Check = (key, value) => (Schedule.isSchedule(value) ? undefined : mustBe(key, "a Schedule", value))

const resources: Checks<Task.Resources> = {
  cores: amount,
  gpus: amount,
  memory: amount,
  ranks: amount,
  nodes: amount,
  walltime: time
}

const retry: Checks<Task.Retry> = { times: count(), schedule: isSchedule, while: callback }

const captured: Checks<Task.Capture> = {
  limit: count(),
  overflow: oneOf("fail", "truncate", "spill"),
  stdout: text(),
  stderr: text(),
  append: flag,
  makeDirectories: flag,
  mergeStderr: flag,
  onChunk: callback
}
const captureFields = fields(captured, "a part of capture")

const checkCapture: Check = (key, capture) => {
  const wrong = captureFields(key, capture)
  if (wrong !== undefined) return wrong
  const { append, makeDirectories, mergeStderr, onChunk, overflow, stderr, stdout } = capture as Task.Capture
  if (stdout === undefined && stderr === undefined && (append === true || makeDirectories === true)) {
    const field = append === true ? "append" : "makeDirectories"
    const message = "is without effect when no file is named; name capture.stdout or capture.stderr"
    return refuse(`${key}.${field}`, "InvalidOption", message)
  }
  if (mergeStderr === true && stderr !== undefined) {
    const message = "is without effect when the streams are merged; name capture.stdout alone"
    return refuse("capture.stderr", "InvalidOption", message)
  }
  if (onChunk !== undefined && overflow === "spill") {
    const message = "does not see what is spilled, which goes to files; choose another overflow, or write it yourself"
    return refuse("capture.onChunk", "InvalidOption", message)
  }
  return undefined
}

const limits: Checks<Task.Rlimits> = {
  addressSpace: count(),
  coreSize: count(),
  cpuSeconds: count(),
  dataSize: count(),
  fileSize: count(),
  lockedMemory: count(),
  openFiles: count(),
  processes: count(),
  stackSize: count()
}

const options: Checks<Task.Options> = {
  uid: checkUid,
  timeout: time,
  priority: finite,
  retry: fields(retry, "a part of a retry policy", "an object such as { times: 3 }"),
  resources: fields(resources, "a resource", "an object such as { cores: 2 }"),
  capture: checkCapture,
  cwd: checkText,
  preExec: list("an array of lines", text()),
  sandbox: flag,
  rlimits: fields(limits, "a limit", "an object such as { openFiles: 64 }"),
  nice: niceness,
  orphans: oneOf("kill", "detach"),
  env: checkEnv,
  // the driver's own schema says
  settings: () => undefined
}

const optionFields = fields(options, "an option of a task")

export const checkOptions = (given: Task.Options<any>): Refusal => optionFields("", given)
