/**
 * What every backend must do, as data: cases to run over a backend's layer, with no test framework. A backend's authors
 * run them in their own tests, or with `lines` from a script.
 *
 * @example
 * ```ts
 * import { Console, Stream } from "effect"
 * import { ConcurrentBackend } from "effect-rhapsody"
 * import { Conformance } from "effect-rhapsody/testing"
 *
 * const subject: Conformance.Subject = {
 *   name: "concurrent",
 *   kinds: ["executable"],
 *   layer: (options) => ConcurrentBackend.layer({ ...options, kinds: ["executable"], maxWorkers: 4 }),
 *   work: Conformance.ExecutableWork.make,
 *   slots: 4,
 *   programs: true,
 *   waivers: {
 *     "process-orchestrator-killed": { reason: "needs a script to kill" }
 *   }
 * }
 *
 * export const program = Stream.runForEach(Conformance.lines(subject), (line) => Console.log(line))
 * ```
 */

import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import { backendCases } from "../internal/testing/backendCases.js"
import { Patience } from "../internal/testing/check.js"
import { completionCases } from "../internal/testing/completion.js"
import { contract } from "../internal/testing/contract.js"
import type { CaseWithNeed, Need } from "../internal/testing/fixture.js"
import { honours } from "../internal/testing/honours.js"
import { limits } from "../internal/testing/limits.js"
import { processes } from "../internal/testing/processes.js"
import { isProgram, refuses, refusesOptions } from "../internal/testing/refusals.js"
import { secrets } from "../internal/testing/secrets.js"
import type { Case, Subject, Waiver } from "../internal/testing/subject.js"

export { ConformanceError, Patience } from "../internal/testing/check.js"
export { refusesBytes } from "../internal/testing/processes.js"
export { refusesCancel } from "../internal/testing/refusals.js"
export {
  behave,
  ExecutableWork,
  FunctionWork,
  FunctionWorkLive,
  How,
  type Payload,
  Refused
} from "../internal/testing/work.js"
export type { Case, Subject, Waiver }

/** Longest time of a case, as a multiple of `Patience`. */
const bound = 4

/** All cases of a subject. One that the subject waives, or cannot run, checks the refusal instead, and its title says why. */
export const cases = (subject: Subject): ReadonlyArray<Case> =>
  all(subject).map((one) => {
    const { id, run, title } = one
    const waiver = waiverOf(subject, one)
    return waiver === undefined
      ? { id, title, run: bounded(run) }
      : { id, title: `${title} (waived: ${waiver.reason})`, run: bounded(waiver.refusal ?? Effect.void) }
  })

// Disconnected: a backend that cannot be closed fails its case, and does not hold up the rest.
const bounded = (run: Case["run"]): Case["run"] =>
  Effect.flatMap(Patience, (patience) => {
    const duration = Duration.times(patience, bound)
    return Effect.timeoutFail(Effect.disconnect(run), {
      duration,
      onTimeout: () => new Error(`took longer than ${Duration.format(duration)}`)
    })
  })

const all = (subject: Subject): ReadonlyArray<CaseWithNeed> => [
  ...contract(subject),
  ...completionCases(subject),
  ...limits(subject),
  ...backendCases(subject),
  ...secrets(subject),
  ...honours(subject),
  ...processes(subject)
]

const noKind = (subject: Subject, kind: "executable" | "service"): Waiver | undefined =>
  subject.kinds.includes(kind) ? undefined : { reason: `runs no ${kind}s`, refusal: refuses(subject, kind) }

/** The waiver of a subject that does not have what a case needs. */
const lacks: { readonly [N in Need]: (subject: Subject) => Waiver | undefined } = {
  executable: (subject) => noKind(subject, "executable"),
  service: (subject) => noKind(subject, "service"),
  programs: (subject) =>
    subject.programs === true
      ? undefined
      : (noKind(subject, "executable") ?? { reason: "answers programs without starting them" }),
  environment: (subject) =>
    isProgram(subject)
      ? undefined
      : { reason: "its work is no program, and is given no environment", refusal: refusesOptions(subject) },
  failEngine: ({ failEngine }) => (failEngine === undefined ? { reason: "has no engine but this process" } : undefined)
}

const waiverOf = (subject: Subject, { id, need }: CaseWithNeed): Waiver | undefined =>
  subject.waivers?.[id] ?? (need === undefined ? undefined : lacks[need](subject))

/**
 * Runs all cases, one after the other, and gives a line for each as soon as it has ended. Never fails; a line starts with
 * `pass`, `waived` or `FAIL`.
 */
export const lines = (subject: Subject): Stream.Stream<string> => {
  const waived = new Set(all(subject).flatMap((one) => (waiverOf(subject, one) === undefined ? [] : [one.id])))
  return Stream.mapEffect(Stream.fromIterable(cases(subject)), (one) =>
    Effect.map(Effect.exit(one.run), (exit) => {
      const word = Exit.isFailure(exit) ? "FAIL" : waived.has(one.id) ? "waived" : "pass"
      const why = Exit.isFailure(exit) ? `: ${Cause.pretty(exit.cause).split("\n")[0]}` : ""
      return `${word} ${one.id}: ${one.title}${why}`
    })
  )
}

/** All lines, when the last case has ended. */
export const report = (subject: Subject): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(Stream.runCollect(lines(subject)), (lines) => [...lines])

/** Cases by backends as a Markdown table: passed, or waived with the number of the reason below the table. */
export const table = (subjects: ReadonlyArray<Subject>): string => {
  const notes: Array<string> = []
  const note = (reason: string) => {
    if (!notes.includes(reason)) notes.push(reason)
    return notes.indexOf(reason) + 1
  }
  const [first] = subjects
  const lines = (first === undefined ? [] : all(first)).map((one) => {
    const cells = subjects.map((subject) => {
      const waiver = waiverOf(subject, one)
      return waiver === undefined ? "pass" : `waived (${note(waiver.reason)})`
    })
    return `| ${[`\`${one.id}\`: ${one.title}`, ...cells].join(" | ")} |`
  })
  return [
    `| case | ${subjects.map(({ name }) => name).join(" | ")} |`,
    `|---|${subjects.map(() => "---|").join("")}`,
    ...lines,
    "",
    ...notes.map((reason, i) => `(${i + 1}) ${reason}`),
    ""
  ].join("\n")
}
