/**
 * What every backend must do, as data: rows to run over a backend's layer, with no test framework. A backend's authors
 * run them in their own tests, or with `report` from a script.
 *
 * @example
 * ```ts
 * import { Console, Effect } from "effect"
 * import { Conformance, ConcurrentBackend } from "effect-rhapsody"
 *
 * const subject: Conformance.Subject = {
 *   name: "concurrent",
 *   kinds: ["executable"],
 *   layer: (options) => ConcurrentBackend.layer({ ...options, kinds: ["executable"], maxWorkers: 4 }),
 *   work: Conformance.ExecutableWork.make
 * }
 *
 * export const program = Effect.flatMap(Conformance.report(subject), (lines) => Console.log(lines.join("\n")))
 * ```
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Layer from "effect/Layer"
import type * as ExecutionBackend from "./ExecutionBackend.js"
import { contract } from "./internal/conformance/contract.js"
import { ending } from "./internal/conformance/ending.js"
import { processes, refusesPrograms } from "./internal/conformance/processes.js"
import type { Make } from "./internal/conformance/work.js"
import type { Kind } from "./Task.js"

export { ConformanceError } from "./internal/conformance/check.js"
export {
  behave,
  ExecutableWork,
  FunctionWork,
  FunctionWorkLive,
  How,
  type Payload,
  Refused
} from "./internal/conformance/work.js"

/** One thing that a backend must do. It fails where the backend does not. */
export interface Row {
  /** Short and stable: exceptions and tables name it. */
  readonly id: string
  readonly title: string
  readonly run: Effect.Effect<unknown, unknown>
}

/** Why a backend does not do what a row asks, and, where it refuses, the proof that it does so typed. */
export interface Exception {
  readonly reason: string
  readonly refusal?: Effect.Effect<unknown, unknown>
}

/** A backend under test. */
export interface Subject {
  readonly name: string
  readonly kinds: ReadonlyArray<Kind>
  /** A new backend for each row, with the limits that the row asks for, and the handler of its work if it has one. */
  readonly layer: (options?: ExecutionBackend.Options) => Layer.Layer<any, unknown>
  /** The task that does as its payload says: `ExecutableWork.make`, `FunctionWork.make`, or one of the backend's own. */
  readonly work: Make
  /** It starts real programs on this machine: then the rows of processes apply. */
  readonly programs?: boolean
  /** A command that submits one task, a tree of processes that do not end: to be killed. */
  readonly orchestrator?: readonly [executable: string, ...args: ReadonlyArray<string>]
  /** By the id of the row. */
  readonly exceptions?: Readonly<Record<string, Exception>>
}

/** Longest time of a row. */
const bound: Duration.DurationInput = "60 seconds"

/** The rows that apply to a backend, an exception in the place of what it declares. */
export const rows = (subject: Subject): ReadonlyArray<Row> =>
  all(subject).map((row) => {
    const exception = exceptionOf(subject, row)
    if (exception === undefined) {
      return {
        ...row,
        run: Effect.timeoutFail(row.run, { duration: bound, onTimeout: () => new Error(`took longer than ${bound}`) })
      }
    }
    return { ...row, title: `${row.title} (declared: ${exception.reason})`, run: exception.refusal ?? Effect.void }
  })

const all = (subject: Subject): ReadonlyArray<Row> => [...contract(subject), ...ending(subject), ...processes(subject)]

const noPrograms = (subject: Subject): Exception =>
  subject.kinds.includes("executable")
    ? { reason: "answers programs without starting them" }
    : { reason: "runs no executables", refusal: refusesPrograms(subject) }

const exceptionOf = (subject: Subject, { id }: Row): Exception | undefined =>
  subject.exceptions?.[id] ?? (subject.programs !== true && id.startsWith("process-") ? noPrograms(subject) : undefined)

/** Runs all rows, one after the other: a line for each. Never fails; a line starts with `pass`, `declared` or `FAIL`. */
export const report = (subject: Subject): Effect.Effect<ReadonlyArray<string>> =>
  Effect.forEach(rows(subject), (row) =>
    Effect.map(Effect.exit(row.run), (exit) => {
      const word = Exit.isFailure(exit) ? "FAIL" : exceptionOf(subject, row) === undefined ? "pass" : "declared"
      const why = Exit.isFailure(exit) ? `: ${Cause.pretty(exit.cause).split("\n")[0]}` : ""
      return `${word} ${row.id}: ${row.title}${why}`
    })
  )

/** Rows by backends as a Markdown table: what is passed, and what is declared away with its reason. */
export const table = (subjects: ReadonlyArray<Subject>): string => {
  const notes: Array<string> = []
  const note = (reason: string) => {
    if (!notes.includes(reason)) notes.push(reason)
    return notes.indexOf(reason) + 1
  }
  const [first] = subjects
  const lines = (first === undefined ? [] : all(first)).map((row) => {
    const cells = subjects.map((subject) => {
      const exception = exceptionOf(subject, row)
      return exception === undefined ? "pass" : `declared (${note(exception.reason)})`
    })
    return `| ${[`\`${row.id}\`: ${row.title}`, ...cells].join(" | ")} |`
  })
  return [
    `| row | ${subjects.map(({ name }) => name).join(" | ")} |`,
    `|---|${subjects.map(() => "---|").join("")}`,
    ...lines,
    "",
    ...notes.map((reason, i) => `(${i + 1}) ${reason}`),
    ""
  ].join("\n")
}
