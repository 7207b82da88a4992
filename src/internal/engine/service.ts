/** The verbs of the service, over the engine. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AnyDriver } from "../../Driver.js"
import { isBatch } from "../../Driver.js"
import type { Ended, Refusal, Running, Service } from "../../ExecutionBackend.js"
import type { Instance, Kind, Unit } from "../../Task.js"
import type { TaskFiber } from "../../TaskFiber.js"
import { isTaskFiber, TypeId } from "../../TaskFiber.js"
import type { TaskState } from "../../TaskState.js"
import { checkAwait, checkCallback, elements, notTarget } from "../options/verbs.js"
import * as AwaitAll from "./awaitAll.js"
import type { Engine } from "./engine.js"

type Any = Instance<any, any, any, any>

export const make = (driver: AnyDriver, engine: Engine): Service => {
  const { cancelEntry, events, fibers, machine, stopAll, submitInto, submitTogether, unstoppable } = engine

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

  const onStateChange: Service["onStateChange"] = (callback) =>
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

  /** An engine with a queue of its own has all of them, and tells which of them run. */
  const counts = () => {
    if (!isBatch(driver)) return { queued: machine.queued, active: machine.active }
    let [queued, active] = [0, 0]
    for (const { state } of machine.live.values()) {
      if (state === "EXECUTING") active++
      else if (state !== "WAITING") queued++
    }
    return { queued, active }
  }

  const states = () => {
    const all = new Map<string, TaskState>(machine.history.entries())
    for (const [uid, { state }] of machine.live) all.set(uid, state)
    return all
  }

  const awaitAll = AwaitAll.make(driver.type, engine)

  return {
    type: driver.type,
    kinds: new Set<Kind>(driver.kinds),
    nativeStates: driver.nativeStates ?? {},
    submit: (task: Any) => Effect.uninterruptibleMask((restore) => submitInto(task, fibers, restore, { kept: true })),
    submitScoped: (task: Any) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.scope, (owner) => submitInto(task, owner, restore))
      ),
    submitMany: (tasks: Iterable<Any>, options?: { readonly atomic?: boolean }): any =>
      Effect.flatMap(elements(tasks), (tasks) =>
        options?.atomic ? (together(tasks) as Effect.Effect<unknown, Refusal>) : each(tasks)
      ),
    execute,
    start,
    cancel: (target) =>
      Effect.suspend(() => {
        if (isTaskFiber(target)) return target[TypeId].cancel
        if (typeof target !== "string") return Effect.fail(notTarget(target) as never)
        const entry = machine.live.get(target)
        return entry === undefined ? Effect.succeed(false) : cancelEntry(entry)
      }),
    cancelAll: Effect.suspend(() =>
      stopAll(
        [...machine.live.values()].filter((entry) => !unstoppable(entry)),
        "cancelAll was called"
      )
    ),
    terminate: engine.terminate,
    awaitAll: (options) => checkAwait(options) ?? awaitAll(options),
    taskState: (uid) =>
      Effect.sync(() =>
        Option.fromNullable<TaskState | undefined>(machine.live.get(uid)?.state ?? machine.history.get(uid))
      ),
    taskStates: Effect.sync(states),
    state: Effect.sync(() => {
      const standstill = engine.standstill.tasks()
      return {
        status: engine.status(),
        waiting: machine.waiting,
        ...counts(),
        ...(standstill === undefined ? {} : { standstill }),
        ...(driver.details === undefined ? {} : { details: driver.details() })
      }
    }),
    events: events.subscribe,
    onStateChange: (callback) => checkCallback(callback) ?? onStateChange(callback)
  } as Service
}

/**
 * Takes in as long as fewer than `buffer` are submitted and not read. What was given is read when the reader comes back
 * for more. The tasks belong to the stream's scope: whatever ends the stream, none of them is left behind.
 */
export const submitAll = <I extends Any, E, R>(
  tasks: Stream.Stream<I, E, R>,
  submit: (task: I) => Effect.Effect<TaskFiber<any, any>, Refusal, I["Context"] | Scope.Scope>,
  buffer: number
): Stream.Stream<Ended<I>, E, R | I["Context"]> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const fibers = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.parallel)
      const places = yield* Effect.makeSemaphore(Math.max(1, buffer))
      let ended: Array<Ended<I>> = []
      let given = 0
      let live = 0
      let intake: Exit.Exit<void, E> | undefined
      let wake: (() => void) | undefined

      const end = (uid: string | undefined, task: string, instance: I, exit: Ended<I>["exit"]) => {
        ended.push({ uid, task, instance, exit })
        wake?.()
      }
      const takeIn = (task: I) =>
        Effect.matchCause(Effect.zipRight(places.take(1), Scope.extend(submit(task), fibers)), {
          onSuccess: (fiber) => {
            live++
            fiber.addObserver((exit) => {
              live--
              end(fiber.uid, fiber.task, task, exit)
            })
          },
          onFailure: (cause) => {
            // it may be no task at all
            const unit: Partial<Unit> | undefined = task
            end(unit?.options?.uid, unit?.task?.name ?? "", task, Exit.failCause(cause))
          }
        })
      yield* Effect.forkScoped(
        Effect.interruptible(
          Effect.map(Effect.exit(Stream.runForEach(tasks, takeIn)), (exit) => {
            intake = exit
            wake?.()
          })
        )
      )

      const news = Effect.async<void>((resume) => {
        wake = () => {
          wake = undefined
          resume(Effect.void)
        }
        if (ended.length > 0 || (intake !== undefined && live === 0)) wake()
      })
      const next: Effect.Effect<Chunk.Chunk<Ended<I>>, Option.Option<E>> = Effect.suspend(() => {
        if (ended.length > 0) {
          const chunk = ended
          ended = []
          given = chunk.length
          return Effect.succeed(Chunk.unsafeFromArray(chunk))
        }
        if (intake !== undefined && Exit.isFailure(intake)) {
          return Effect.failCause(Cause.map(intake.cause, Option.some))
        }
        if (intake !== undefined && live === 0) return Effect.fail(Option.none())
        return Effect.zipRight(news, next)
      })
      return Stream.repeatEffectChunkOption(
        Effect.suspend(() => {
          const read = given
          given = 0
          return Effect.zipRight(places.release(read), next)
        })
      )
    })
  )
