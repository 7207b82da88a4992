/** What a queued task works with is its own: the caller may change what was given as soon as the task is accepted. */
import type { Env, InputFile, Text } from "../../TaskOptions.js"
import { define } from "../define.js"

/** Longer bytes are copied once for all tasks that are given the same ones. */
const long = 64 * 1024
const copies = new WeakMap<Uint8Array, Uint8Array>()

const copyBytes = (bytes: Uint8Array): Uint8Array => {
  if (bytes.length < long) return new Uint8Array(bytes)
  const known = copies.get(bytes)
  if (known !== undefined && Buffer.compare(known, bytes) === 0) return known
  const copy = new Uint8Array(bytes)
  copies.set(bytes, copy)
  return copy
}

export const copyText = <T extends Text>(text: T): T =>
  typeof text === "string" ? text : (copyBytes(text as Uint8Array) as T)

export const copyInput = (stdin: Text | InputFile | undefined): Text | InputFile | undefined =>
  stdin === undefined || typeof stdin === "string"
    ? stdin
    : stdin instanceof Uint8Array
      ? copyBytes(stdin)
      : { file: stdin.file }

/** Of two, the second wins. */
export const copyEnv = (first: Env | undefined, second: Env | undefined): Env => {
  const env: Record<string, Env[string]> = { ...first, ...second }
  for (const name of Object.keys(env)) {
    const value = env[name]
    if (value instanceof Uint8Array) define(env, name, copyBytes(value))
  }
  return env
}

/** Lists, records and bytes are copied, all the way down; what has a class of its own stays as it is. */
export const copyData = (value: unknown): unknown =>
  typeof value === "object" && value !== null ? copyObject(value, new Map()) : value

const copyInner = (value: unknown, copied: Map<object, object>): unknown =>
  typeof value === "object" && value !== null ? (copied.get(value) ?? copyObject(value, copied)) : value

/** What is there twice, or in itself, is so in the copy. */
const copyObject = (value: object, copied: Map<object, object>): object => {
  if (Array.isArray(value)) {
    const copy: Array<unknown> = []
    copied.set(value, copy)
    for (const element of value) copy.push(copyInner(element, copied))
    return copy
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) {
    const copy: Record<string, unknown> = prototype === null ? Object.create(null) : {}
    copied.set(value, copy)
    for (const [key, inner] of Object.entries(value)) define(copy, key, copyInner(inner, copied))
    return copy
  }
  return value instanceof Uint8Array && (prototype === Uint8Array.prototype || Buffer.isBuffer(value))
    ? copyBytes(value)
    : value
}
