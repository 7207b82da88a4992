/**
 * Which task runs here. What a handler submits or waits for belongs to its task, whichever way it goes: from a fiber of
 * the handler, which carries the task in a FiberRef, or from a promise or a callback (`ManagedRuntime.runPromise`), which
 * only Node's AsyncLocalStorage follows.
 */
import type { AsyncLocalStorage } from "node:async_hooks"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import { globalValue } from "effect/GlobalValue"
import type { Scheduler, Task } from "effect/Scheduler"
import type { TaskRecord, Token } from "../run/taskRecord.js"

type AnyFiber = Fiber.RuntimeFiber<unknown, unknown>

/** The task whose handler runs here. A fiber that joins one of the handler's fibers does not become the task. */
const currentTask: FiberRef.FiberRef<Token | undefined> = globalValue("effect-rhapsody/currentTask", () =>
  FiberRef.unsafeMake<Token | undefined>(undefined, { join: (joiner) => joiner })
)

/** Undefined where the platform has none. It costs nothing until the first handler runs. */
const storage: AsyncLocalStorage<Token | undefined> | undefined = globalValue("effect-rhapsody/storage", () => {
  const hooks = globalThis.process?.getBuiltinModule?.("node:async_hooks")
  return hooks === undefined ? undefined : new hooks.AsyncLocalStorage()
})

/** Each turn of the fibers that have this scheduler belongs to one task, or to none. */
class TaskScheduler implements Scheduler {
  readonly base: Scheduler
  constructor(
    outer: Scheduler,
    readonly token: Token | undefined
  ) {
    this.base = isTaskScheduler(outer) ? outer.base : outer
  }
  shouldYield(fiber: AnyFiber): number | false {
    return this.base.shouldYield(fiber)
  }
  scheduleTask(turn: Task, priority: number, fiber?: AnyFiber): void {
    const { token } = this
    const run = () => {
      if (token !== undefined) token.turns++
      if (storage === undefined) turn()
      else storage.run(token, turn)
    }
    this.base.scheduleTask(run, priority, fiber)
  }
}

/** Also of another copy of this library. */
const isTaskScheduler = (scheduler: Scheduler): scheduler is TaskScheduler =>
  "base" in scheduler && "token" in scheduler

/** Runs a handler as that of the task. */
export const inside = <A, E, R>(token: Token, handler: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) => {
    token.fiber = fiber.id().id
    // the turn that has begun is not yet one of the task's
    return Effect.zipRight(Effect.yieldNow(), handler).pipe(
      Effect.locally(currentTask, token),
      Effect.locally(FiberRef.currentScheduler, new TaskScheduler(fiber.getFiberRef(FiberRef.currentScheduler), token))
    )
  })

/** Forks what does not belong to the task that runs here, if one does. */
export const outside = <A, E, R>(fork: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  storage?.getStore() === undefined
    ? fork
    : Effect.withFiberRuntime((fiber) =>
        Effect.locally(
          fork,
          FiberRef.currentScheduler,
          new TaskScheduler(fiber.getFiberRef(FiberRef.currentScheduler), undefined)
        )
      )

/**
 * A fiber that another one woke runs in the asynchronous context of that one, so the context alone proves nothing. But
 * what a handler starts is younger than the handler: the fiber, or the one that it was forked from, got its services
 * later.
 */
const fromContext = (fiber: AnyFiber): Token | undefined => {
  const token = storage?.getStore()
  if (token === undefined) return undefined
  const origin = fiber.getFiberRefs().locals.get(FiberRef.currentContext)?.[0][0]
  return origin !== undefined && origin.id > token.fiber ? token : undefined
}

/** The task that the fiber belongs to, if it has not ended. */
export const taskOf = (fiber: AnyFiber): TaskRecord | undefined =>
  (fiber.getFiberRef(currentTask) ?? fromContext(fiber))?.record

/**
 * A fiber keeps for each of its refs what every ancestor had set, to find common ancestors when it is joined. Tasks that
 * submit tasks are ancestors without end: of these, the nearest are enough.
 */
export const forgetAncestors = (fiber: AnyFiber): void => {
  const kept = new Map(
    [...fiber.getFiberRefs().locals].map(([ref, stack]) => [ref, stack.slice(0, ancestors)] as const)
  )
  ;(fiber as any).setFiberRefs(FiberRefs.unsafeMake(kept as any))
}
export const ancestors = 8
