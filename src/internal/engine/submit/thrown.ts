/** What a user's own object throws when it is read: found again by its field, for a typed refusal. */

import type { ConfigurationError } from "../../../Errors.js"
import type * as Task from "../../../Task.js"
import { describe } from "../../describe.js"
import { refuse } from "../../options/values.js"

/** The first field that throws when it is read, of an object and of the objects in it. */
const throwing = (value: unknown, path: string, depth: number): string | undefined => {
  if (typeof value !== "object" || value === null || depth === 0) return undefined
  let keys: ReadonlyArray<string>
  try {
    keys = Object.keys(value)
    void (value as { readonly then?: unknown }).then
  } catch {
    return path
  }
  for (const key of keys) {
    const inner = path === "" ? key : `${path}.${key}`
    try {
      const found = throwing((value as Readonly<Record<string, unknown>>)[key], inner, depth - 1)
      if (found !== undefined) return found
    } catch {
      return inner
    }
  }
  return undefined
}

const isUnit = (value: unknown): value is Task.Submittable => {
  try {
    const { options, task } = value as Partial<Task.Submittable>
    return options !== undefined && task?.codec !== undefined
  } catch {
    return false
  }
}

/** Why an instance cannot be prepared. */
export const thrown = (instance: Task.Submittable, cause: unknown): ConfigurationError => {
  if (!isUnit(instance)) {
    const message = `only what a task definition's make returns can be submitted, and reading this threw: ${describe(cause)}`
    return refuse(undefined, "NotATask", message, cause)
  }
  const { options, payload } = instance
  const message = `the task cannot be submitted, because reading this threw: ${describe(cause)}`
  const option = throwing(options, "", 3)
  if (option !== undefined) return refuse(option === "" ? "options" : option, "InvalidOption", message, cause)
  const field = throwing(payload, "", 2)
  return refuse(field === undefined || field === "" ? "payload" : field, "InvalidPayload", message, cause)
}
