/** The bounds of a backend, with their defaults, or what is wrong with one. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Defaults from "../../../Defaults.js"
import type { AnyDriver } from "../../../Driver.js"
import { isQueueDriver } from "../../../Driver.js"
import type { ConfigurationError } from "../../../Errors.js"
import { checkDefaults, over } from "../../options/defaults.js"
import { checkDriver } from "../../options/driver.js"
import type { Check, Checks } from "../../options/values.js"
import { count, duration, fields, millisOf, mustBe } from "../../options/values.js"
import type { Limits } from "../scheduler/scheduler.js"

/** Limits of a backend. */
export interface Options {
  /**
   * What this backend is called in events, errors, spans, metrics and `state`, to tell two of a type apart: at most 100
   * characters, without `/` and control characters. A backend with a name begins its automatic uids with it:
   * `gpu.000001`. Default: the driver's type, and uids such as `task.000001`.
   */
  readonly name?: string | undefined
  /** Live tasks; `submit` waits beyond it. Default 10,000. */
  readonly maxActiveTasks?: number | undefined
  /** Live tasks submitted by running tasks, which do not wait; beyond it BackendError Rejected. Default: `maxActiveTasks`. */
  readonly maxNestedTasks?: number | undefined
  /**
   * Tasks remembered after their end: their states, and for `awaitAll` their results. Default 10,000; less where results
   * are large.
   */
  readonly historySize?: number | undefined
  /** Events kept for a subscriber that does not read. Default 4 times `maxActiveTasks`. */
  readonly eventBuffer?: number | undefined
  /** Longest wait for a handler that was asked to stop. Default: the driver's, or 5 seconds. */
  readonly stopTimeout?: Duration.DurationInput | undefined
}

/** 10,000 waiting tasks take some 27 MB. */
const defaultMaxActiveTasks = 10_000

interface All extends Limits {
  /** Its own, or the type of its driver. */
  readonly name: string
  /** Events kept for each subscriber. */
  readonly eventBuffer: number
  /** Milliseconds that work has to stop. */
  readonly stopTimeout: number
}

/** The defaults that a backend is built with, checked. */
export const defaultsOf: Effect.Effect<Defaults.Values, ConfigurationError> = Effect.flatMap(
  Defaults.Defaults,
  (given) => checkDefaults(given) ?? Effect.succeed(over(Defaults.values, given))
)

/** A part of uids, which are names of files. */
const backendName: Check = (key, value) =>
  typeof value === "string" && /^[^/\p{Cc}\p{Cs}]{1,100}$/u.test(value)
    ? undefined
    : mustBe(key, "a name of 1 to 100 characters, without / and control characters", value)

/** What the common options of a layer take. */
export const limitChecks: Checks<Options> = {
  name: backendName,
  maxActiveTasks: count(1),
  maxNestedTasks: count(1),
  historySize: count(),
  eventBuffer: count(1),
  stopTimeout: duration({ finite: true })
}
const limitFields = fields(limitChecks, "an option of a backend")

/** Those that are the engine's, of all options of a layer. */
export const limitsIn = (options: Options): Options => {
  try {
    const { name, maxActiveTasks, eventBuffer, historySize, maxNestedTasks, stopTimeout } = options
    return { name, maxActiveTasks, eventBuffer, historySize, maxNestedTasks, stopTimeout }
  } catch {
    return {} // it cannot be read: its driver is refused
  }
}

export const limitsOf = (driver: AnyDriver, options: Options): Effect.Effect<All, ConfigurationError> =>
  Effect.suspend(() => {
    const wrong = checkDriver(driver) ?? limitFields("", options)
    if (wrong !== undefined) return Effect.fail(wrong)
    const { maxActiveTasks = defaultMaxActiveTasks } = options
    const { eventBuffer = 4 * maxActiveTasks, historySize = 10_000, maxNestedTasks = maxActiveTasks } = options
    const concurrency = isQueueDriver(driver) || driver.concurrency === "unbounded" ? Infinity : driver.concurrency
    const prefetch = isQueueDriver(driver) ? 0 : (driver.prefetch?.count ?? 0)
    const stopTimeout = millisOf(options.stopTimeout ?? driver.stopTimeout ?? "5 seconds")!
    return Effect.succeed({
      name: options.name ?? driver.type,
      uids: options.name ?? "task",
      concurrency,
      prefetch,
      maxActiveTasks,
      maxNestedTasks,
      historySize,
      eventBuffer,
      stopTimeout
    })
  })
