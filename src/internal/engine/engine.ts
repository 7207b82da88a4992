/**
 * The typed service over a driver: what every backend means by submit, cancel, retry, timeout, event and close.
 *
 * A task's fiber is forked inside an uninterruptible region, and only its waits and its attempts can be interrupted.
 * Each of these has a handler beside it, so that, however the fiber ends, the slot is given back and the one outcome is
 * reported.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as Scope from "effect/Scope"
import type { AnyDriver, SlotDriver } from "../../Driver.js"
import { isQueueDriver } from "../../Driver.js"
import type { BackendErrorReason } from "../../Errors.js"
import { BackendError } from "../../Errors.js"
import type { SubmitError } from "../../ExecutionBackend.js"
import type { Kind, Submittable } from "../../Task.js"
import type { TaskFiber } from "../../TaskFiber.js"
import { decorate } from "../../TaskFiber.js"
import type { BackendStatus } from "../../TaskState.js"
import { isTerminal } from "../../TaskState.js"
import { named } from "./named.js"
import { Completions } from "./observe/completions.js"
import { Events } from "./observe/events.js"
import * as Report from "./observe/observe.js"
import * as Standstill from "./observe/standstill.js"
import * as Telemetry from "./observe/telemetry.js"
import { backendError as backendFailure } from "./run/outcome.js"
import { paced, step } from "./run/pace.js"
import * as Batch from "./run/queueRunner.js"
import * as Attempt from "./run/slotRunner.js"
import { background } from "./run/supervise.js"
import * as Lifecycle from "./run/taskLoop.js"
import type { Prepared } from "./run/taskRecord.js"
import { TaskRecord } from "./run/taskRecord.js"
import { Scheduler, Waiter } from "./scheduler/scheduler.js"
import { ancestors, forgetAncestors, outside } from "./submit/currentTask.js"
import type { Options } from "./submit/limits.js"
import { defaultsOf, limitsOf } from "./submit/limits.js"
import * as Nesting from "./submit/nesting.js"
import { duplicate, prepare } from "./submit/prepare.js"
import * as Timers from "./timers.js"

export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Who submits, and to whom the fiber will belong. */
interface Submitter {
  readonly fiber: Fiber.RuntimeFiber<any, any>
  readonly parent: TaskRecord | undefined
  readonly owner: Scope.Scope
  readonly ready: TaskRecord["ready"]
  /** How it ends is kept for `awaitAll`: no caller and no scope waits for it. */
  readonly kept: boolean
}

