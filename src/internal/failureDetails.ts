/**
 * What a task's error says of its program: the command, where and how long it ran, and the ends of what it printed. All
 * of it is bounded, and free of the values of `Redacted` variables.
 */
import * as Redacted from "effect/Redacted"
import { TaskError } from "../Errors.js"
import type { ProcessExit } from "../Outcome.js"
import type { Secrets, Work } from "../Spec.js"
import type { Text } from "../TaskOptions.js"

type Details = Readonly<Record<string, unknown>>
type Command = Extract<Work, { readonly executable: Text }>

/** Bytes and lines of the end of a stream; bytes of a command. */
const size = 4096
const lines = 20
/** Less of a secret than this, at the edge of what is shown, says nothing. */
const telling = 4

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
const hidden = "<redacted>"

// ------------------------------------------------------------------------------------------------------------- secrets

/** The longest first: one may be a part of another. */
const textsOf = (secrets: Secrets): ReadonlyArray<string> => {
  if (secrets.size === 0) return none
  const texts: Array<string> = []
  for (const value of secrets.values()) {
    const text = String(Redacted.value(value))
    if (text !== "") texts.push(text)
  }
  return texts.sort((a, b) => b.length - a.length)
}
const none: ReadonlyArray<string> = []

const redacted = (text: string, secrets: ReadonlyArray<string>): string =>
  secrets.reduce((text, secret) => text.replaceAll(secret, hidden), text)

/** Of a text that was cut: an edge may hold a part of a secret. */
const redactedEdges = (text: string, secrets: ReadonlyArray<string>): string => {
  for (const secret of secrets) {
    for (let length = secret.length - 1; length >= telling; length--) {
      if (text.startsWith(secret.slice(-length))) text = hidden + text.slice(length)
      if (text.endsWith(secret.slice(0, length))) text = text.slice(0, -length) + hidden
    }
  }
  return text
}

/** A message shows what does not fit a schema, which may be all that a program printed. */
const longest = 4000
const bounded = (text: string): string =>
  text.length <= longest ? text : `${text.slice(0, longest / 2)} ... ${text.slice(-longest / 2)}`

/** What programs branch on stays as it is. Secrets go before anything is cut. */
const shownFacts = (facts: Details, secrets: ReadonlyArray<string>): Details =>
  Object.fromEntries(
    Object.entries(facts).map(([key, value]) => {
      if (typeof value !== "string" || key === "errno" || key === "stream") return [key, value]
      const text = redacted(value, secrets)
      return [key, key === "message" ? bounded(text) : text]
    })
  )

// -------------------------------------------------------------------------------------------------------------- output

const continues = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80

/** The last bytes as text, from the beginning of a character. */
const lastBytes = (text: Text, count: number): string => {
  // of a long text the end alone is encoded: a character has three bytes at most for each unit of its two
  const bytes = typeof text === "string" ? encoder.encode(text.slice(-count)) : text
  let from = Math.max(0, bytes.length - count)
  if (from > 0) for (let i = 0; i < 3 && continues(bytes[from]); i++) from++
  return decoder.decode(bytes.subarray(from))
}

/** The end of a stream: enough to see why, little enough for a log. */
const tail = (text: Text, secrets: ReadonlyArray<string>): string => {
  const more = secrets.length === 0 ? 0 : encoder.encode(secrets[0]).length
  const last = lastBytes(text, size + more)
  const clean = secrets.length === 0 ? last : redactedEdges(redacted(last, secrets), secrets)
  return lastBytes(clean, size).trimEnd().split("\n").slice(-lines).join("\n")
}

// ------------------------------------------------------------------------------------------------------------- command

