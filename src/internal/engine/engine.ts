/**
 * The typed service over a driver: what every backend means by submit, cancel, retry, timeout, event and close.
 *
 * A task's fiber is forked inside an uninterruptible region, and only its waits and its attempts can be interrupted.
 * Each of these has a handler beside it, so that whatever ends the fiber, the slot is given back and the one outcome is
 * told.
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
import type { AnyDriver, Driver } from "../../Driver.js"
import { isBatch } from "../../Driver.js"
import type { BackendErrorReason } from "../../Errors.js"
import { BackendError } from "../../Errors.js"
import type { Options, Refusal } from "../../ExecutionBackend.js"
import type { Kind, Unit } from "../../Task.js"
import type { TaskFiber } from "../../TaskFiber.js"
import { decorate } from "../../TaskFiber.js"
import type { BackendStatus } from "../../TaskState.js"
import { isTerminal } from "../../TaskState.js"
import * as Attempt from "./attempt.js"
import { background } from "./background.js"
import * as Batch from "./batch.js"
import { Completions } from "./completions.js"
import { ancestors, forgetAncestors, outside } from "./current.js"
import * as Deadlines from "./deadlines.js"
import type { Prepared } from "./entry.js"
import { Entry } from "./entry.js"
import { Events } from "./events.js"
import * as Lifecycle from "./lifecycle.js"
import { defaultsOf, limitsOf } from "./limits.js"
import { Machine, Waiter } from "./machine.js"
import * as Nesting from "./nesting.js"
import { backendError as backendFailure } from "./outcome.js"
import { paced, step } from "./pace.js"
import { duplicate, prepare } from "./prepare.js"
import * as Report from "./report.js"
import * as Standstill from "./standstill.js"
import * as Telemetry from "./telemetry.js"

export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Who submits, and to whom the fiber will belong. */
interface Submitter {
  readonly fiber: Fiber.RuntimeFiber<any, any>
  readonly parent: Entry | undefined
  readonly owner: Scope.Scope
  readonly ready: Entry["ready"]
  /** How it ends is kept for `awaitAll`: no caller and no scope waits for it. */
  readonly kept: boolean
}

