/**
 * What a value of an option may be: one check for each kind of value, whichever way it came in. No check runs code of
 * the value (a getter, `toString`) outside of a `try`, and no message shows a value that may be a secret.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { ConfigurationErrorReason } from "../../Errors.js"
import { ConfigurationError } from "../../Errors.js"
import { describe } from "../describe.js"

export type Refusal = ConfigurationError | undefined

export const refuse = (
  configKey: string | undefined,
  reason: ConfigurationErrorReason,
  message: string,
  cause?: unknown
): ConfigurationError =>
  new ConfigurationError({
    ...(configKey === undefined ? {} : { configKey }),
    reason,
    details: { message },
    ...(cause === undefined ? {} : { cause })
  })

/** What a value is, without what is in it. */
export const nameOf = (value: unknown): string => {
  switch (typeof value) {
    case "string":
      return value === "" ? "an empty string" : "a string"
    case "number":
    case "boolean":
    case "undefined":
      return String(value)
    case "object":
      return value === null ? "null" : isArray(value) ? "an array" : "an object"
    default:
      return `a ${typeof value}`
  }
}

/** `Array.isArray` throws for a proxy that was revoked. */
const isArray = (value: unknown): boolean => {
  try {
    return Array.isArray(value)
  } catch {
    return false
  }
}

export const mustBe = (key: string, what: string, value: unknown): ConfigurationError =>
  refuse(key, "InvalidOption", `must be ${what}, not ${nameOf(value)}`)

/** Fields and their values, and nothing else that is an object: no list, Map, promise or bytes. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> => {
  try {
    return (
      typeof value === "object" &&
      value !== null &&
      Object.prototype.toString.call(value) === "[object Object]" &&
      typeof (value as { then?: unknown }).then !== "function"
    )
  } catch {
    return false
  }
}

export const isPromise = (value: unknown): boolean =>
  typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function"

export const isCount = (value: unknown, least = 0): value is number =>
  Number.isSafeInteger(value) && (value as number) >= least

/** What is wrong with a value under this key. It is not undefined: that is as good as absent. */
export type Check = (key: string, value: unknown) => Refusal

export const count =
  (least = 0): Check =>
  (key, value) =>
    isCount(value, least) ? undefined : mustBe(key, `an integer, ${least} or more`, value)

const shown = (value: unknown): string =>
  typeof value === "string" && value !== "" ? value.slice(0, 40) : nameOf(value)

/** Names are shown: they are few, and no secrets. */
export const oneOf =
  (...values: ReadonlyArray<unknown>): Check =>
  (key, value) =>
    values.includes(value)
      ? undefined
      : refuse(key, "InvalidOption", `must be ${values.join(" or ")}, not ${shown(value)}`)

/** Any of several names. */
export const some =
  (what: string, values: ReadonlyArray<unknown>): Check =>
  (key, given) => {
    if (!Array.isArray(given)) return mustBe(key, `an array of ${what}`, given)
    const other = given.findIndex((one) => !values.includes(one))
    return other === -1
      ? undefined
      : refuse(key, "InvalidOption", `must be some of ${values.join(", ")}, not ${shown(given[other])}`)
  }

export const flag = oneOf(true, false)

export const callback: Check = (key, value) =>
  typeof value === "function" ? undefined : mustBe(key, "a function", value)

/** A question about a value that may throw when it is looked at: then the answer is no. */
export const safely =
  <A>(is: (value: unknown) => value is A) =>
  (value: unknown): value is A => {
    try {
      return is(value)
    } catch {
      return false
    }
  }
const isSchema = safely(Schema.isSchema)

export const schema: Check = (key, value) => (isSchema(value) ? undefined : mustBe(key, "a Schema", value))

const loneSurrogate = /\p{Surrogate}/u

/** Text that the system can be given. */
export const text =
  (what = "a string", empty = true): Check =>
  (key, value) => {
    if (typeof value !== "string" || (value === "" && !empty)) return mustBe(key, what, value)
    return value.includes("\0") || loneSurrogate.test(value)
      ? refuse(key, "InvalidOption", "must not contain NUL or half of a surrogate pair: the system cannot pass it on")
      : undefined
  }

export const list =
  (what: string, check: Check): Check =>
  (key, values) => {
    if (!Array.isArray(values)) return mustBe(key, what, values)
    for (let i = 0; i < values.length; i++) {
      const wrong = check(`${key}[${i}]`, values[i])
      if (wrong !== undefined) return wrong
    }
    return undefined
  }

/** All fields that there are, and what each takes. */
export type Checks<T> = { readonly [K in keyof Required<T>]: Check }

/** `key` is that of the whole; empty: the fields stand for themselves. `what`: what an unknown one is not. */
export const fields =
  <T>(checks: Checks<T>, what: string, shape = "an object"): Check =>
  (key, value) => {
    if (!isRecord(value)) return mustBe(key === "" ? "options" : key, shape, value)
    let at = key === "" ? "options" : key
    try {
      for (const name of Object.keys(value)) {
        at = key === "" ? name : `${key}.${name}`
        const inner = value[name]
        if (inner === undefined) continue
        if (!Object.hasOwn(checks, name)) {
          return refuse(at, "InvalidOption", `is not ${what}; known: ${Object.keys(checks).join(", ")}`)
        }
        const wrong = checks[name as keyof T](at, inner)
        if (wrong !== undefined) return wrong
      }
      return undefined
    } catch (cause) {
      return refuse(at, "InvalidOption", `cannot be read: ${describe(cause)}`, cause)
    }
  }

/** What must be there and what may be, of an object that may have other fields; any value may throw when it is read. */
export const members = (
  all: Readonly<Record<string, unknown>>,
  whole: string,
  needed: Readonly<Record<string, Check>>,
  optional: Readonly<Record<string, Check>>,
  readFirst: ReadonlyArray<string> = []
): Refusal => {
  let at = whole
  try {
    for (const key of readFirst) {
      at = key
      void all[key]
    }
    for (const [key, check] of Object.entries({ ...needed, ...optional })) {
      at = key
      const value = all[key]
      const wrong = value === undefined && Object.hasOwn(optional, key) ? undefined : check(key, value)
      if (wrong !== undefined) return wrong
    }
    return undefined
  } catch (cause) {
    return refuse(at, "InvalidOption", `cannot be read: ${describe(cause)}`, cause)
  }
}

/** Milliseconds; undefined for what is no duration, is NaN or is negative, of which Effect makes zero. */
export const millisOf = (input: unknown): number | undefined => {
  if (input === undefined) return undefined
  try {
    if (
      typeof input === "string" ? input.trimStart().startsWith("-") : Array.isArray(input) && !input.every(isPositive)
    )
      return undefined
    if ((typeof input === "number" || typeof input === "bigint") && !isPositive(input)) return undefined
    return Option.getOrUndefined(Option.map(Duration.decodeUnknown(input), Duration.toMillis))
  } catch {
    return undefined
  }
}
const isPositive = (value: unknown): boolean => (value as number) >= 0

/** Which durations an option takes. */
export interface Span {
  /** More than zero. */
  readonly positive?: boolean
  readonly finite?: boolean
}

export const duration =
  ({ finite = false, positive = false }: Span = {}): Check =>
  (key, value) => {
    const millis = millisOf(value)
    if (millis !== undefined && (millis > 0 || !positive) && (millis < Infinity || !finite)) return undefined
    const kind = `${finite ? "finite " : ""}${positive ? "positive " : ""}`
    return refuse(key, "InvalidOption", `must be a ${kind}duration such as "30 seconds", not ${shown(value)}`)
  }
