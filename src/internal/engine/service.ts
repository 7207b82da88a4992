/** The verbs of the service, over the engine. */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AnyDriver } from "../../Driver.js"
import { BackendError, TaskError } from "../../Errors.js"
import type { AwaitOptions, Ended, Refusal, Running, Service } from "../../ExecutionBackend.js"
import type { Instance, Kind, Unit } from "../../Task.js"
import type { TaskFiber } from "../../TaskFiber.js"
import { isTaskFiber, TypeId } from "../../TaskFiber.js"
import type { TaskState } from "../../TaskState.js"
import type { Engine } from "./engine.js"
import type { Entry } from "./entry.js"

type Any = Instance<any, any, any>

export const make = (driver: AnyDriver, engine: Engine): Service => {
  const { cancelEntry, deadlines, events, fibers, machine, stopAll, submitInto, submitTogether, unstoppable } = engine

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
        Effect.either(Effect.tap(submitInto(task, fibers, restore), (fiber) => accepted.push(fiber)))
      ).pipe(
        // whoever is interrupted gets no fibers: what was accepted for him ends with him
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
  const start = (task: Unit): Effect.Effect<Running<any, any>, any, Scope.Scope> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const owner = yield* Effect.scope
        let info: Exit.Exit<unknown, unknown> | undefined
        let resume: ((effect: Exit.Exit<unknown, unknown>) => void) | undefined
        const ready = (exit: Exit.Exit<unknown, unknown>) => {
          info ??= exit
          resume?.(info)
        }
        const fiber = yield* submitInto(task, owner, restore, (value) => ready(Exit.succeed(value)))
        fiber.addObserver(ready)
        const wait = Effect.async<unknown, unknown>((done) => {
          if (info !== undefined) return done(info)
          resume = done
        })
        const value = yield* Effect.onInterrupt(restore(wait), () => Fiber.interrupt(fiber))
        return { uid: fiber.uid, info: value, exited: Effect.zipRight(Fiber.join(fiber), Effect.never) }
      })
    )

  const awaitAll = ({ failFast = false, timeout }: AwaitOptions = {}) =>
    Effect.suspend(() => {
      const entries = [...machine.live.values()]
      const exits = new Map<string, Exit.Exit<unknown, unknown>>()
      const all = Effect.async<void, TaskError | BackendError>((resume) => {
        const observers = entries.map((entry) => {
          const observer = (exit: Exit.Exit<unknown, unknown>) => {
            exits.set(entry.uid, exit)
            const error = failFast ? failureOf(entry, exit) : undefined
            if (error !== undefined) resume(Effect.fail(error))
            else if (exits.size === entries.length) resume(Effect.void)
          }
          entry.fiber?.addObserver(observer)
          return observer
        })
        if (entries.length === 0) resume(Effect.void)
        return Effect.sync(() => {
          for (const [i, entry] of entries.entries()) entry.fiber?.removeObserver(observers[i]!)
        })
      })
      const inOrder = () =>
        new Map(entries.flatMap(({ uid }) => (exits.has(uid) ? [[uid, exits.get(uid)!] as const] : [])))
      if (timeout === undefined) return Effect.map(all, inOrder)
      const late = Effect.flatMap(deadlines.sleep(Duration.toMillis(timeout)), () =>
        Effect.fail(
          new BackendError({
            backendType: driver.type,
            reason: "Timeout",
            details: {
              message: `${exits.size}/${entries.length} completed`,
              completed: exits.size,
              total: entries.length
            }
          })
        )
      )
      return Effect.map(Effect.raceFirst(all, late), inOrder)
    })

  const onStateChange: Service["onStateChange"] = (callback) =>
    Effect.flatMap(events.subscribe, (stream) =>
      Effect.asVoid(
        Effect.forkScoped(
          Stream.runForEach(stream, (event) =>
            event._tag === "EventsDropped"
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

  const states = () => {
    const all = new Map<string, TaskState>(machine.history.entries())
    for (const [uid, { state }] of machine.live) all.set(uid, state)
    return all
  }

  return {
    type: driver.type,
    kinds: new Set<Kind>(driver.kinds),
    nativeStates: driver.nativeStates ?? {},
    submit: (task: Any) => Effect.uninterruptibleMask((restore) => submitInto(task, fibers, restore)),
    submitScoped: (task: Any) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.scope, (owner) => submitInto(task, owner, restore))
      ),
    submitMany: (tasks: Iterable<Any>, options?: { readonly atomic?: boolean }): any =>
      options?.atomic ? together(tasks) : each(tasks),
    execute,
    start,
    cancel: (target) =>
      Effect.suspend(() => {
        if (isTaskFiber(target)) return target[TypeId].cancel
        const entry = machine.live.get(target)
        return entry === undefined ? Effect.succeed(false) : cancelEntry(entry)
      }),
    cancelAll: Effect.suspend(() =>
      stopAll(
        [...machine.live.values()].filter((entry) => !unstoppable(entry)),
        "with all others of its backend"
      )
    ),
    terminate: engine.terminate,
    awaitAll,
    taskState: (uid) =>
      Effect.sync(() =>
        Option.fromNullable<TaskState | undefined>(machine.live.get(uid)?.state ?? machine.history.get(uid))
      ),
    taskStates: Effect.sync(states),
    state: Effect.sync(() => ({
      status: engine.status(),
      waiting: machine.waiting,
      queued: machine.queued,
      active: machine.active
    })),
    events: events.subscribe,
    onStateChange
  } as Service
}

/** What fail-fast fails with: ours as it is, a user's own inside of one. */
const failureOf = (entry: Entry, exit: Exit.Exit<unknown, unknown>): TaskError | BackendError | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const error = Cause.squash(exit.cause)
  if (error instanceof TaskError || error instanceof BackendError) return error
  return new TaskError({
    taskUid: entry.uid,
    task: entry.name,
    reason: Cause.isInterrupted(exit.cause) ? "Canceled" : "Failed",
    cause: error
  })
}

/** A task's end, in a stream of them. */
export const submitAll = <I extends Any, E, R>(
  tasks: Stream.Stream<I, E, R>,
  submit: (task: I) => Effect.Effect<TaskFiber<any, any>, Refusal, I["Context"]>,
  buffer: number
): Stream.Stream<Ended<I>, E, R | I["Context"]> =>
  Stream.mapEffect(
    tasks,
    (task) =>
      Effect.matchCauseEffect(submit(task), {
        onSuccess: (fiber) =>
          Effect.map(
            Effect.onInterrupt(Fiber.await(fiber), () => Fiber.interrupt(fiber)),
            (exit) => ({ uid: fiber.uid, task: fiber.task, exit })
          ),
        onFailure: (cause) =>
          Cause.isInterrupted(cause)
            ? Effect.failCause(cause as Cause.Cause<never>)
            : Effect.succeed({ uid: task.options.uid, task: task.task.name, exit: Exit.failCause(cause) })
      }) as Effect.Effect<Ended<I>, never, I["Context"]>,
    { concurrency: buffer, unordered: true }
  )
