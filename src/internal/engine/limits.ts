/** The bounds of a backend, with their defaults, or what is wrong with one. */
import * as Effect from "effect/Effect"
import * as Defaults from "../../Defaults.js"
import type { AnyDriver } from "../../Driver.js"
import { isBatch } from "../../Driver.js"
import type { ConfigurationError } from "../../Errors.js"
import type { Options } from "../../ExecutionBackend.js"
import { checkDefaults, over } from "../options/defaults.js"
import { checkDriver } from "../options/driver.js"
import type { Checks } from "../options/values.js"
import { count, duration, fields, millisOf } from "../options/values.js"
import type { Limits } from "./machine.js"

/** 10,000 waiting tasks take some 27 MB. */
const defaultAdmission = 10_000

interface All extends Limits {
  /** Events kept for each subscriber. */
  readonly eventBuffer: number
  /** Milliseconds that work has to stop. */
  readonly grace: number
}

/** The defaults that a backend is built with, checked. */
export const defaultsOf: Effect.Effect<Defaults.Values, ConfigurationError> = Effect.flatMap(
  Defaults.Defaults,
  (given) => checkDefaults(given) ?? Effect.succeed(over(Defaults.values, given))
)

/** What the common options of a layer take. */
export const limitChecks: Checks<Options> = {
  admission: count(1),
  nestedAdmission: count(1),
  history: count(),
  eventBuffer: count(1),
  stopGrace: duration({ finite: true })
}
const limitFields = fields(limitChecks, "an option of a backend")

/** Those that are the engine's, of all options of a layer. */
export const limitsIn = (options: Options): Options => {
  try {
    const { admission, eventBuffer, history, nestedAdmission, stopGrace } = options
    return { admission, eventBuffer, history, nestedAdmission, stopGrace }
  } catch {
    return {} // it cannot be read: its driver is refused
  }
}

export const limitsOf = (driver: AnyDriver, options: Options): Effect.Effect<All, ConfigurationError> =>
  Effect.suspend(() => {
    const wrong = checkDriver(driver) ?? limitFields("", options)
    if (wrong !== undefined) return Effect.fail(wrong)
    const { admission = defaultAdmission, eventBuffer = 4 * admission, history = 10_000 } = options
    const { nestedAdmission: nested = admission } = options
    const concurrency = isBatch(driver) || driver.concurrency === "unbounded" ? Infinity : driver.concurrency
    const ahead = isBatch(driver) ? 0 : (driver.ahead?.count ?? 0)
    const grace = millisOf(options.stopGrace ?? driver.stopGrace ?? "5 seconds")!
    return Effect.succeed({ concurrency, ahead, admission, nested, history, eventBuffer, grace })
  })
