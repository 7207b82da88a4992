/** What the rows are written with: assertions that fail typed, waits that are bounded. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { BackendError, ConfigurationError, TaskError } from "../../Errors.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import type { TaskFiber } from "../../TaskFiber.js"
import type { TaskState } from "../../TaskState.js"

/** A backend that does not do what a row asks. */
export class ConformanceError extends Schema.TaggedError<ConformanceError>()("ConformanceError", {
  message: Schema.String
}) {}

const show = (value: unknown): string => {
  if (value instanceof Error) return String(value)
  if (Exit.isExit(value)) return Exit.isSuccess(value) ? `success ${show(value.value)}` : Cause.pretty(value.cause)
  return JSON.stringify(value) ?? String(value)
}

export const check = (holds: boolean, message: string): Effect.Effect<void, ConformanceError> =>
  holds ? Effect.void : new ConformanceError({ message })

/** Equal as JSON is: rows compare plain data. */
export const same = (found: unknown, expected: unknown, what: string): Effect.Effect<void, ConformanceError> =>
  check(
    Equal.equals(found, expected) || show(found) === show(expected),
    `${what}: found ${show(found)}, expected ${show(expected)}`
  )

/** Ours by tag and reason, for short: `TaskError Timeout`. A user's own by its tag alone. */
export const nameOf = (error: unknown): string => {
  if (error instanceof TaskError || error instanceof BackendError || error instanceof ConfigurationError) {
    return `${error._tag} ${error.reason}`
  }
  return String((error as { readonly _tag?: unknown } | undefined)?._tag ?? error)
}

/** How an exit ended, for short: `success`, `interrupted`, or the name of the error. */
export const endOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.isInterruptedOnly(exit.cause)) return "interrupted"
  return Option.match(Cause.failureOption(exit.cause), { onNone: () => "defect", onSome: nameOf })
}

export const endsAs = (fiber: Fiber.Fiber<unknown, unknown>, expected: string, what: string) =>
  Effect.flatMap(Fiber.await(fiber), (exit) =>
    check(endOf(exit) === expected, `${what}: ended as ${endOf(exit)} (${show(exit)}), expected ${expected}`)
  )

export const failsAs = <A, E, R>(effect: Effect.Effect<A, E, R>, expected: string, what: string) =>
  Effect.flatMap(Effect.exit(effect), (exit) =>
    check(endOf(exit) === expected, `${what}: ended as ${endOf(exit)} (${show(exit)}), expected ${expected}`)
  )

/** Looks again until it holds. Rows have a bound of their own, so this needs none. */
export const until = <E, R>(holds: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.flatMap(holds, (yes) => (yes ? Effect.void : Effect.zipRight(Effect.sleep("5 millis"), until(holds))))

export const untilState = (fiber: TaskFiber<unknown, unknown>, state: TaskState) =>
  until(Effect.map(ExecutionBackend.taskState(fiber.uid), (now) => Option.contains(now, state)))

/** Nobody has a slot, waits for one, or waits for anything else. */
export const nothingLeft = Effect.flatMap(ExecutionBackend.state, ({ active, queued, waiting }) =>
  same({ active, queued, waiting }, { active: 0, queued: 0, waiting: 0 }, "what is left in the backend")
)
