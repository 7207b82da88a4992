/** From what a driver answered to the task's value or its typed failure. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import type { Outcome, ProcessExit } from "../../../Driver.js"
import type { BackendErrorReason, TaskErrorReason } from "../../../Errors.js"
import { BackendError, isBackendError, isTaskError, RhapsodyError, TaskError } from "../../../Errors.js"
import { Output } from "../../../Output.js"
import type { Any, Text } from "../../../Task.js"
import type { Issue } from "../../codec.js"
import { describe } from "../../describe.js"
import { detailsOf, withoutSecrets } from "../../failureDetails.js"
import type { Prepared, TaskRecord } from "./taskRecord.js"

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
  /** How its program ended. */
  readonly exit?: ProcessExit | undefined
}

/** Of a task that has not ended: its details say what its program is. */
export const taskError = (record: TaskRecord, reason: TaskErrorReason, facts: Facts = {}): TaskError => {
  const { prepared } = record
  // A stack would show this library alone, and hold what its frames hold: the payload.
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  const error = new TaskError({
    taskUid: record.uid,
    task: record.name,
    reason,
    ...(facts.exitCode === undefined ? {} : { exitCode: facts.exitCode }),
    ...(facts.signal === undefined ? {} : { signal: facts.signal }),
    ...(facts.cause === undefined ? {} : { cause: facts.cause }),
    details:
      prepared === undefined
        ? (facts.details ?? {})
        : detailsOf(prepared.spec.work, prepared.hooks.secrets, facts.details, facts.exit)
  })
  Error.stackTraceLimit = limit
  return error
}

/** What an engine failed with; anything that is no `BackendError`, whatever its type says, is the cause of one. */
export const backendError = (
  backendType: string,
  reason: BackendErrorReason,
  cause: Cause.Cause<unknown>
): BackendError => {
  const error = Cause.squash(cause)
  return isBackendError(error)
    ? error
    : new BackendError({ backendType, reason, details: { message: describe(error) }, cause: error })
}

/** What a driver may say of a task's end; anything else that it fails with is a defect of the attempt. */
export const driverFailure = (record: TaskRecord, error: unknown): TaskError | BackendError => {
  if (isBackendError(error)) return error
  // a driver need not know the secrets to make an error of what a program printed
  if (isTaskError(error)) return withoutSecrets(error, record.prepared?.hooks.secrets)
  const message = `its driver failed with ${describe(error)}`
  return taskError(record, "Defect", { details: { message }, cause: error })
}

const signals =
  "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(
    " "
  )

/** As a shell says it, for `failure` asks about one number: of a signal 128 and its number. */
const codeOf = ({ exitCode, signal }: ProcessExit): number => {
  if (exitCode !== undefined || signal === undefined) return exitCode ?? 0
  const realTime = /^SIGRTMIN\+(\d+)$/.exec(signal)
  if (realTime !== null) return 128 + 34 + Number(realTime[1])
  const index = signals.indexOf(signal.slice(3))
  return index < 0 ? 255 : 129 + index
}

const output = (exit: ProcessExit): Output =>
  new Output(
    {
      exitCode: codeOf(exit),
      ...(exit.signal === undefined ? {} : { signal: exit.signal }),
      stdoutBytes: bytes(exit.stdout),
      stderrBytes: bytes(exit.stderr),
      ...(exit.stdoutPath === undefined ? {} : { stdoutPath: exit.stdoutPath }),
      ...(exit.stderrPath === undefined ? {} : { stderrPath: exit.stderrPath }),
      ...(exit.sandboxPath === undefined ? {} : { sandboxPath: exit.sandboxPath }),
      wallMillis: exit.wallMillis ?? 0,
      ...(exit.usage === undefined ? {} : { usage: exit.usage }),
      ...(exit.dropped === undefined ? {} : { dropped: exit.dropped })
    },
    { disableValidation: true }
  )

/** What a schema made of something; an Either stays one, so that what needs no time is known to need none. */
const decoded = (
  record: TaskRecord,
  parsed: Effect.Effect<unknown, Issue>,
  exit?: ProcessExit
): Effect.Effect<unknown, TaskError> => {
  const invalid = ({ message }: Issue) => taskError(record, "InvalidResult", { details: { message }, exit })
  return Either.isEither(parsed)
    ? Either.mapLeft(parsed as Either.Either<unknown, Issue>, invalid)
    : Effect.mapError(parsed, invalid)
}

const decode = (record: TaskRecord, { codec }: Any, value: unknown, exit?: ProcessExit) =>
  decoded(record, codec.decodeSuccess(value), exit)

/** What a service reported when it became ready. */
export const decodeInfo = (record: TaskRecord, task: Any, value: unknown) => decode(record, task, value)

const outputLimit = (record: TaskRecord, exit: ProcessExit, details: Readonly<Record<string, unknown>>) => {
  if (exit.survivors === true) record.stopped = false
  const stopped = record.stopped ? {} : { stopped: false }
  return Effect.fail(taskError(record, "OutputLimit", { details: { ...details, ...stopped }, exit }))
}

