/**
 * One attempt of a task: in the task's own fiber where the driver bounds its own stopping, else in a fiber that can be
 * left behind when it does not stop, so that no task, timeout or close waits without limit.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type { Early, LocalHooks, Outcome, ProcessExit, SlotDriver, SlotHooks, Spec } from "../../../Driver.js"
import type { BackendError, TaskError } from "../../../Errors.js"
import type { HandlerService } from "../../../Task.js"
import type { Scheduler } from "../scheduler/scheduler.js"
import { inside } from "../submit/currentTask.js"
import type { Timer, Timers } from "../timers.js"
import { decodeInfo, driverFailure, interpret, isKnown } from "./outcome.js"
import type { Prepared, TaskRecord } from "./taskRecord.js"

const typed = (record: TaskRecord, cause: Cause.Cause<unknown>): Cause.Cause<TaskError | BackendError> =>
  Cause.map(cause, (error) => driverFailure(record, error))

/** A service: its timeout ends when it is ready, and its end is a failure. */
const serve = (
  driver: SlotDriver,
  record: TaskRecord,
  prepared: Prepared,
  ready: () => void
): Effect.Effect<unknown, unknown> =>
  driver.serve === undefined
    ? Effect.dieMessage("a driver that runs services needs serve")
    : Effect.scoped(
        Effect.flatMap(driver.serve(specOf(record, prepared), hooksOf(record, prepared)), ({ exited, info }) =>
          Effect.flatMap(decodeInfo(record, prepared.task, info), (decoded) => {
            ready()
            record.served = true
            record.ready?.(decoded)
            return exited
          })
        )
      )

/**
 * The handler as it runs for a task, on every driver: what it submits are the task's own, what it logs names the task.
 * An engine may keep it for longer than the task lives.
 */
const handlerOf = ({ name, span, token, uid }: TaskRecord, { run, task }: HandlerService): HandlerService => ({
  task,
  run: (payload, info) => {
    const handler = Effect.suspend(() => run(payload, info))
    const own = Effect.annotateLogs(inside(token, handler), { task: name, uid })
    return span === undefined ? own : Effect.withParentSpan(own, span)
  }
})

/** The attempt as data. A literal, because it is made for each attempt: copying the fields one by one took longer. */
export const specOf = ({ attempt, uid }: TaskRecord, { spec }: Prepared): Spec => ({
  uid,
  name: spec.name,
  attempt,
  payload: spec.payload,
  work: spec.work,
  resources: spec.resources,
  priority: spec.priority,
  settings: spec.settings,
  after: spec.after,
  links: spec.links,
  inputs: spec.inputs,
  outputs: spec.outputs
})

/** What of it lives in this process. */
export const hooksOf = (record: TaskRecord, { hooks }: Prepared): LocalHooks => {
  const { span } = record
  const { handler, onChunk, secrets } = hooks
  if (handler === undefined) return span === undefined ? hooks : { handler, onChunk, secrets, span }
  return { handler: handlerOf(record, handler), onChunk, secrets, span }
}

/** Runs attempts. */
export interface Attempts {
  /** How the attempt ended; never fails. Runs in an uninterruptible region and opens its own. */
  readonly attempt: (record: TaskRecord, prepared: Prepared) => Effect.Effect<Exit.Exit<unknown, unknown>>
  /** Kills what runs, without grace. */
  readonly kill: Effect.Effect<void>
  /** The engine is gone: nothing more comes of the attempts that are in it. */
  readonly lose: (error: BackendError) => void
  /** What has to go on beside the attempts. */
  readonly loops: ReadonlyArray<Effect.Effect<void>>
}

/** Runs attempts in this process. */
export interface Local extends Attempts {
  /**
   * How an attempt with this outcome ends, in the milliseconds that it has left: a schema may take as long as it likes.
   * Never fails. Runs in an uninterruptible region and opens its own.
   */
  readonly decoded: (
    record: TaskRecord,
    prepared: Prepared,
    outcome: Outcome,
    left: number | undefined
  ) => Effect.Effect<End>
}

type End = Exit.Exit<unknown, unknown>

/** Ends an attempt that was asked to stop and did not, in place of its own exit. */
const abandoned: Exit.Exit<never> = Exit.interrupt(FiberId.none)

const earlyOf = (record: TaskRecord): Early => ({
  get permission() {
    return record.prefetched ? (record.held ? "hold" : "wait") : "go"
  },
  listen: (listener) => {
    record.onPermission = listener
  }
})

const silent = (): void => {}

