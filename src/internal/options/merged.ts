/** The options of an instance over those of its definition. */
import type { Options } from "../../TaskOptions.js"
import { isRecord } from "./values.js"

/** An instance wins, where it says something: what is undefined is as good as absent. Variables are put together. */
const over = (definition: Options<any>, own: Options<any>): Options<any> => {
  const all: Record<string, unknown> = { ...definition, ...own }
  for (const key of Object.keys(all)) {
    if (all[key] === undefined) all[key] = definition[key as keyof Options]
  }
  if (isRecord(definition.env) && isRecord(own.env)) all["env"] = { ...definition.env, ...own.env }
  return all
}

/** Never throws: what cannot be read, or is no object, is found when the task is submitted. */
export const merged = (definition: Options<any>, own: Options<any> | undefined): Options<any> => {
  if (own === undefined) return definition
  if (!isRecord(own)) return own as Options<any>
  try {
    return over(definition, own)
  } catch {
    return own
  }
}