export const make = Effect.fnUntraced(function* <K extends Kind>(driver: AnyDriver<K>, options: Options) {
  const limits = yield* limitsOf(driver, options)
  const scope = yield* Effect.scope
  const clock = yield* Effect.clock
  const defaults = yield* defaultsOf
  const deadlines = yield* Deadlines.make
  let grace = limits.grace
  const events = new Events(driver.type, limits.eventBuffer, () => grace)
  const completions = new Completions(limits.history)
  let closing = false
  let lost: BackendError | undefined

  // An engine with a queue gets what it is given in the order of submissions, and a cancel after those before it: only
  // submissions are paced there, and not what hands them on.
  const pause = isBatch(driver) ? () => Effect.void : step
  const report = Report.make(driver.type, events, clock)
  const machine = new Machine<Entry>(limits, {
    changed: (entry) => report(entry, machine),
    granted: (entry) => entry.resume?.(pause()),
    told: (entry, word) => entry.told?.(word)
  })
  const attempts = isBatch(driver)
    ? Batch.make(
        driver,
        machine,
        deadlines,
        () => grace,
        (error) => lose(error)
      )
    : Attempt.make(driver, machine, deadlines, () => grace)

  const { attempt, kill, loops } = attempts

  const backendError = (reason: BackendErrorReason, message: string) =>
    new BackendError({ backendType: driver.type, reason, details: { message } })
  const crowded = () => backendError("Rejected", "too many live tasks were submitted by running tasks")
  const closed = () => lost ?? backendError("Closed", "its layer is closed")

  const { awaiting, parentOf, waiting } = Nesting.make(machine)
  const standstill = Standstill.make(driver.type, machine, events, deadlines, clock)
  const { body, finish } = Lifecycle.make({ machine, deadlines, clock, attempt, pause, queued: standstill.queued })

  const { ahead, boundedStop = [] } = isBatch(driver) ? {} : (driver as Driver)
  const isEarly = ({ spec, task, timeout }: Prepared): boolean => {
    if (ahead === undefined || timeout !== undefined || !boundedStop.includes(task.kind)) return false
    try {
      return ahead.takes(spec)
    } catch {
      return false
    }
  }

  const refused = ({ uid }: Prepared): Refusal | undefined =>
    machine.closed ? closed() : uid !== undefined && machine.known(uid) ? duplicate(uid) : undefined

  const automatic = (taken?: ReadonlySet<string>): string => {
    const uid = machine.uid()
    return taken?.has(uid) ? automatic(taken) : uid
  }
  /** Makes the task live. Its place is taken already. */
  const accept = (prepared: Prepared, by: Submitter, taken?: ReadonlySet<string>): Entry => {
    const entry = new Entry(prepared.uid ?? automatic(taken), prepared, by.parent, owner)
    entry.ready = by.ready
    entry.early = isEarly(prepared)
    entry.span = Telemetry.span(by.fiber, entry, prepared.task.kind, driver.type, clock)
    machine.accept(entry)
    machine.ready(entry)
    return entry
  }
  /** Forks the fiber of a live task, uninterruptible, into its owner. */
  const launch = (entry: Entry, prepared: Prepared, { kept, owner }: Submitter) =>
    Effect.map(outside(Effect.forkIn(body(entry, prepared), owner)), (fiber) => {
      entry.fiber = fiber
      // whatever went wrong inside this library: the slot comes back, and the end is told
      fiber.addObserver((exit) => {
        finish(entry, "FAILED")
        if (kept) completions.add({ uid: entry.uid, task: entry.name, exit, awaited: entry.awaited })
      })
      if (entry.depth > 0 && entry.depth % ancestors === 0) forgetAncestors(fiber)
      // told to stop before it had a fiber to be told by
      if (entry.canceled !== undefined) fiber.unsafeInterruptAsFork(FiberId.none)
      return decorate(fiber, entry, prepared.instance)
    })
  const start = (prepared: Prepared, by: Submitter) => {
    const refusal = refused(prepared)
    if (refusal === undefined) return launch(accept(prepared, by), prepared, by)
    machine.leave(by.parent !== undefined)
    return Effect.fail(refusal)
  }

  /** Waits for places; whoever is interrupted just after it was let in passes it on. */
  const wait = (count: number, restore: Restore): Effect.Effect<void, BackendError> =>
    Effect.suspend(() => {
      let admitted: boolean | undefined
      const answer = Effect.async<boolean>((resume) => {
        const waiter = new Waiter(count, (ok) => {
          admitted = ok
          resume(Effect.succeed(ok))
        })
        machine.wait(waiter)
        return Effect.sync(() => machine.unwait(waiter))
      })
      return Effect.matchCauseEffect(restore(answer), {
        onSuccess: (ok) => (ok ? Effect.void : Effect.fail(closed())),
        onFailure: (cause) => {
          if (admitted === true) machine.leave(false, count)
          return Effect.failCause(cause)
        }
      })
    })

  const enter = (prepared: Prepared, by: Submitter, restore: Restore): Effect.Effect<TaskFiber<any, any>, Refusal> => {
    const refusal = refused(prepared)
    if (refusal !== undefined) return Effect.fail(refusal)
    if (machine.enter(by.parent !== undefined)) return start(prepared, by)
    return by.parent === undefined
      ? Effect.flatMap(wait(1, restore), () => start(prepared, by))
      : Effect.fail(crowded())
  }

  const prepareIn = (fiber: Fiber.RuntimeFiber<any, any>, instance: Unit, service = false) =>
    prepare(driver, defaults, instance, fiber.getFiberRef(FiberRef.currentContext) as Context.Context<never>, service)

  /** Runs uninterruptible: only what may last is interruptible as the caller is. */
  const submitInto = (
    instance: Unit,
    owner: Scope.Scope,
    restore: Restore,
    { kept = false, ready }: { readonly kept?: boolean; readonly ready?: Entry["ready"] } = {}
  ) =>
    Effect.withFiberRuntime<TaskFiber<any, any>, Refusal>((fiber) => {
      const by: Submitter = { fiber, parent: parentOf(fiber), owner, ready, kept }
      return paced(() => prepareAndEnter(instance, by, restore), restore)
    })
  const prepareAndEnter = (instance: Unit, by: Submitter, restore: Restore) => {
    const prepared = prepareIn(by.fiber, instance, by.ready !== undefined)
    // an Either where nothing had to be awaited, which is nearly always
    return Either.isEither(prepared) && Either.isRight(prepared)
      ? enter(prepared.right as Prepared, by, restore)
      : Effect.flatMap(restore(prepared), (prepared) => enter(prepared, by, restore))
  }

  /** All or none: places for all of them are taken at once. */
  const submitTogether = (instances: ReadonlyArray<Unit>, owner: Scope.Scope, restore: Restore) =>
    Effect.withFiberRuntime<ReadonlyArray<TaskFiber<any, any>>, Refusal>((fiber) => {
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
        const room = nested ? limits.nested : limits.admission
        if (count > room)
          return Effect.fail(backendError("Rejected", `${count} tasks at once, and ${room} are admitted`))
        const entered = machine.enter(nested, count)
        if (!entered && nested) return Effect.fail(crowded())
        return Effect.flatMap(entered ? Effect.void : wait(count, restore), () => {
          const refusal = all.map(refused).find((refusal) => refusal !== undefined)
          if (refusal !== undefined) {
            machine.leave(nested, count)
            return Effect.fail(refusal)
          }
          // live in one step: forking takes many, and somebody else could take a uid between them, or close
          const entries = all.map((one) => accept(one, by, seen))
          return Effect.forEach(entries, (entry, i) => paced(() => launch(entry, all[i]!, by)))
        })
      })
    })

  // -------------------------------------------------------------------------------------------------------- cancel

  const stop = (entry: Entry, why: string | BackendError) => {
    const { fiber } = entry
    // whoever interrupted the fiber first will see it interrupted
    if (fiber !== undefined && !Cause.isEmpty(fiber.getFiberRef(FiberRef.interruptedCause))) return
    entry.canceled ??= why
    if (entry.resume !== undefined) entry.resume(Effect.interrupt)
    else fiber?.unsafeInterruptAsFork(FiberId.none)
  }
  const ended = (entry: Entry): Effect.Effect<void> =>
    Effect.suspend(() =>
      entry.fiber === undefined
        ? Effect.zipRight(Effect.yieldNow(), ended(entry))
        : Effect.asVoid(Fiber.await(entry.fiber))
    )
  const unstoppable = (entry: Entry) => {
    const { cancelable } = driver
    if (cancelable === undefined || cancelable === true || entry.state !== "EXECUTING") return false
    if (cancelable === false) return true
    try {
      return !cancelable({ uid: entry.uid, attempt: entry.attempt })
    } catch {
      return false // it is asked to stop, which shows whether it can
    }
  }

  const cancelEntry = (entry: Entry): Effect.Effect<boolean, BackendError> =>
    Effect.suspend(() => {
      if (isTerminal(entry.state)) return Effect.succeed(false)
      if (unstoppable(entry)) return Effect.fail(backendError("CancelUnsupported", `task ${entry.uid} is running`))
      stop(entry, "its cancel was called")
      return Effect.as(ended(entry), true)
    })
  const owner = { cancel: cancelEntry, awaiting }

  /** The engine is gone: every task ends with it, and nothing else gets in. */
  const lose = (error: BackendError) => {
    // whoever is closed has told everybody already, and cannot be lost twice
    if (!machine.closed) {
      lost = error
      machine.close()
      for (const entry of machine.live.values()) stop(entry, error)
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

  const stopAll = (entries: ReadonlyArray<Entry>, why: string) =>
    Effect.suspend(() => {
      machine.holdBack()
      for (const entry of entries) stop(entry, why)
      return Effect.as(Effect.forEach(entries, ended, { discard: true }), entries.length)
    })

  // --------------------------------------------------------------------------------------------------------- close

  const close = Effect.suspend(() => {
    closing = true
    machine.close()
    const told = stopAll([...machine.live.values()], "its backend closed")
    return Effect.ensuring(
      Effect.asVoid(told),
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
  for (const loop of [...loops, ...watch, standstill.loop]) yield* background(loop, deadlines, () => grace)
  const fibers = yield* Scope.fork(scope, ExecutionStrategy.parallel)
  yield* Effect.addFinalizer(() => close)

  const status = (): BackendStatus => {
    if (closing) return "SHUTTING_DOWN"
    if (lost !== undefined) return "FAILED"
    if (machine.closed) return "SHUTDOWN"
    if (machine.live.size > 0) return "RUNNING"
    return machine.used ? "IDLE" : "INITIALIZED"
  }

  return {
    machine,
    events,
    deadlines,
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
