/** The kinds of task, and how a type says which of them a backend runs. */
import * as Schema from "effect/Schema"

/** The ways to run: a program, an Effect in this process, a CPU-bound export of a module, Python, a long-lived program. */
export const Kind = Schema.Literal("executable", "function", "worker", "python", "service")
export type Kind = typeof Kind.Type

/**
 * In the context: "a backend that runs tasks of these kinds". Covariant: a layer of
 * `ExecutionBackend<"executable" | "python">` satisfies a program that needs `ExecutionBackend<"python">`.
 *
 * Not a `Context.Tag` class, because such a class cannot carry the kinds. `Backend.layer(driver)` makes the layers.
 */
export interface ExecutionBackend<out K extends Kind> {
  readonly "~effect-rhapsody/kinds": K
}