const commandOf = ({ args, executable }: Command, secrets: ReadonlyArray<string>): ReadonlyArray<string> => {
  const shown: Array<string> = []
  let room = size
  for (let i = -1; i < args.length; i++) {
    if (room <= 0) {
      shown.push(`... and ${args.length - i} more`)
      break
    }
    const word = i < 0 ? executable : args[i]!
    // secrets are looked for before it is cut, in as much of it as may be shown
    const most = room + (secrets[0]?.length ?? 0)
    const whole = word.length <= most
    const text = typeof word === "string" ? word.slice(0, most) : decoder.decode(word.subarray(0, most))
    const clean = redacted(text, secrets)
    const cut = clean.length > room || !whole
    // through bytes: a part of a string would keep the whole
    shown.push(cut ? `${decoder.decode(encoder.encode(redactedEdges(clean.slice(0, room), secrets)))}...` : clean)
    room -= Math.max(1, clean.length)
  }
  return shown
}

// ------------------------------------------------------------------------------------------------------------- details

const isCommand = (program: Work): program is Command => program._tag === "executable" || program._tag === "service"

const outputOf = (exit: ProcessExit, secrets: ReadonlyArray<string>): Details => {
  const details: Record<string, unknown> = {}
  if (exit.stdoutPath !== undefined) details["stdoutPath"] = exit.stdoutPath
  if (exit.stderrPath !== undefined) details["stderrPath"] = exit.stderrPath
  const { stderrTail: stderr = exit.stderr, stdoutTail: stdout = exit.stdout } = exit
  // of merged streams both ends are one
  const merged = exit.stderrPath !== undefined && exit.stderrPath === exit.stdoutPath
  if (stdout !== undefined && stdout.length > 0 && !merged) details["stdout"] = tail(stdout, secrets)
  const last = merged ? (stderr?.length ? stderr : stdout) : stderr
  if (last !== undefined && last.length > 0) details["stderr"] = tail(last, secrets)
  if (exit.wallMillis !== undefined) details["wallMillis"] = exit.wallMillis
  return details
}

/** What is said of an attempt of this program beside `facts`, which go first. */
export const detailsOf = (program: Work, values: Secrets, facts: Details = {}, exit?: ProcessExit): Details => {
  if (!isCommand(program)) return exit === undefined ? facts : { ...outputOf(exit, none), ...facts }
  const secrets = textsOf(values)
  const cwd = exit?.cwd ?? program.cwd
  return {
    command: commandOf(program, secrets),
    ...(cwd === undefined ? {} : { cwd: redacted(cwd, secrets) }),
    ...(exit === undefined ? {} : outputOf(exit, secrets)),
    ...shownFacts(facts, secrets)
  }
}

// -------------------------------------------------------------------------------------------- errors made by a driver

/** What is left out of a text stands between its parts. */
const gap = /( ?\.\.\. ?)/

/** Of what was cut already, each edge may hold a part of a secret. */
const cleaned = (text: string, secrets: ReadonlyArray<string>): string =>
  redacted(text, secrets)
    .split(gap)
    .map((part) => redactedEdges(part, secrets))
    .join("")

const cutFacts: ReadonlySet<string> = new Set(["message", "stdout", "stderr"])

const cleanedFact = (key: string, value: unknown, secrets: ReadonlyArray<string>): unknown => {
  if (key === "command" && Array.isArray(value)) {
    return value.map((word) => (typeof word === "string" ? cleaned(word, secrets) : word))
  }
  if (typeof value !== "string" || key === "errno" || key === "stream") return value
  return cutFacts.has(key) ? cleaned(value, secrets) : redacted(value, secrets)
}

/** The error of a driver, which was made from a spec and so without the values of its secrets. */
export const withoutSecrets = (error: TaskError, values: Secrets | undefined): TaskError => {
  const secrets = values === undefined ? none : textsOf(values)
  if (secrets.length === 0) return error
  // an error has its cause in a field that a copy of its fields would leave out
  const { cause, details, exitCode, reason, signal, task, taskUid } = error
  const shown = Object.entries(details).map(([key, value]) => [key, cleanedFact(key, value, secrets)])
  return new TaskError({
    taskUid,
    task,
    reason,
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(signal === undefined ? {} : { signal }),
    details: Object.fromEntries(shown),
    ...(cause === undefined ? {} : { cause })
  })
}
