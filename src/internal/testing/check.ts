/** What the cases are written with: assertions that fail typed, waits that are bounded. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { isRhapsodyError } from "../../Errors.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import type { TaskFiber } from "../../TaskFiber.js"
import type { StateChange, TaskEvent, TaskState } from "../../TaskState.js"
import { isTerminal } from "../../TaskState.js"

/** A backend does not do what a case asks; the message says what was found, and what was expected. */
export class ConformanceError extends Schema.TaggedError<ConformanceError>()("ConformanceError", {
  message: Schema.String
}) {}

const show = (value: unknown): string => {
  const text = print(value)
  return text.length > 1000 ? `${text.slice(0, 1000)}...` : text
}
const print = (value: unknown): string => {
  if (value instanceof Error) return String(value)
  if (Exit.isExit(value)) return Exit.isSuccess(value) ? `success ${print(value.value)}` : Cause.pretty(value.cause)
  return JSON.stringify(value) ?? String(value)
}

export const check = (holds: boolean, message: string): Effect.Effect<void, ConformanceError> =>
  holds ? Effect.void : new ConformanceError({ message })

/** Equal as JSON is: cases compare plain data. */
export const same = (found: unknown, expected: unknown, what: string): Effect.Effect<void, ConformanceError> =>
  check(
    Equal.equals(found, expected) || print(found) === print(expected),
    `${what}: found ${show(found)}, expected ${show(expected)}`
  )

/** Ours by tag and reason, for short: `TaskError Timeout`. A user's own by its tag alone. */
export const nameOf = (error: unknown): string => {
  if (isRhapsodyError(error)) return `${error._tag} ${error.reason}`
  return String((error as { readonly _tag?: unknown } | undefined)?._tag ?? error)
}

/** How an exit ended, for short: `success`, `interrupted`, or the name of the error. */
export const endOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.isInterruptedOnly(exit.cause)) return "interrupted"
  return Option.match(Cause.failureOption(exit.cause), { onNone: () => "defect", onSome: nameOf })
}

/**
 * How long a case waits for what it expects. Default 1 minute: more than any backend needs, also on a busy machine. A
 * test of a backend that breaks its promises provides less.
 */
export class Patience extends Context.Reference<Patience>()("effect-rhapsody/Conformance/Patience", {
  defaultValue: (): Duration.Duration => Duration.minutes(1)
}) {}

/** The effect is left behind when it does not heed its interruption, because it may be what hangs. */
export const soon = <A, E, R>(effect: Effect.Effect<A, E, R>, what: string) =>
  Effect.flatMap(Patience, (duration) =>
    Effect.timeoutFail(Effect.disconnect(effect), {
      duration,
      onTimeout: () => new ConformanceError({ message: `${what} took longer than ${Duration.format(duration)}` })
    })
  )

/**
 * For what is promised within so many seconds: twice as many, counted in turns of the event loop. On a machine that is
 * busy with other work these take longer, as what is awaited does.
 */
export const within = <A, E, R>(effect: Effect.Effect<A, E, R>, what: string, seconds: number) =>
  Effect.raceFirst(
    Effect.disconnect(effect),
    Effect.zipRight(
      Effect.repeatN(Effect.sleep("10 millis"), 200 * seconds),
      new ConformanceError({ message: `${what} took longer than ${seconds} seconds` })
    )
  )

export const endsAs = (fiber: Fiber.Fiber<unknown, unknown>, expected: string, what: string) =>
  Effect.flatMap(soon(Fiber.await(fiber), `the end of ${what}`), (exit) =>
    check(endOf(exit) === expected, `${what}: ended as ${endOf(exit)} (${show(exit)}), expected ${expected}`)
  )

export const failsAs = <A, E, R>(effect: Effect.Effect<A, E, R>, expected: string, what: string) =>
  Effect.flatMap(soon(Effect.exit(effect), what), (exit) =>
    check(endOf(exit) === expected, `${what}: ended as ${endOf(exit)} (${show(exit)}), expected ${expected}`)
  )

const again = <E, R>(holds: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.flatMap(holds, (yes) => (yes ? Effect.void : Effect.zipRight(Effect.sleep("5 millis"), again(holds))))

/** Looks again until it holds. */
export const until = <E, R>(holds: Effect.Effect<boolean, E, R>, what: string) => soon(again(holds), what)

/** Fails when the task has ended instead. */
export const untilState = (fiber: TaskFiber<unknown, unknown>, state: TaskState) =>
  until(
    Effect.flatMap(ExecutionBackend.taskState(fiber.uid), (now) =>
      Option.exists(now, isTerminal)
        ? Effect.flatMap(Fiber.await(fiber), (exit) =>
            Effect.as(check(false, `${fiber.uid} cannot be ${state}, because it has ended: ${show(exit)}`), false)
          )
        : Effect.succeed(Option.contains(now, state))
    ),
    `${fiber.uid} to be ${state}`
  )

/** The changes of state until so many tasks have ended; none may be missing. */
export const collect = (events: Stream.Stream<TaskEvent>, ends: number) =>
  Effect.gen(function* () {
    const changes: Array<StateChange> = []
    let ended = 0
    const all = Stream.runForEachWhile(events, (event) => {
      if (event._tag === "EventsDropped") return new ConformanceError({ message: `${event.count} events were dropped` })
      if (event._tag === "Standstill") return new ConformanceError({ message: `a standstill: ${event.tasks}` })
      changes.push(event)
      if (isTerminal(event.state)) ended++
      return Effect.succeed(ended < ends)
    })
    yield* soon(all, `the event of ${ends} ends`)
    return changes
  })

/** Nothing became of what was refused: no event since the subscription, no state, no place taken. */
export const noTrace = (events: Stream.Stream<TaskEvent>) =>
  Effect.gen(function* () {
    const seen = yield* Effect.timeoutOption(Stream.runHead(events), "20 millis")
    yield* same(Option.getOrNull(Option.flatten(seen)), null, "an event of what was refused")
    yield* same([...(yield* ExecutionBackend.taskStates)], [], "states of what was refused")
    yield* nothingLeft
  })

/** No task has a slot, waits for one, or waits for anything else. */
export const nothingLeft = Effect.flatMap(ExecutionBackend.state, ({ active, queued, waiting }) =>
  same({ active, queued, waiting }, { active: 0, queued: 0, waiting: 0 }, "what is left in the backend")
)