/** Of text that is decoded: undefined when no string can be so long. */
const textOf = (stdout: Text | undefined): string | undefined => {
  try {
    return string(stdout)
  } catch {
    return undefined // bytes that are not UTF-8 become U+FFFD, so that nothing else can be wrong
  }
}

const result = (record: TaskRecord, task: Any, exit: ProcessExit): Effect.Effect<unknown, unknown> => {
  switch (task.codec.result) {
    case "output":
      return Effect.succeed(output(exit))
    case "bytes":
      return decode(record, task, bytes(exit.stdout), exit)
    case "text": {
      const text = textOf(exit.stdout)
      if (text !== undefined) return decode(record, task, text, exit)
      const message =
        "no string can be so long; decode bytes (Schema.Uint8ArrayFromSelf), or leave large data in a file"
      return outputLimit(record, exit, { stream: "stdout", limit: longestText, message })
    }
  }
}
/** Characters of the longest string of V8, nearly; of ASCII, as many bytes. */
const longestText = 2 ** 29 - 24

/** The definition's own error of a program that ended badly, if it recognises that. */
const own = (record: TaskRecord, { task, payload }: Prepared, exit: ProcessExit): unknown => {
  const { implementation } = task
  if (implementation._tag !== "executable" || implementation.failure === undefined) return undefined
  try {
    return implementation.failure(output(exit), payload)
  } catch (cause) {
    return taskError(record, "Defect", { details: { message: `failure threw ${describe(cause)}` }, cause, exit })
  }
}

/** The program's own end counts most: then what it printed beyond the limit, then whether its result can be decoded. */
const exited = (record: TaskRecord, prepared: Prepared, exit: ProcessExit): Effect.Effect<unknown, unknown> => {
  const { spec, task } = prepared
  const { exitCode = 0, overflow, signal, unreached, unreadable } = exit
  const limit = "capture" in spec.work ? spec.work.capture.limit : undefined
  // by this signal it was killed because of what it printed
  if (overflow !== undefined && signal === "SIGKILL") return outputLimit(record, exit, { stream: overflow, limit })
  if (unreached !== undefined) {
    return Effect.fail(taskError(record, "LaunchFailed", { details: unreached, exitCode: exit.exitCode, signal, exit }))
  }
  if (signal !== undefined) {
    return Effect.fail(own(record, prepared, exit) ?? taskError(record, "Signal", { signal, exit }))
  }
  const codes = task.implementation._tag === "executable" ? task.implementation.exitCodes : [0]
  if (!codes.includes(exitCode)) {
    return Effect.fail(own(record, prepared, exit) ?? taskError(record, "Exit", { exitCode, exit }))
  }
  if (unreadable !== undefined) {
    const details = { message: `its output cannot be read back: ${unreadable}`, path: exit.stdoutPath }
    return Effect.fail(taskError(record, "LaunchFailed", { details, exit }))
  }
  const stream =
    overflow ?? (task.codec.result !== "output" && exit.dropped?.stdout !== undefined ? "stdout" : undefined)
  return stream === undefined ? result(record, task, exit) : outputLimit(record, exit, { stream, limit })
}

const decodeOurs = Schema.decode(RhapsodyError)

const isVoid = ({ successSchema }: Any) => successSchema.ast._tag === "VoidKeyword"

/** May throw where a user's `failure` of a Python function throws: the engine makes a Defect of that. */
export const interpret = (
  record: TaskRecord,
  prepared: Prepared,
  outcome: Outcome
): Effect.Effect<unknown, unknown> => {
  const { task } = prepared
  switch (outcome._tag) {
    case "Success":
      // None and null are what other languages have for no value
      return decode(record, task, outcome.value === null && isVoid(task) ? undefined : outcome.value)
    case "Failure": {
      const error = decoded(record, task.codec.decodeError(outcome.error))
      return Either.isEither(error)
        ? Effect.fail(Either.merge(error))
        : Effect.flatMap(Effect.merge(error), Effect.fail)
    }
    case "NestedFailure":
      return Effect.flatMap(Effect.orDie(decodeOurs(outcome.error)), (cause) =>
        Effect.fail(taskError(record, "Failed", { details: { message: cause.message }, cause }))
      )
    case "Exited":
      return exited(record, prepared, outcome.exit)
    case "Raised": {
      const { args: _, message, ...facts } = outcome.exception
      const own =
        task.implementation._tag === "python"
          ? task.implementation.failure?.(outcome.exception, prepared.payload)
          : undefined
      const details = { message: message === "" ? facts.type : `${facts.type}: ${message}`, ...facts }
      return Effect.fail(own ?? taskError(record, "Defect", { details }))
    }
    case "Invalid":
      return Effect.fail(taskError(record, outcome.reason, { details: { message: outcome.message } }))
  }
}

/** Whether it is there already: nearly always, because few schemas take time. */
export const isKnown = (result: Effect.Effect<unknown, unknown>): boolean =>
  Exit.isExit(result) || Either.isEither(result)
