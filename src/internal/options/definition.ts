/** What is wrong with a definition, before it is made. Its options are those of its tasks, and are checked with them. */
import * as Schema from "effect/Schema"
import { ConfigurationError } from "../../Errors.js"
import type { Kind } from "../../Kind.js"
import type { Check, Refusal } from "./values.js"
import { callback, count, isRecord, list, members, mustBe, oneOf, schema, text } from "./values.js"

const isField: Check = (key, value) => (Schema.isPropertySignature(value) ? undefined : schema(key, value))

const payload: Check = (key, value) => {
  if (!isRecord(value)) return mustBe(key, "an object of Schemas", value)
  for (const name of Object.keys(value)) {
    const wrong = isField(`${key}.${name}`, value[name])
    if (wrong !== undefined) return wrong
  }
  return undefined
}
const its =
  (name: "URL" | "RegExp"): Check =>
  (key, value) =>
    Object.prototype.toString.call(value) === `[object ${name}]` ? undefined : mustBe(key, `a ${name}`, value)
const callable: Check = (key, value) =>
  typeof value === "string" && value.includes(":")
    ? text()(key, value)
    : mustBe(key, 'text such as "package.module:callable"', value)

type Fields = Readonly<Record<string, Check>>
const schemas: Fields = { payload, success: schema, error: schema }

/** Of each kind: what must be there, and what may be. */
const kinds: Readonly<Record<Kind, readonly [needed: Fields, optional: Fields]>> = {
  executable: [
    { command: callback },
    { ...schemas, failure: callback, exitCodes: list("an array of exit codes", count()) }
  ],
  function: [{}, schemas],
  worker: [{ module: its("URL"), export: text("the name of an export", false) }, schemas],
  python: [
    { callable },
    {
      ...schemas,
      call: oneOf("kwargs", "args", "object", "both"),
      path: list("an array of directories", text("a directory", false)),
      failure: callback
    }
  ],
  service: [
    { command: callback, ready: its("RegExp") },
    { ...schemas, info: schema }
  ]
}

const checkFields = (kind: Kind, options: unknown): Refusal => {
  if (!isRecord(options)) return mustBe("options", "an object", options)
  return members(options, "options", ...kinds[kind], Object.keys(options))
}

const checkName = text("the name of a task, which is not empty", false)

/** Throws where the definition is written. */
export const checkDefinition = (kind: Kind, name: unknown, options: unknown): void => {
  const unnamed = checkName("name", name)
  if (unnamed !== undefined) throw unnamed
  const wrong = checkFields(kind, options)
  if (wrong === undefined) return
  const { cause, configKey, details, reason } = wrong
  const message = `task ${name}: ${details["message"]}`
  throw new ConfigurationError({ configKey, reason, details: { task: name, message }, cause })
}
