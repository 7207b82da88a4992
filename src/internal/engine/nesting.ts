/** Tasks that wait for tasks of their own backend: they give their slots up meanwhile. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { isTerminal } from "../../TaskState.js"
import { taskOf } from "./current.js"
import type { Entry } from "./entry.js"
import type { Machine } from "./machine.js"

export const make = (machine: Machine<Entry>) => {
  /** The live task of this backend that the caller belongs to. */
  const parentOf = (fiber: Fiber.RuntimeFiber<any, any>): Entry | undefined => {
    const current = taskOf(fiber)
    return current !== undefined && machine.live.get(current.uid) === current ? current : undefined
  }
  /** The effect waits for these tasks, on behalf of `by`. */
  const waiting = <A, E, R>(by: Entry, others: Iterable<Entry>, effect: Effect.Effect<A, E, R>) =>
    Effect.uninterruptibleMask((restore) => {
      const wait = machine.await(by, others)
      return Effect.ensuring(
        restore(effect),
        Effect.sync(() => machine.unawait(wait))
      )
    })
  /** The effect waits for the end of the task, whichever fiber runs it. A parent gives its slot up for its children anyway. */
  const awaiting = <A>(entry: Entry, end: Effect.Effect<A>): Effect.Effect<A> =>
    Effect.withFiberRuntime((fiber) => {
      if (isTerminal(entry.state)) return end
      const by = parentOf(fiber)
      return by === undefined || by === entry || by === entry.parent ? end : waiting(by, [entry], end)
    })
  return { parentOf, waiting, awaiting }
}
