/** When another attempt follows. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as ScheduleDecision from "effect/ScheduleDecision"
import * as Intervals from "effect/ScheduleIntervals"
import type { Values } from "../../../Defaults.js"
import type { TaskErrorReason } from "../../../Errors.js"
import { isBackendError, isTaskError } from "../../../Errors.js"
import type { Retry } from "../../../TaskOptions.js"

export interface Policy {
  readonly times: number
  readonly schedule: Schedule.Schedule<unknown, any>
  readonly while: ((error: any) => boolean | Effect.Effect<boolean>) | undefined
}

/** The option over the defaults; undefined when there is only one attempt. */
export const policy = (retry: Retry<any> | undefined, defaults: Values): Policy | undefined => {
  if (retry === undefined && defaults.retryAttempts === 0) return undefined
  return {
    times:
      retry?.times ?? (retry?.schedule !== undefined || retry?.while !== undefined ? Infinity : defaults.retryAttempts),
    schedule: retry?.schedule ?? Schedule.spaced(defaults.retryDelay),
    while: retry?.while
  }
}

const final: ReadonlySet<TaskErrorReason> = new Set(["Canceled", "InvalidPayload", "DependencyFailed"])

/** It was lost and could not be ended: another attempt would run beside it. */
const mayRun = (error: unknown): boolean =>
  isTaskError(error) && error.reason === "Lost" && error.details["stopped"] === false

/** Milliseconds until the next attempt, or none when there is no other; `memory` is the schedule's, kept by the caller. */
export const delay = (
  { schedule, times, while: again }: Policy,
  error: unknown,
  attempt: number,
  now: number,
  memory: { memory: unknown }
): Effect.Effect<Option.Option<number>> => {
  if (attempt > times || isBackendError(error) || (isTaskError(error) && final.has(error.reason))) {
    return Effect.succeedNone
  }
  const wanted = Effect.suspend(() => {
    const answer = again === undefined ? !mayRun(error) : again(error)
    return typeof answer === "boolean" ? Effect.succeed(answer) : answer
  })
  const step = Effect.suspend(() => schedule.step(now, error, memory.memory ?? schedule.initial))
  return Effect.flatMap(wanted, (yes) =>
    yes
      ? Effect.map(step, ([state, , decision]) => {
          memory.memory = state
          return ScheduleDecision.isDone(decision)
            ? Option.none()
            : Option.some(Math.max(0, Intervals.start(decision.intervals) - now))
        })
      : Effect.succeedNone
  )
}

/** For messages. */
export const format = (millis: number): string => Duration.format(Duration.millis(millis))
