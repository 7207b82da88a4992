/** From what a driver answered to the task's value or its typed failure. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { Outcome, ProcessExit } from "../../Driver.js"
import type { BackendErrorReason, TaskErrorReason } from "../../Errors.js"
import { BackendError, TaskError } from "../../Errors.js"
import { Output } from "../../Output.js"
import type { Any, Text } from "../../Task.js"
import type { Issue } from "../codec.js"
import type { Entry } from "./entry.js"

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
const nothing = new Uint8Array()
const bytes = (text: Text | undefined): Uint8Array =>
  text === undefined ? nothing : typeof text === "string" ? encoder.encode(text) : text
const string = (text: Text | undefined): string =>
  text === undefined ? "" : typeof text === "string" ? text : decoder.decode(text)

interface Facts {
  readonly exitCode?: number | undefined
  readonly signal?: string | undefined
  readonly cause?: unknown
  readonly details?: Readonly<Record<string, unknown>>
}

export const taskError = (entry: Entry, reason: TaskErrorReason, facts: Facts = {}): TaskError => {
  // A stack would show this library alone, and hold what its frames hold: the payload.
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  const error = new TaskError({
    taskUid: entry.uid,
    task: entry.name,
    reason,
    ...(facts.exitCode === undefined ? {} : { exitCode: facts.exitCode }),
    ...(facts.signal === undefined ? {} : { signal: facts.signal }),
    ...(facts.cause === undefined ? {} : { cause: facts.cause }),
    details: facts.details ?? {}
  })
  Error.stackTraceLimit = limit
  return error
}

/** A message of one line about a thrown thing, which need not even be printable; itself goes into `cause`. */
export const describe = (cause: unknown): string => {
  try {
    if (!(cause instanceof Error)) return String(cause)
    void cause.stack // V8 keeps all that the frames hold, the payload too, until the stack is read
    return `${cause.name}: ${cause.message}`
  } catch {
    return "something that cannot be printed"
  }
}

/** What an engine failed with; anything that is no error of its own is told by `reason`. */
export const backendError = (
  backendType: string,
  reason: BackendErrorReason,
  cause: Cause.Cause<BackendError>
): BackendError =>
  Option.getOrElse(Cause.failureOption(cause), () => {
    const defect = Cause.squash(cause)
    return new BackendError({ backendType, reason, details: { message: describe(defect) }, cause: defect })
  })

/** The last lines of standard error: enough to see why, little enough for a log line. */
const tail = (text: Text | undefined): string => {
  const all = bytes(text)
  return string(all.subarray(Math.max(0, all.length - 4096)))
    .trimEnd()
    .split("\n")
    .slice(-20)
    .join("\n")
}

const output = (exit: ProcessExit): Output =>
  new Output(
    {
      exitCode: exit.exitCode ?? 0,
      stdoutBytes: bytes(exit.stdout),
      stderrBytes: bytes(exit.stderr),
      ...(exit.stdoutPath === undefined ? {} : { stdoutPath: exit.stdoutPath }),
      ...(exit.stderrPath === undefined ? {} : { stderrPath: exit.stderrPath }),
      wallMillis: exit.wallMillis ?? 0,
      ...(exit.usage === undefined ? {} : { usage: exit.usage }),
      ...(exit.dropped === undefined ? {} : { dropped: exit.dropped })
    },
    { disableValidation: true }
  )

/** What a schema made of something; an Either stays one, so that what needs no time is known to need none. */
const decoded = (entry: Entry, parsed: Effect.Effect<unknown, Issue>): Effect.Effect<unknown, TaskError> => {
  const invalid = ({ message }: Issue) => taskError(entry, "InvalidResult", { details: { message } })
  return Either.isEither(parsed)
    ? Either.mapLeft(parsed as Either.Either<unknown, Issue>, invalid)
    : Effect.mapError(parsed, invalid)
}

const decode = (entry: Entry, { codec }: Any, value: unknown) => decoded(entry, codec.decodeSuccess(value))

/** What a service told when it became ready. */
export const decodeInfo = decode

const exited = (entry: Entry, task: Any, exit: ProcessExit): Effect.Effect<unknown, unknown> => {
  const { body, codec } = task
  const error = exit.stderrTail ?? exit.stderr
  const details = {
    ...(exit.stdoutPath === undefined ? {} : { stdoutPath: exit.stdoutPath }),
    ...(exit.stderrPath === undefined ? {} : { stderrPath: exit.stderrPath }),
    ...(error === undefined || error.length === 0 ? {} : { stderr: tail(error) })
  }
  if (exit.signal !== undefined) return Effect.fail(taskError(entry, "Signal", { signal: exit.signal, details }))
  const exitCode = exit.exitCode ?? 0
  const codes = body._tag === "executable" ? body.exitCodes : [0]
  if (codes.includes(exitCode)) {
    if (codec.result !== "output" && exit.dropped?.stdout !== undefined) {
      const limit = bytes(exit.stdout).length
      return Effect.fail(taskError(entry, "OutputLimit", { details: { ...details, stream: "stdout", limit } }))
    }
    switch (codec.result) {
      case "output":
        return Effect.succeed(output(exit))
      case "bytes":
        return decode(entry, task, bytes(exit.stdout))
      case "text":
        return decode(entry, task, string(exit.stdout))
    }
  }
  const own = body._tag === "executable" ? body.failure?.(output(exit)) : undefined
  return Effect.fail(own ?? taskError(entry, "Exit", { exitCode, details }))
}

const isVoid = ({ successSchema }: Any) => successSchema.ast._tag === "VoidKeyword"

/** May throw where a user's `failure` throws: the engine makes a Defect of that. */
export const interpret = (entry: Entry, task: Any, outcome: Outcome): Effect.Effect<unknown, unknown> => {
  switch (outcome._tag) {
    case "Success":
      // None and null are what other languages have for no value
      return decode(entry, task, outcome.value === null && isVoid(task) ? undefined : outcome.value)
    case "Failure": {
      const error = decoded(entry, task.codec.decodeError(outcome.error))
      return Either.isEither(error)
        ? Effect.fail(Either.merge(error))
        : Effect.flatMap(Effect.merge(error), Effect.fail)
    }
    case "Exited":
      return exited(entry, task, outcome.exit)
    case "Raised": {
      const { args: _, message, ...facts } = outcome.exception
      const own = task.body._tag === "python" ? task.body.failure?.(outcome.exception) : undefined
      const details = { message: message === "" ? facts.type : `${facts.type}: ${message}`, ...facts }
      return Effect.fail(own ?? taskError(entry, "Defect", { details }))
    }
    case "Invalid":
      return Effect.fail(taskError(entry, outcome.reason, { details: { message: outcome.message } }))
  }
}

/** Whether it is there already: nearly always, for few schemas take time. */
export const isKnown = (result: Effect.Effect<unknown, unknown>): boolean =>
  Exit.isExit(result) || Either.isEither(result)
