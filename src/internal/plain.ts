/** Values in a form that JSON keeps: what JSON cannot express is marked, and comes back as it was. */

import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { define } from "./define.js"

/** The key of a marked value. An object that has this key itself is marked too. */
const mark = "~"

type Marked = { readonly [mark]: string; readonly value?: unknown }

/** Deeper than JSON text is written by anyone; a value that contains itself gets here too. */
const deepest = 500

class Unwritable {
  constructor(readonly message: string) {}
}

const marked = (type: string, value?: unknown): Marked =>
  value === undefined ? { [mark]: type } : { [mark]: type, value }

const mapObject = (value: object, change: (inner: unknown) => unknown): object => {
  const all = {}
  for (const [key, inner] of Object.entries(value)) define(all, key, change(inner))
  return all
}

/** `other` decides about values that are neither data nor bytes. */
const pack = (value: unknown, other: (value: unknown) => unknown, depth = 0): unknown => {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : marked("number", Object.is(value, -0) ? "-0" : String(value))
    case "undefined":
      return marked("undefined")
    case "bigint":
      return marked("bigint", String(value))
    case "object":
      break
    default:
      return other(value)
  }
  if (value === null) return null
  if (depth > deepest) return other(value)
  if (value instanceof Uint8Array) return marked("bytes", Encoding.encodeBase64(value))
  const inner = (value: unknown) => pack(value, other, depth + 1)
  if (Array.isArray(value)) return Array.from(value, inner)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return other(value)
  const all = mapObject(value, inner)
  return mark in value ? marked("object", all) : all
}

const unpack = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null) return value
  if (Array.isArray(value)) return value.map(unpack)
  if (!Object.hasOwn(value, mark)) return mapObject(value, unpack)
  const { [mark]: type, value: held } = value as Marked
  switch (type) {
    case "number":
      return Number(held)
    case "undefined":
      return undefined
    case "bigint":
      return BigInt(String(held))
    case "bytes":
      return Either.getOrThrow(Encoding.decodeBase64(String(held)))
    case "object":
      return mapObject(Object(held), unpack)
    default:
      throw new Unwritable(`${JSON.stringify(type)} is not a mark of a value`)
  }
}

const schema = (other: (value: unknown) => unknown): Schema.Schema<unknown> =>
  Schema.transformOrFail(
    Schema.Unknown,
    Schema.Unknown.annotations({
      arbitrary: () => (fc) => fc.oneof(fc.jsonValue(), fc.uint8Array(), fc.constantFrom(undefined, -0, Infinity, 7n))
    }),
    {
      strict: true,
      decode: (value, _, ast) =>
        ParseResult.try({
          try: () => unpack(value),
          catch: (cause) => new ParseResult.Type(ast, value, (cause as Error).message)
        }),
      encode: (value, _, ast) =>
        ParseResult.try({
          try: () => pack(value, other),
          catch: (cause) => new ParseResult.Type(ast, value, (cause as Error).message)
        })
    }
  )

/** What a schema has encoded: data and bytes. Fails to encode what JSON would change. */
export const Data: Schema.Schema<unknown> = schema((value) => {
  const what =
    typeof value === "object" ? "an object of a class, or one that is nested too deeply," : `a ${typeof value}`
  throw new Unwritable(`${what} cannot be written as JSON; encode it in the schema of the task`)
})

/** The same in a field that may not be there. */
export const OptionalData: Schema.Schema<unknown> = Schema.Union(Schema.Undefined, Data)

/** A record of such values: `Schema.Record` would lose the key `__proto__`. */
export const DataRecord: Schema.Schema<Readonly<Record<string, unknown>>, unknown> = Schema.compose(
  Data,
  Schema.declare((u): u is Readonly<Record<string, unknown>> => typeof u === "object" && u !== null, {
    arbitrary: () => (fc) => fc.dictionary(fc.string(), fc.jsonValue())
  })
)

/** What an error shows: a value that is not data is shown as text. */
export const Fact: Schema.Schema<unknown> = Schema.Union(Schema.Undefined, schema(String))
