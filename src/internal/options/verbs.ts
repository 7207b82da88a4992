/** What the verbs are given: a wrong argument is refused at once, by its name. */
import * as Effect from "effect/Effect"
import type { ConfigurationError } from "../../Errors.js"
import { describe } from "../describe.js"
import type { Checks, Refusal } from "./values.js"
import { callback, count, duration, fields, flag, mustBe, nameOf, refuse } from "./values.js"

const awaiting: Checks<{ readonly timeout: unknown; readonly failFast: unknown }> = {
  timeout: duration(),
  failFast: flag
}
const awaitFields = fields(awaiting, "an option of awaitAll")
export const checkAwait = (options: unknown): Refusal => (options === undefined ? undefined : awaitFields("", options))

const many = fields<{ readonly atomic: boolean }>({ atomic: flag }, "an option of submitMany")
export const checkMany = (options: unknown): Refusal => (options === undefined ? undefined : many("", options))

const all = fields<{ readonly buffer: number }>({ buffer: count(1) }, "an option of submitAll")
export const checkAll = (options: unknown): Refusal => all("", options)

export const checkCallback = (value: unknown): Refusal => callback("callback", value)

/** Of something that is neither a uid nor a task's fiber. */
export const notTarget = (value: unknown): ConfigurationError =>
  refuse("target", "NotATask", `must be the uid of a task, or the fiber that submit gave, not ${nameOf(value)}`)

/** All elements, once: a caller's iterable may be anything. */
export const elements = <A>(tasks: Iterable<A>): Effect.Effect<Array<A>, ConfigurationError> =>
  Effect.suspend(() => {
    try {
      if (typeof tasks !== "object" || tasks === null) return mustBe("tasks", "an iterable of tasks", tasks)
      return Effect.succeed([...tasks])
    } catch (cause) {
      return refuse(
        "tasks",
        "InvalidOption",
        `must be an iterable of tasks, and reading it threw: ${describe(cause)}`,
        cause
      )
    }
  })
