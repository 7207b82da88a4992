/**
 * What `submit` returns: a real fiber of the Effect runtime, so everything that takes a fiber takes it (`Fiber.join`,
 * `Fiber.interrupt`, `FiberSet`, a `Supervisor`). Interrupting it stops the work and returns when it has stopped.
 *
 * It ends with the decoded result; with the task's own error; with `TaskError` or `BackendError`; or interrupted, when
 * its fiber was interrupted. A task that was cancelled by uid, by cancel all or by its backend's end is not interrupted but ends with
 * `TaskError` Canceled, so that joining it never interrupts the joiner.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { NodeInspectSymbol } from "effect/Inspectable"
import type { BackendError } from "./Errors.js"
import type { Submittable } from "./TaskInstance.js"
import type { TaskState } from "./TaskState.js"

export const TypeId = "~effect-rhapsody/TaskFiber" as const
export type TypeId = typeof TypeId

export interface TaskFiber<out A, out E = never, out I = Submittable> extends Fiber.RuntimeFiber<A, E> {
  readonly [TypeId]: Handle
  readonly uid: string
  /** Name of the definition. */
  readonly task: string
  /** What was submitted, with its payload: to trace an end back to its input, and to submit it again (`Task.again`). */
  readonly instance: I
}

/** What a backend keeps of a task, as far as its fiber shows it. */
export interface Handle {
  readonly uid: string
  readonly name: string
  readonly state: TaskState
  readonly cancel: Effect.Effect<boolean, BackendError>
  /** Waits for its end as the effect does; a task of the same backend that waits gives its slot up meanwhile. */
  readonly awaiting: <A>(end: Effect.Effect<A>) => Effect.Effect<A>
}

export const isTaskFiber = (u: unknown): u is TaskFiber<unknown, unknown> => {
  try {
    return typeof u === "object" && u !== null && TypeId in u
  } catch {
    return false // a proxy that was revoked
  }
}

/** The state of the task now. */
export const state = (fiber: TaskFiber<unknown, unknown>): Effect.Effect<TaskState> =>
  Effect.sync(() => fiber[TypeId].state)

// A fiber holds what its task works with; what prints it shows none of that.
function toJSON(this: TaskFiber<unknown, unknown>) {
  return { _id: "effect-rhapsody/TaskFiber", uid: this.uid, task: this.task, state: this[TypeId].state }
}

// Every wait for a fiber goes through this property: `Fiber.join`, `Fiber.joinAll`, `yield*`.
const awaited: PropertyDescriptor = {
  configurable: true,
  get(this: TaskFiber<unknown, unknown>) {
    const own: Effect.Effect<unknown> = Reflect.get(Object.getPrototypeOf(this), "await", this)
    return this[TypeId].awaiting(own)
  }
}

/** @internal */
export const decorate = <A, E>(
  fiber: Fiber.RuntimeFiber<A, E>,
  handle: Handle,
  instance: Submittable
): TaskFiber<A, E> => {
  const target = fiber as any
  target[TypeId] = handle
  target.uid = handle.uid
  target.task = handle.name
  target.instance = instance
  target.toJSON = toJSON
  target[NodeInspectSymbol] = toJSON
  Object.defineProperty(target, "await", awaited)
  return target
}