export const make = Effect.fnUntraced(function* <K extends Kind>(driver: AnyDriver<K>, options: Options) {
  const limits = yield* limitsOf(driver, options)
  const scope = yield* Effect.scope
  const clock = yield* Effect.clock
  const defaults = yield* defaultsOf
  const timers = yield* Timers.make
  let grace = limits.stopTimeout
  const { name } = limits
  const withName = named(driver.type, name)
  const events = new Events(name, limits.eventBuffer, () => grace)
  const completions = new Completions(limits.historySize)
  let closing = false
  let lost: BackendError | undefined

  // An engine with a queue gets what it is given in the order of submissions, and a cancel after those before it: only
  // submissions are paced there, and not what hands them on.
  const pause = isQueueDriver(driver) ? () => Effect.void : step
  const report = Report.make(name, events, clock)
  const scheduler = new Scheduler<TaskRecord>(limits, {
    changed: (record) => report(record, scheduler),
    granted: (record) => record.resume?.(pause()),
    permitted: (record, word) => record.onPermission?.(word)
  })
  const attempts = isQueueDriver(driver)
    ? Batch.make(
        driver,
        name,
        scheduler,
        timers,
        () => grace,
        (error) => lose(error)
      )
    : Attempt.make(driver, scheduler, timers, () => grace)

  const { attempt, kill, loops } = attempts

  const backendError = (reason: BackendErrorReason, message: string) =>
    withName(new BackendError({ backendType: driver.type, reason, details: { message } }))
  const crowded = () => backendError("Rejected", "too many live tasks were submitted by running tasks")
  const closed = () => lost ?? backendError("Closed", "its layer is closed")

  const { awaiting, parentOf, waiting } = Nesting.make(scheduler)
  const standstill = Standstill.make(name, scheduler, events, timers, clock)
  const { body, finish } = Lifecycle.make({
    scheduler,
    timers,
    clock,
    attempt,
    pause,
    queued: standstill.queued,
    withName
  })

  const { prefetch, boundedStop = [] } = isQueueDriver(driver) ? {} : (driver as SlotDriver)
  const isEarly = ({ spec, task, timeout }: Prepared): boolean => {
    if (prefetch === undefined || timeout !== undefined || !boundedStop.includes(task.kind)) return false
    try {
      return prefetch.takes(spec)
    } catch {
      return false
    }
  }

  const refused = ({ uid }: Prepared): SubmitError | undefined =>
    scheduler.closed ? closed() : uid !== undefined && scheduler.known(uid) ? duplicate(uid) : undefined

  const automatic = (taken?: ReadonlySet<string>): string => {
    const uid = scheduler.uid()
    return taken?.has(uid) ? automatic(taken) : uid
  }
  /** Makes the task live. Its place is taken already. */
  const accept = (prepared: Prepared, by: Submitter, taken?: ReadonlySet<string>): TaskRecord => {
    const record = new TaskRecord(prepared.uid ?? automatic(taken), prepared, by.parent, owner)
    record.ready = by.ready
    record.early = isEarly(prepared)
    record.span = Telemetry.span(by.fiber, record, prepared.task.kind, name, clock)
    scheduler.accept(record)
    scheduler.ready(record)
    return record
  }
  /** Forks the fiber of a live task, uninterruptible, into its owner. */
  const launch = (record: TaskRecord, prepared: Prepared, { kept, owner }: Submitter) =>
    Effect.map(outside(Effect.forkIn(body(record, prepared), owner)), (fiber) => {
      record.fiber = fiber
      // a defect inside of this library: the slot is given back, and the end is reported
      fiber.addObserver((exit) => {
        finish(record, "FAILED")
        if (kept) completions.add({ uid: record.uid, task: record.name, exit, awaited: record.awaited })
      })
      if (record.depth > 0 && record.depth % ancestors === 0) forgetAncestors(fiber)
      // asked to stop before it had a fiber
      if (record.canceled !== undefined) fiber.unsafeInterruptAsFork(FiberId.none)
      return decorate(fiber, record, prepared.instance)
    })
  const start = (prepared: Prepared, by: Submitter) => {
    const refusal = refused(prepared)
    if (refusal === undefined) return launch(accept(prepared, by), prepared, by)
    scheduler.leave(by.parent !== undefined)
    return Effect.fail(refusal)
  }

  /** Waits for places; a submission that is interrupted just after it got them gives them back. */
  const wait = (count: number, restore: Restore): Effect.Effect<void, BackendError> =>
    Effect.suspend(() => {
      let admitted: boolean | undefined
      const answer = Effect.async<boolean>((resume) => {
        const waiter = new Waiter(count, (ok) => {
          admitted = ok
          resume(Effect.succeed(ok))
        })
        scheduler.wait(waiter)
        return Effect.sync(() => scheduler.unwait(waiter))
      })
      return Effect.matchCauseEffect(restore(answer), {
        onSuccess: (ok) => (ok ? Effect.void : Effect.fail(closed())),
        onFailure: (cause) => {
          if (admitted === true) scheduler.leave(false, count)
          return Effect.failCause(cause)
        }
      })
    })

  const enter = (
    prepared: Prepared,
    by: Submitter,
    restore: Restore
  ): Effect.Effect<TaskFiber<any, any>, SubmitError> => {
    const refusal = refused(prepared)
    if (refusal !== undefined) return Effect.fail(refusal)
    if (scheduler.enter(by.parent !== undefined)) return start(prepared, by)
    return by.parent === undefined
      ? Effect.flatMap(wait(1, restore), () => start(prepared, by))
      : Effect.fail(crowded())
  }

  const prepareIn = (fiber: Fiber.RuntimeFiber<any, any>, instance: Submittable, service = false) => {
    const context = fiber.getFiberRef(FiberRef.currentContext) as Context.Context<never>
    const prepared = prepare(driver, defaults, instance, context, service)
    return name === driver.type ? prepared : Effect.mapError(prepared, withName)
  }

  /** Runs uninterruptible: only what may last is interruptible as the caller is. */
  const submitInto = (
    instance: Submittable,
    owner: Scope.Scope,
    restore: Restore,
    { kept = false, ready }: { readonly kept?: boolean; readonly ready?: TaskRecord["ready"] } = {}
  ) =>
    Effect.withFiberRuntime<TaskFiber<any, any>, SubmitError>((fiber) => {
      const by: Submitter = { fiber, parent: parentOf(fiber), owner, ready, kept }
      return paced(() => prepareAndEnter(instance, by, restore), restore)
    })
  const prepareAndEnter = (instance: Submittable, by: Submitter, restore: Restore) => {
    const prepared = prepareIn(by.fiber, instance, by.ready !== undefined)
    // an Either where nothing had to be awaited, which is nearly always
    return Either.isEither(prepared) && Either.isRight(prepared)
      ? enter(prepared.right as Prepared, by, restore)
      : Effect.flatMap(restore(prepared), (prepared) => enter(prepared, by, restore))
  }

  /** All or none: places for all of them are taken at once. */
  const submitTogether = (instances: ReadonlyArray<Submittable>, owner: Scope.Scope, restore: Restore) =>
    Effect.withFiberRuntime<ReadonlyArray<TaskFiber<any, any>>, SubmitError>((fiber) => {
      const by: Submitter = { fiber, parent: parentOf(fiber), owner, ready: undefined, kept: true }
      const nested = by.parent !== undefined
      const count = instances.length
      return Effect.flatMap(restore(Effect.forEach(instances, (one) => paced(() => prepareIn(fiber, one)))), (all) => {
        const seen = new Set<string>()
        for (const { uid } of all) {
          if (uid !== undefined && seen.has(uid)) return Effect.fail(duplicate(uid))
          if (uid !== undefined) seen.add(uid)
        }
        const refusal = all.map(refused).find((refusal) => refusal !== undefined)
        if (refusal !== undefined) return Effect.fail(refusal)
        const room = nested ? limits.maxNestedTasks : limits.maxActiveTasks
        if (count > room)
          return Effect.fail(backendError("Rejected", `${count} tasks at once, and ${room} are admitted`))
        const entered = scheduler.enter(nested, count)
        if (!entered && nested) return Effect.fail(crowded())
        return Effect.flatMap(entered ? Effect.void : wait(count, restore), () => {
          const refusal = all.map(refused).find((refusal) => refusal !== undefined)
          if (refusal !== undefined) {
            scheduler.leave(nested, count)
            return Effect.fail(refusal)
          }
          // live in one step: forking takes many, and in between another submission could take a uid, or the backend could close
          const entries = all.map((one) => accept(one, by, seen))
          return Effect.forEach(entries, (record, i) => paced(() => launch(record, all[i]!, by)))
        })
      })
    })

  // -------------------------------------------------------------------------------------------------------- cancel

  const stop = (record: TaskRecord, why: string | BackendError) => {
    const { fiber } = record
    // when the fiber was interrupted first, it ends as interrupted
    if (fiber !== undefined && !Cause.isEmpty(fiber.getFiberRef(FiberRef.interruptedCause))) return
    record.canceled ??= why
    if (record.resume !== undefined) record.resume(Effect.interrupt)
    else fiber?.unsafeInterruptAsFork(FiberId.none)
  }
  const ended = (record: TaskRecord): Effect.Effect<void> =>
    Effect.suspend(() =>
      record.fiber === undefined
        ? Effect.zipRight(Effect.yieldNow(), ended(record))
        : Effect.asVoid(Fiber.await(record.fiber))
    )
  const unstoppable = (record: TaskRecord) => {
    const { cancelable } = driver
    if (cancelable === undefined || cancelable === true || record.state !== "EXECUTING") return false
    if (cancelable === false) return true
    try {
      return !cancelable({ uid: record.uid, attempt: record.attempt })
    } catch {
      return false // it is asked to stop, which shows whether it can
    }
  }

  const cancelEntry = (record: TaskRecord): Effect.Effect<boolean, BackendError> =>
    Effect.suspend(() => {
      if (isTerminal(record.state)) return Effect.succeed(false)
      if (unstoppable(record)) return Effect.fail(backendError("CancelUnsupported", `task ${record.uid} is running`))
      stop(record, "its cancel was called")
      return Effect.as(ended(record), true)
    })
  const owner = { cancel: cancelEntry, awaiting }

  /** The engine is gone: every task ends with it, and nothing else gets in. */
  const lose = (given: BackendError) => {
    const error = withName(given)
    // a backend that is closed has ended all its tasks already, and cannot be lost as well
    if (!scheduler.closed) {
      lost = error
      scheduler.close()
      for (const record of scheduler.live.values()) stop(record, error)
    }
    attempts.lose(error)
  }
  const watch =
    driver.lost === undefined
      ? []
      : [
          Effect.matchCause(driver.lost, {
            onSuccess: (error) => lose(backendFailure(driver.type, "Lost", Cause.fail(error))),
            onFailure: (cause) => lose(backendFailure(driver.type, "Lost", cause))
          })
        ]

  const stopAll = (entries: ReadonlyArray<TaskRecord>, why: string) =>
    Effect.suspend(() => {
      scheduler.holdBack()
      for (const record of entries) stop(record, why)
      return Effect.as(Effect.forEach(entries, ended, { discard: true }), entries.length)
    })

  // --------------------------------------------------------------------------------------------------------- close

  const close = Effect.suspend(() => {
    closing = true
    scheduler.close()
    const stopped = stopAll([...scheduler.live.values()], "its backend closed")
    return Effect.ensuring(
      Effect.asVoid(stopped),
      Effect.sync(() => {
        closing = false
        events.end()
      })
    )
  })
  /** Close, with no more patience than a second, after which what runs is killed already. */
  const terminate = Effect.suspend(() => {
    grace = Math.min(grace, 1000)
    return Effect.asVoid(Effect.all([close, Effect.zipRight(Effect.yieldNow(), kill)], { concurrency: 2 }))
  })

  // Finalizers run last to first: the one of close ends every task, then the fibers' scope closes, then this ends, then
  // what the driver built.
  for (const loop of [...loops, ...watch, standstill.loop]) yield* background(loop, timers, () => grace)
  const fibers = yield* Scope.fork(scope, ExecutionStrategy.parallel)
  yield* Effect.addFinalizer(() => close)

  const status = (): BackendStatus => {
    if (closing) return "SHUTTING_DOWN"
    if (lost !== undefined) return "FAILED"
    if (scheduler.closed) return "SHUTDOWN"
    if (scheduler.live.size > 0) return "RUNNING"
    return scheduler.used ? "IDLE" : "INITIALIZED"
  }

  return {
    name,
    withName,
    scheduler,
    events,
    timers,
    fibers,
    standstill,
    completions,
    status,
    submitInto,
    submitTogether,
    cancelEntry,
    parentOf,
    waiting,
    unstoppable,
    stopAll,
    terminate
  }
})

export type Engine = Effect.Effect.Success<ReturnType<typeof make>>
