/** Tasks that wait for tasks of their own backend: they give their slots up meanwhile. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { isTerminal } from "../../../TaskState.js"
import type { TaskRecord } from "../run/taskRecord.js"
import type { Scheduler } from "../scheduler/scheduler.js"
import { taskOf } from "./currentTask.js"

export const make = (scheduler: Scheduler<TaskRecord>) => {
  /** The live task of this backend that the caller belongs to. */
  const parentOf = (fiber: Fiber.RuntimeFiber<any, any>): TaskRecord | undefined => {
    const current = taskOf(fiber)
    return current !== undefined && scheduler.live.get(current.uid) === current ? current : undefined
  }
  /** The effect waits for these tasks, on behalf of `by`. */
  const waiting = <A, E, R>(by: TaskRecord, others: Iterable<TaskRecord>, effect: Effect.Effect<A, E, R>) =>
    Effect.uninterruptibleMask((restore) => {
      const wait = scheduler.await(by, others)
      return Effect.ensuring(
        restore(effect),
        Effect.sync(() => scheduler.unawait(wait))
      )
    })
  /** The effect waits for the end of the task, whichever fiber runs it. A parent gives its slot up for its children anyway. */
  const awaiting = <A>(record: TaskRecord, end: Effect.Effect<A>): Effect.Effect<A> =>
    Effect.withFiberRuntime((fiber) => {
      if (isTerminal(record.state)) return end
      const by = parentOf(fiber)
      return by === undefined || by === record || by === record.parent ? end : waiting(by, [record], end)
    })
  return { parentOf, waiting, awaiting }
}
