/** Defaults: what each may be, and one set over another. */
import * as Duration from "effect/Duration"
import { define } from "../define.js"
import type { Checks, Refusal } from "./values.js"
import { count, duration, fields, millisOf, text } from "./values.js"

export interface Values {
  /** The backend that a registry gives when none is named. */
  readonly backend: string
  /** Tasks at the same time in a backend with slots. */
  readonly maxWorkers: number
  /** Further attempts after the first. */
  readonly retryAttempts: number
  /** Pause between attempts. */
  readonly retryDelay: Duration.Duration
  /** Longest time of one attempt; undefined: no limit. */
  readonly timeout: Duration.Duration | undefined
}

/** Some of the defaults; what is undefined says nothing. */
export interface Given {
  readonly backend?: string | undefined
  readonly maxWorkers?: number | undefined
  readonly retryAttempts?: number | undefined
  readonly retryDelay?: Duration.DurationInput | undefined
  readonly timeout?: Duration.DurationInput | undefined
}

export const defaultChecks: Checks<Values> = {
  backend: text("the name of a backend", false),
  maxWorkers: count(1),
  retryAttempts: count(),
  retryDelay: duration({ finite: true }),
  timeout: duration({ positive: true })
}

/** Names the default: `Defaults.maxWorkers`. */
export const checkDefaults = (given: unknown): Refusal => fields(defaultChecks, "one of Defaults")("Defaults", given)

/** What is undefined says nothing. What is wrong stays as it is: the reader of the option refuses it. */
export const over = (values: Values, some: Given): Values => {
  const all = { ...values }
  for (const [key, value] of Object.entries(some)) {
    if (value === undefined) continue
    const millis = key === "retryDelay" || key === "timeout" ? millisOf(value) : undefined
    define(all, key, millis === undefined || Duration.isDuration(value) ? value : Duration.millis(millis))
  }
  return all
}
