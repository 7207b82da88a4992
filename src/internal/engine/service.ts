/** The verbs of the service, over the engine. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AnyDriver } from "../../Driver.js"
import { isQueueDriver } from "../../Driver.js"
import type { Backend, RunningService, SubmitError } from "../../ExecutionBackend.js"
import type { Instance, Kind, Submittable } from "../../Task.js"
import type { TaskFiber } from "../../TaskFiber.js"
import { isTaskFiber, TypeId } from "../../TaskFiber.js"
import type { TaskState } from "../../TaskState.js"
import { checkAwait, checkCallback, elements, notTarget } from "../options/verbs.js"
import type { Engine } from "./engine.js"
import * as AwaitAll from "./observe/awaitAll.js"

type Any = Instance<any, any, any, any>

export const make = (driver: AnyDriver, engine: Engine): Backend => {
  const { cancelEntry, events, fibers, scheduler, stopAll, submitInto, submitTogether, unstoppable } = engine

  const execute = (task: Any) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(submitInto(task, fibers, restore), (fiber) =>
        Effect.onInterrupt(restore(Fiber.join(fiber)), () => Fiber.interrupt(fiber))
      )
    )

  const each = (tasks: Iterable<Any>) =>
    Effect.uninterruptibleMask((restore) => {
      const accepted: Array<TaskFiber<any, any>> = []
      return Effect.forEach(tasks, (task) =>
        Effect.either(Effect.tap(submitInto(task, fibers, restore, { kept: true }), (fiber) => accepted.push(fiber)))
      ).pipe(
        // a caller that is interrupted gets no fibers: the tasks that were accepted for it are interrupted too
        Effect.zipLeft(restore(Effect.void)),
        Effect.onInterrupt(() => Fiber.interruptAll(accepted))
      )
    })
  const together = (tasks: Iterable<Any>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(submitTogether([...tasks], fibers, restore), (accepted) =>
        Effect.onInterrupt(Effect.as(restore(Effect.void), accepted), () => Fiber.interruptAll(accepted))
      )
    )

  /** The first of: ready with its info, or ended before. */
  const start = (task: Submittable): Effect.Effect<RunningService<any, any>, any, Scope.Scope> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const owner = yield* Effect.scope
        let info: Exit.Exit<unknown, unknown> | undefined
        let resume: ((effect: Exit.Exit<unknown, unknown>) => void) | undefined
        const ready = (exit: Exit.Exit<unknown, unknown>) => {
          info ??= exit
          resume?.(info)
        }
        const fiber = yield* submitInto(task, owner, restore, { ready: (value) => ready(Exit.succeed(value)) })
        fiber.addObserver(ready)
        const wait = Effect.async<unknown, unknown>((done) => {
          if (info !== undefined) return done(info)
          resume = done
        })
        const value = yield* Effect.onInterrupt(restore(wait), () => Fiber.interrupt(fiber))
        return { uid: fiber.uid, info: value, exited: Effect.zipRight(Fiber.join(fiber), Effect.never) }
      })
    )

  const onStateChange: Backend["onStateChange"] = (callback) =>
    Effect.flatMap(events.subscribe, (stream) =>
      Effect.asVoid(
        Effect.forkScoped(
          Effect.interruptible(
            Stream.runForEach(stream, (event) =>
              event._tag !== "StateChange"
                ? Effect.void
                : Effect.ignoreLogged(
                    Effect.suspend(() => {
                      const answer = callback(event, event.state)
                      return Effect.isEffect(answer) ? answer : Effect.void
                    })
                  )
            )
          )
        )
      )
    )

  /** An engine with a queue of its own has all of them, and reports which of them run. */
  const counts = () => {
    if (!isQueueDriver(driver)) return { queued: scheduler.queued, active: scheduler.active }
    let [queued, active] = [0, 0]
    for (const { state } of scheduler.live.values()) {
      if (state === "EXECUTING") active++
      else if (state !== "WAITING") queued++
    }
    return { queued, active }
  }

  const states = () => {
    const all = new Map<string, TaskState>(scheduler.history.entries())
    for (const [uid, { state }] of scheduler.live) all.set(uid, state)
    return all
  }

  const awaitAll = AwaitAll.make(driver.type, engine)

  return {
    type: driver.type,
    name: engine.name,
    kinds: new Set<Kind>(driver.kinds),
    nativeStates: driver.nativeStates ?? {},
    submit: (task: Any) => Effect.uninterruptibleMask((restore) => submitInto(task, fibers, restore, { kept: true })),
    submitScoped: (task: Any) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.scope, (owner) => submitInto(task, owner, restore))
      ),
    submitMany: (tasks: Iterable<Any>, options?: { readonly atomic?: boolean }): any =>
      Effect.flatMap(elements(tasks), (tasks) =>
        options?.atomic ? (together(tasks) as Effect.Effect<unknown, SubmitError>) : each(tasks)
      ),
    execute,
    start,
    cancel: (target) =>
      Effect.suspend(() => {
        if (isTaskFiber(target)) return target[TypeId].cancel
        if (typeof target !== "string") return Effect.fail(notTarget(target) as never)
        const record = scheduler.live.get(target)
        return record === undefined ? Effect.succeed(false) : cancelEntry(record)
      }),
    cancelAll: Effect.suspend(() =>
      stopAll(
        [...scheduler.live.values()].filter((record) => !unstoppable(record)),
        "cancelAll was called"
      )
    ),
    terminate: engine.terminate,
    awaitAll: (options) => checkAwait(options) ?? awaitAll(options),
    taskState: (uid) =>
      Effect.sync(() =>
        Option.fromNullable<TaskState | undefined>(scheduler.live.get(uid)?.state ?? scheduler.history.get(uid))
      ),
    taskStates: Effect.sync(states),
    state: Effect.sync(() => {
      const standstill = engine.standstill.tasks()
      return {
        type: driver.type,
        name: engine.name,
        status: engine.status(),
        waiting: scheduler.waiting,
        ...counts(),
        ...(standstill === undefined ? {} : { standstill }),
        ...(driver.details === undefined ? {} : { details: driver.details() })
      }
    }),
    events: events.subscribe,
    onStateChange: (callback) => checkCallback(callback) ?? onStateChange(callback)
  } as Backend
}
