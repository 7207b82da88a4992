/** The texts of errors: what happened, to what, and what to do; then what is known of the program. */
import * as Duration from "effect/Duration"
import type { BackendErrorReason, ConfigurationErrorReason, TaskErrorReason } from "../ErrorReasons.js"

type Details = Readonly<Record<string, unknown>>

interface TaskFacts {
  readonly details: Details
  readonly exitCode?: number | undefined
  readonly reason: TaskErrorReason
  readonly signal?: string | undefined
  readonly task: string
  readonly taskUid: string
}
interface BackendFacts {
  readonly backendName?: string | undefined
  readonly backendType: string
  readonly details: Details
  readonly reason: BackendErrorReason
}
interface ConfigurationFacts {
  readonly configKey?: string | undefined
  readonly details: Details
  readonly reason: ConfigurationErrorReason
}

/** Text of a detail, or undefined: messages are built from details, and details are open. */
const text = (details: Details, key: string): string | undefined => {
  const value = details[key]
  return value === undefined || value === null || value === "" ? undefined : String(value)
}

/** `head: because; rest; rest`, each only where it is known. */
const sentence = (head: string, because: string | undefined, ...rest: ReadonlyArray<string | undefined>): string =>
  [because === undefined ? head : `${head}: ${because}`, ...rest.filter((part) => part !== undefined)].join("; ")

// ------------------------------------------------------------------------------------------------------------- a task

/** A word as a shell would take it. */
const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)

/** More than this of a command is in the details, not in the message. */
const commandLength = 1000

const commandLine = ({ command }: Details): string | undefined => {
  if (!Array.isArray(command) || command.length === 0) return undefined
  const line = command.map((word) => quoted(String(word))).join(" ")
  return `command: ${line.length > commandLength ? `${line.slice(0, commandLength)} ...` : line}`
}

const took = ({ wallMillis }: Details): string =>
  typeof wallMillis === "number" && wallMillis >= 0
    ? ` after ${Duration.format(Duration.millis(wallMillis < 1000 ? Math.ceil(wallMillis) : Math.round(wallMillis / 100) * 100))}`
    : ""

/** The end of a stream, or where it is. */
const stream = (details: Details, name: "stdout" | "stderr"): ReadonlyArray<string> => {
  const file = text(details, `${name}Path`)
  const end = text(details, name)?.trimEnd()
  const known = end !== undefined && end !== ""
  if (file === undefined) return known ? [`its ${name} ends with:\n${end}`] : []
  return [known ? `its ${name} is in ${file} and ends with:\n${end}` : `its ${name} is in ${file}`]
}

const program = (details: Details): ReadonlyArray<string> => {
  const cwd = text(details, "cwd")
  return [
    ...[commandLine(details), cwd === undefined ? undefined : `directory: ${cwd}`].filter((line) => line !== undefined),
    ...stream(details, "stdout"),
    ...stream(details, "stderr")
  ]
}

const isRunning = "it could not be stopped and may still be running"

const headOf = ({ details, exitCode, reason, signal, task, taskUid }: TaskFacts): string => {
  const who = `task ${task} (${taskUid})`
  const because = text(details, "message")
  const running = details["stopped"] === false ? isRunning : undefined
  switch (reason) {
    case "Exit":
      return sentence(`${who} exited with code ${exitCode ?? "?"}${took(details)}`, because)
    case "Signal":
      return sentence(`${who} was killed by ${signal ?? "a signal"}${took(details)}`, because)
    case "LaunchFailed":
      return sentence(`${who} could not be started`, because)
    case "Timeout":
      return sentence(
        `${who} did not end within its timeout of ${text(details, "timeout") ?? "?"}`,
        because,
        running,
        "raise the timeout option or make the task smaller"
      )
    case "Canceled":
      return sentence(`${who} was cancelled${took(details)}`, because, running)
    case "Failed":
      return sentence(`${who} failed`, because ?? "it ended with an error of its own, which is the cause")
    case "DependencyFailed":
      return sentence(`${who} was not started because a task that it needs failed`, because)
    case "Defect":
      return sentence(`${who} ended with an exception`, because)
    case "InvalidPayload":
      return sentence(`${who} has a payload that does not match its schema`, because)
    case "InvalidResult":
      return sentence(`${who} gave a result that does not match its schema`, because)
    case "OutputLimit": {
      const limit = text(details, "limit") ?? "?"
      if (details["stream"] === "result") {
        return sentence(
          `${who} gave a result of ${text(details, "size") ?? "?"} bytes, and ${limit} are allowed`,
          because,
          "raise the backend's resultLimit or leave large data in a file"
        )
      }
      return sentence(
        `${who} printed more than ${limit} bytes on ${text(details, "stream") ?? "its output"}`,
        because,
        "raise capture.limit or capture to a file"
      )
    }
    case "Lost":
      return sentence(
        `${who} was lost`,
        because,
        running === undefined ? "retry it" : `${running}: look for it before you retry`
      )
  }
}

export const messageOf = (error: TaskFacts): string => [headOf(error), ...program(error.details)].join("\n")

// ---------------------------------------------------------------------------------------------------------- a backend

const what: Record<BackendErrorReason, readonly [head: string, remedy: string]> = {
  Unavailable: ["is not available", "check that its engine is installed and running"],
  Rejected: ["refused the work", "submit less at once, or ask for what the backend offers"],
  Lost: ["was lost with the work in it", "build the layer again and resubmit"],
  Closed: ["is closed", "submit while its layer is open"],
  Timeout: ["did not get there in time", "wait longer; nothing was cancelled"],
  Protocol: ["and its engine do not understand each other", "check their versions"],
  CancelUnsupported: ["cannot stop what runs", "the task goes on; wait for its end"]
}

export const backendMessageOf = ({ backendName, backendType, details, reason }: BackendFacts): string => {
  const [head, remedy] = what[reason]
  const who = backendName === undefined ? backendType : `${backendName} (${backendType})`
  return sentence(`backend ${who} ${head}`, text(details, "message"), remedy)
}

// ---------------------------------------------------------------------------------------------------------- a request

/** Where the details do not say it better. */
const wrong: Record<ConfigurationErrorReason, string> = {
  UnsupportedKind: "the backend does not run tasks of this kind; choose another backend",
  DuplicateUid: "this uid is in use or was used recently; choose another or leave it out",
  InvalidPayload: "this payload cannot be encoded, or its command cannot be run; correct it",
  InvalidOption: "this option has a value that cannot be honoured; correct it",
  UnsupportedOption: "the backend does not honour this option; leave it out or choose another backend",
  WrongSettings: "these settings are for another backend; leave them out or submit the task there",
  WrongHandler: "the task has no handler, or that of another definition; provide the layer that its toLayer makes",
  ReservedTag: "this tag belongs to an error of effect-rhapsody; rename your error",
  NotATask: "this is not a task; submit what the make of a definition returns",
  UnknownBackend: "no backend of this name is registered; register it or choose another",
  DuplicateBackend: "a backend of this name is registered already; choose another name"
}

export const configurationMessageOf = ({ configKey, details, reason }: ConfigurationFacts): string => {
  const message = text(details, "message") ?? wrong[reason] ?? reason
  return configKey === undefined ? message : `${configKey}: ${message}`
}
