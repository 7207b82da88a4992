/** The bounds of a backend, with their defaults, or what is wrong with one. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { AnyDriver } from "../../Driver.js"
import { everyOption, isBatch } from "../../Driver.js"
import { ConfigurationError } from "../../Errors.js"
import type { Options } from "../../ExecutionBackend.js"
import type { Limits } from "./machine.js"

/** 10,000 waiting tasks take some 27 MB. */
const defaultAdmission = 10_000

interface All extends Limits {
  /** Events kept for each subscriber. */
  readonly eventBuffer: number
  /** Milliseconds that work has to stop. */
  readonly grace: number
}

const refuse = (configKey: string, message: string) =>
  Effect.fail(new ConfigurationError({ configKey, reason: "InvalidOption", details: { message } }))

export const limitsOf = (driver: AnyDriver, options: Options): Effect.Effect<All, ConfigurationError> =>
  Effect.suspend(() => {
    const { admission = defaultAdmission, eventBuffer = 4 * admission, history = 10_000 } = options
    const { nestedAdmission: nested = admission } = options
    const asked = isBatch(driver) ? "unbounded" : driver.concurrency
    const concurrency = asked === "unbounded" ? Number.POSITIVE_INFINITY : asked
    const ahead = isBatch(driver) ? 0 : (driver.ahead?.count ?? 0)
    const counts = { concurrency, ahead, admission, nestedAdmission: nested, eventBuffer, history }
    for (const [key, value] of Object.entries(counts)) {
      const least = key === "history" || key === "ahead" ? 0 : 1
      const endless = key === "concurrency" && asked === "unbounded"
      if (!endless && !(Number.isSafeInteger(value) && value >= least)) {
        return refuse(key, `must be an integer, ${least} or more, not ${value}`)
      }
    }
    const stopGrace = Duration.decodeUnknown(options.stopGrace ?? driver.stopGrace ?? "5 seconds")
    if (Option.isNone(stopGrace) || !Duration.isFinite(stopGrace.value)) {
      return refuse("stopGrace", 'must be a finite duration such as "5 seconds"')
    }
    const unknown = (driver.honours ?? []).find((option) => !everyOption.includes(option))
    if (unknown !== undefined) return refuse("honours", `must be some of ${everyOption.join(", ")}, not ${unknown}`)
    if (driver.kinds.length === 0) return refuse("kinds", "a backend runs at least one kind of task")
    const grace = Duration.toMillis(stopGrace.value)
    return Effect.succeed({ concurrency, ahead, admission, nested, history, eventBuffer, grace })
  })
