/** What is wrong with a driver, before anything stands on it. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import type { AnyDriver, QueueDriver, SlotDriver } from "../../Driver.js"
import { everyOption } from "../../Driver.js"
import type { Check, Refusal } from "./values.js"
import {
  callback,
  count,
  duration,
  flag,
  isRecord,
  members,
  mustBe,
  nameOf,
  oneOf,
  refuse,
  safely,
  some,
  text
} from "./values.js"

const kinds = ["executable", "function", "worker", "python", "service"]

const checkKinds: Check = (key, value) =>
  Array.isArray(value) && value.length === 0
    ? refuse(key, "InvalidOption", "must not be empty: a backend runs at least one kind of task")
    : some("kinds", kinds)(key, value)

const either =
  (...checks: ReadonlyArray<Check>): Check =>
  (key, value) => {
    const wrong = checks.map((check) => check(key, value))
    return wrong.includes(undefined) ? undefined : wrong[0]
  }
const effect: Check = (key, value) => (Effect.isEffect(value) ? undefined : mustBe(key, "an Effect", value))

const record: Check = (key, value) => (isRecord(value) ? undefined : mustBe(key, "an object", value))

const prefetch: Check = (key, value) => {
  const given = value as { readonly count?: unknown; readonly takes?: unknown } | null
  if (typeof given !== "object" || given === null) return mustBe(key, "an object { count, takes }", value)
  return count()(key, given.count) ?? callback(`${key}.takes`, given.takes)
}

type Needed = "type" | "kinds" | "concurrency" | "run" | "submit" | "cancel" | "updates"
/** What may be left out. */
const optional: { readonly [K in Exclude<keyof SlotDriver | keyof QueueDriver, Needed>]: Check } = {
  honours: some("options", everyOption),
  check: callback,
  handler: callback,
  cancelable: either(flag, callback),
  stopTimeout: duration({ finite: true }),
  serve: callback,
  lost: effect,
  linkExplicit: callback,
  linkImplicit: callback,
  boundedStop: some("kinds", kinds),
  reportsExecuting: flag,
  prefetch,
  forceStop: effect,
  settings: callback,
  nativeStates: record,
  details: callback
}
/** What must be there, of either form. */
const needed: Readonly<Record<string, Check>> = { type: text("a name", false), kinds: checkKinds }
const ofSlots: Readonly<Record<string, Check>> = {
  concurrency: either(count(1), oneOf("unbounded")),
  run: callback
}
const ofBatch: Readonly<Record<string, Check>> = {
  submit: callback,
  cancel: callback,
  updates: (key, value) =>
    Predicate.hasProperty(value, Stream.StreamTypeId) ? undefined : mustBe(key, "a Stream", value)
}

/** It may have other fields, which are its own, and may be of a class. */
export const checkDriver = (driver: AnyDriver): Refusal => {
  if (typeof driver !== "object" || driver === null) {
    const message = `must be what a driver is: type, kinds, and how it runs tasks; not ${nameOf(driver)}`
    return refuse("driver", "InvalidOption", message)
  }
  const isOfBatch = safely((u: unknown): u is object => "updates" in (u as object))
  return members(driver as never, "driver", { ...needed, ...(isOfBatch(driver) ? ofBatch : ofSlots) }, optional)
}