export const make = (
  driver: SlotDriver,
  scheduler: Scheduler<TaskRecord>,
  timers: Timers,
  grace: () => number
): Local => {
  const bounded = new Set(driver.boundedStop)
  /** Of each attempt that was asked to stop: gives it the grace period of now. */
  const stopping = new Set<() => void>()

  const run = (record: TaskRecord, prepared: Prepared) => {
    const spec = specOf(record, prepared)
    const run = Effect.suspend(() => driver.run(spec, slotHooksOf(record, prepared, spec)))
    return record.span === undefined ? run : Effect.withParentSpan(run, record.span)
  }
  const slotHooksOf = (record: TaskRecord, prepared: Prepared, { attempt, work }: Spec): SlotHooks => {
    const { handler, onChunk, secrets, span } = hooksOf(record, prepared)
    const reports = driver.reportsExecuting === true
    // an attempt that was left behind has nothing to report any more
    const current = () => record.attempt === attempt && record.prepared !== undefined
    const executing = reports
      ? () => {
          if (current()) scheduler.executing(record)
        }
      : silent
    const stopped =
      reports || work._tag === "executable"
        ? (exit: ProcessExit) => {
            if (!current()) return
            record.remains = exit
            if (exit.survivors === true) record.stopped = false
          }
        : undefined
    return {
      handler,
      onChunk,
      secrets,
      span,
      executing: reports ? Effect.sync(executing) : Effect.void,
      unsafeExecuting: executing,
      stopped,
      early: reports && record.prefetched ? earlyOf(record) : undefined
    }
  }

  /**
   * Work of an attempt in a fiber of its own, which is left behind when it was asked to stop and did not within the
   * grace, unless it is trusted to. The work may call off its timeout, in milliseconds.
   */
  const supervised = (
    record: TaskRecord,
    trusted: boolean,
    timeout: number | undefined,
    work: (untimed: () => void) => Effect.Effect<unknown, unknown>
  ): Effect.Effect<End> => {
    let deadline: Timer | undefined
    let limit: (() => void) | undefined
    const clear = () => {
      if (deadline !== undefined) timers.cancel(deadline)
      if (limit !== undefined) stopping.delete(limit)
    }
    return Effect.flatMap(
      // No scope owns this fiber, because closing a scope waits without limit. The task's fiber, which a scope owns, ends
      // only after this one has ended or has outstayed its grace.
      Effect.forkDaemon(Effect.interruptible(Effect.suspend(() => work(clear)))),
      (child) => {
        const atEnd = (ended: (exit: Exit.Exit<unknown, unknown>) => void) =>
          child.addObserver((exit) => {
            clear()
            ended(exit)
          })
        /** Calls back when it has not stopped after the grace. */
        const stop = (ended: (exit: Exit.Exit<unknown, unknown>) => void) => {
          clear()
          if (!trusted) {
            limit = () => {
              if (deadline !== undefined) timers.cancel(deadline)
              deadline = timers.add(grace(), () => {
                record.stopped = false
                clear()
                ended(abandoned)
              })
            }
            limit()
            stopping.add(limit)
          }
          child.unsafeInterruptAsFork(FiberId.none)
        }
        const end = Effect.async<Exit.Exit<unknown, unknown>>((resume) => {
          const ended = (exit: Exit.Exit<unknown, unknown>) => resume(Effect.succeed(exit))
          // a service may be ready already, and its timeout is over then
          if (timeout !== undefined && !record.served) {
            deadline = timers.add(timeout, () => {
              record.timedOut = true
              stop(ended)
            })
          }
          atEnd(ended)
        })
        const reported = Effect.async<Exit.Exit<unknown, unknown>>((resume) => {
          const ended = (exit: Exit.Exit<unknown, unknown>) => resume(Effect.succeed(exit))
          if (child.unsafePoll() === null) stop(ended)
          atEnd(ended)
        })
        return Effect.matchCauseEffect(Effect.interruptible(end), {
          onSuccess: Effect.succeed,
          onFailure: () => reported
        })
      }
    )
  }

  const decoded: Local["decoded"] = (record, prepared, outcome, left) => {
    let result: Effect.Effect<unknown, unknown>
    try {
      result = interpret(record, prepared, outcome)
    } catch (defect) {
      return Effect.succeed(Exit.die(defect))
    }
    return isKnown(result) ? Effect.exit(result) : supervised(record, false, left, () => result)
  }

  /** Where the driver bounds its stopping, that is trusted: but not that of the decoding, which is not its own. */
  const trusting = (record: TaskRecord, prepared: Prepared): Effect.Effect<End> => {
    const { timeout } = prepared
    const due = timeout === undefined ? undefined : timers.now() + timeout
    const ran: Effect.Effect<Exit.Exit<Outcome, unknown>> =
      timeout === undefined
        ? Effect.matchCause(Effect.interruptible(run(record, prepared)), {
            onSuccess: Exit.succeed,
            onFailure: Exit.failCause
          })
        : (supervised(record, true, timeout, () => run(record, prepared)) as Effect.Effect<Exit.Exit<Outcome, unknown>>)
    return Effect.flatMap(ran, (exit) =>
      Exit.isFailure(exit)
        ? Effect.succeed(Exit.failCause(typed(record, exit.cause)))
        : record.timedOut
          ? Effect.succeed(exit)
          : decoded(record, prepared, exit.value, due === undefined ? undefined : due - timers.now())
    )
  }

  const attempt: Attempts["attempt"] = (record, prepared) => {
    record.timedOut = false
    record.stopped = true
    if (!driver.reportsExecuting) scheduler.executing(record)
    const { kind } = prepared.task
    if (kind === "service") {
      return supervised(record, bounded.has(kind), prepared.timeout, (ready) =>
        Effect.mapErrorCause(serve(driver, record, prepared, ready), (cause) => typed(record, cause))
      )
    }
    if (bounded.has(kind)) return trusting(record, prepared)
    return supervised(record, false, prepared.timeout, () =>
      Effect.matchCauseEffect(run(record, prepared), {
        onSuccess: (outcome) => interpret(record, prepared, outcome),
        onFailure: (cause) => Effect.failCause(typed(record, cause))
      })
    )
  }
  const kill = Effect.suspend(() => {
    for (const limit of stopping) limit()
    // An attempt in a fiber of its own hears of its end a turn after its task. Kill has the same time as what it kills.
    return driver.forceStop === undefined
      ? Effect.void
      : Effect.zipRight(
          Effect.yieldNow(),
          Effect.ignoreLogged(Effect.raceFirst(Effect.disconnect(driver.forceStop), timers.sleep(grace())))
        )
  })
  // what runs here is interrupted with its task
  return { attempt, kill, decoded, lose: () => {}, loops: [] }
}
