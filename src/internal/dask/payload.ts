/** A payload as Python is given it: as JSON, in which nothing is lost or changed. */
import { randomUUID } from "node:crypto"
import type { Python } from "../../Driver.js"

export interface Wrong {
  readonly path: string
  readonly message: string
}

const at = (path: string, key: string | number) =>
  typeof key === "number" ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`

const deepest = 500

/** A number that JSON would write as a whole number of another value: Python reads -0 as 0, and 2 ** 68 as another. */
const isFloat = (value: unknown): value is number =>
  typeof value === "number" &&
  Number.isInteger(value) &&
  (Object.is(value, -0) || (Math.abs(value) > 2 ** 53 && Math.abs(value) < 1e21))

/** The first thing in a value that would arrive as another, or not at all. `floats` is called if there is a number that
 * must be written as a float. */
const notJson = (value: unknown, path: string, floats: () => void, depth = 0): Wrong | undefined => {
  const wrong = (what: string): Wrong => ({
    path,
    message: `${what} cannot be sent to Python as JSON; encode it in the payload schema`
  })
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      if (isFloat(value)) floats()
      return Number.isFinite(value) ? undefined : wrong(String(value))
    case "undefined":
      // a field that is not there
      return undefined
    case "object":
      break
    default:
      return wrong(`a ${typeof value}`)
  }
  if (value === null) return undefined
  if (depth > deepest) return wrong("what is nested so deeply")
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const found =
        value[i] === undefined ? { path: at(path, i), message: "undefined is not JSON; use null" } : undefined
      const inner = found ?? notJson(value[i], at(path, i), floats, depth + 1)
      if (inner !== undefined) return inner
    }
    return undefined
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    return wrong(`a ${(value as { constructor?: { name?: string } }).constructor?.name ?? "class instance"}`)
  }
  for (const key in value) {
    const inner = notJson((value as Record<string, unknown>)[key], at(path, key), floats, depth + 1)
    if (inner !== undefined) return inner
  }
  return undefined
}

/** No text of a payload is this by chance. */
const mark = `float ${randomUUID()} `
const marked = new RegExp(`"${mark}([^"]*)"`, "g")

const stringify = (value: unknown, floats: boolean): string =>
  floats
    ? JSON.stringify(value, (_, part: unknown) => {
        if (!isFloat(part)) return part
        return `${mark}${Object.is(part, -0) ? "-0" : part}.0`
      }).replace(marked, "$1")
    : JSON.stringify(value)

type Fields = Readonly<Record<string, unknown>>
type Arranged = { readonly value: unknown } | Wrong

/** By the order of the schema: that of an object's own keys is another where they look like numbers. */
const positions = (payload: Fields, fields: ReadonlyArray<string>): Arranged => {
  const number = fields.find((field) => /^\d+$/.test(field))
  if (number !== undefined && fields.length > 1) {
    const message = `a field whose name is a number has no place among the others, as JavaScript sorts them; rename it, or use call: "kwargs"`
    return { path: number, message }
  }
  let given = fields.length
  while (given > 0 && payload[fields[given - 1]!] === undefined) given--
  const hole = fields.slice(0, given).find((field) => payload[field] === undefined)
  if (hole === undefined) return { value: fields.slice(0, given).map((field) => payload[field]) }
  const message = `is left out, but ${fields[given - 1]} after it is given, which would take its place; give it a value, or use call: "kwargs"`
  return { path: hole, message }
}

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value)

const both = ({ args = [], kwargs = {}, ...rest }: Fields): Arranged => {
  const [other] = Object.keys(rest)
  if (other !== undefined) return { path: other, message: `is neither args nor kwargs, which are all of call: "both"` }
  if (!Array.isArray(args)) return { path: "args", message: `must be an array with call: "both"` }
  if (!isObject(kwargs)) return { path: "kwargs", message: `must be an object with call: "both"` }
  return { value: { args, kwargs } }
}

const arranged = ({ call = "kwargs", fields }: Python, payload: Fields): Arranged => {
  switch (call) {
    case "args":
      return positions(payload, fields ?? Object.keys(payload))
    case "both":
      return both(payload)
    case "kwargs":
    case "object":
      return { value: payload }
    default:
      return { path: "call", message: `must be "kwargs", "args", "object" or "both"` }
  }
}

/** What Python gets, or why it cannot have it. */
export const encode = (program: Python, payload: unknown): string | Wrong => {
  let floats = false
  const found = notJson(payload, "", () => {
    floats = true
  })
  if (found !== undefined) return found
  const value = arranged(program, payload as Fields)
  if ("path" in value) return value
  try {
    return stringify(value.value, floats)
  } catch (cause) {
    return { path: "", message: `is too long: ${(cause as Error).message}; pass the name of a file` }
  }
}
