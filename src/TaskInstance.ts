/** Units of work: what the `make` of a definition gives, and what is submitted. */
import { anotherOf, InstanceTypeId, ServiceTypeId } from "./internal/definition.js"
import type { Any } from "./TaskDefinition.js"
import type { Options } from "./TaskOptions.js"

export { InstanceTypeId, ServiceTypeId }

/** What instances of every kind have. */
export interface Submittable {
  readonly task: Any
  readonly payload: Readonly<Record<string, unknown>>
  readonly options: Options<any>
}

/**
 * Definition, payload and options: one unit of work. The last three members are types only, as `Schema["Type"]`. A plain
 * value, which may be submitted as often as you like; see `again`.
 */
export interface Instance<out A, out E, out R, out P = Readonly<Record<string, unknown>>>
  extends Omit<Submittable, "payload"> {
  readonly payload: P
  readonly [InstanceTypeId]: typeof InstanceTypeId
  readonly Success: A
  readonly Error: E
  readonly Context: R
}

/** An instance of a service task: it is started, not awaited. */
export interface Service<out Info, out E, out R> extends Submittable {
  readonly [ServiceTypeId]: typeof ServiceTypeId
  readonly Info: Info
  readonly Error: E
  readonly Context: R
}

export const isService = (u: unknown): u is Service<unknown, unknown, unknown> =>
  typeof u === "object" && u !== null && ServiceTypeId in u

export const isInstance = (u: unknown): u is Instance<unknown, unknown, unknown> =>
  typeof u === "object" && u !== null && InstanceTypeId in u

/**
 * The same unit of work once more: its definition, payload and options, without its uid, which the backend still knows.
 * Options given here go before its own.
 *
 * @example
 * ```ts
 * import { Exit, Stream } from "effect"
 * import { ExecutionBackend, Task } from "effect-rhapsody"
 *
 * // submits what failed once more, with more time
 * export const twice = <A, E, R>(tasks: Stream.Stream<Task.Instance<A, E, R>>) =>
 *   ExecutionBackend.submitAll(tasks).pipe(
 *     Stream.filter(({ exit }) => Exit.isFailure(exit)),
 *     Stream.map(({ instance }) => Task.again(instance, { timeout: "1 hour" })),
 *     ExecutionBackend.submitAll
 *   )
 * ```
 */
export const again: <I extends Instance<any, any, any, any>>(instance: I, options?: Options<I["Error"]>) => I =
  anotherOf
