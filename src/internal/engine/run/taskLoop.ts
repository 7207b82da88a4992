/**
 * The way of one task, as its fiber runs it: wait for a slot, attempt, perhaps wait and attempt again, end. All of it is
 * uninterruptible but the waits and the attempts, each with its handler beside it.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import type { BackendError, TaskError } from "../../../Errors.js"
import { isBackendError, isTaskError } from "../../../Errors.js"
import type { Terminal } from "../../../TaskState.js"
import { describe } from "../../describe.js"
import type { Scheduler } from "../scheduler/scheduler.js"
import type { Timers } from "../timers.js"
import { taskError } from "./outcome.js"
import * as Retry from "./retry.js"
import type { Attempts } from "./slotRunner.js"
import type { Prepared, TaskRecord } from "./taskRecord.js"

const known = (error: unknown): TaskError | BackendError | undefined =>
  isTaskError(error) || isBackendError(error) ? error : undefined

export const make = ({
  attempt,
  clock,
  timers,
  scheduler,
  pause,
  queued,
  withName
}: {
  readonly scheduler: Scheduler<TaskRecord>
  readonly timers: Timers
  readonly clock: Clock.Clock
  readonly attempt: Attempts["attempt"]
  /** What a task that has its slot waits for before its attempt. */
  readonly pause: () => Effect.Effect<void>
  /** A task waits for a slot. */
  readonly queued: () => void
  /** Adds the name of the backend to an error of it. */
  readonly withName: <E>(error: E) => E | BackendError
}) => {
  const finish = (record: TaskRecord, state: Terminal) => {
    if (!scheduler.finish(record, state)) return
    record.token.record = undefined
    record.prepared = record.memory = record.remains = record.resume = record.onPermission = record.failure = undefined
  }
  const fail = (record: TaskRecord, own: unknown) => {
    // what fails when its engine is gone fails because of that
    const error = withName(isBackendError(record.canceled) && !record.answered ? record.canceled : own)
    record.failure = known(error)
    finish(record, record.failure?.reason === "Canceled" ? "CANCELED" : "FAILED")
    return Effect.fail(error)
  }
  const canceled = (record: TaskRecord, cause: Cause.Cause<unknown>) => {
    if (isBackendError(record.canceled)) return fail(record, record.canceled)
    const defects = Cause.defects(cause)
    return fail(
      record,
      taskError(record, "Canceled", {
        details: { message: record.canceled, ...(record.stopped ? {} : { stopped: false }) },
        exit: record.remains,
        cause: Option.getOrUndefined(Option.fromIterable(defects))
      })
    )
  }
  /** Interrupted while it waited. */
  const left = (record: TaskRecord, cause: Cause.Cause<unknown>): Effect.Effect<never, unknown> => {
    if (record.canceled !== undefined) return canceled(record, cause)
    finish(record, "CANCELED")
    return Effect.failCause(cause)
  }

  const failed = (
    record: TaskRecord,
    prepared: Prepared,
    cause: Cause.Cause<unknown>
  ): Effect.Effect<unknown, unknown> => {
    if (record.timedOut) {
      const details = { timeout: Retry.format(prepared.timeout!), ...(record.stopped ? {} : { stopped: false }) }
      const exit = record.remains
      record.remains = undefined
      return failedWith(record, prepared, taskError(record, "Timeout", { details, exit }))
    }
    if (Cause.isInterrupted(cause)) {
      if (record.canceled !== undefined) return canceled(record, cause)
      return Effect.flatMap(FiberRef.get(FiberRef.interruptedCause), (own) => {
        if (!Cause.isEmpty(own))
          return left(record, Cause.isInterruptedOnly(cause) ? own : Cause.sequential(cause, own))
        // what failed first has interrupted what ran beside it
        if (!Cause.isInterruptedOnly(cause)) return broke(record, prepared, cause)
        const message = "its handler interrupted itself"
        return failedWith(record, prepared, taskError(record, "Defect", { details: { message } }))
      })
    }
    return broke(record, prepared, cause)
  }
  const broke = (
    record: TaskRecord,
    prepared: Prepared,
    cause: Cause.Cause<unknown>
  ): Effect.Effect<unknown, unknown> => {
    const failure = Cause.failureOption(cause)
    if (Option.isSome(failure)) return failedWith(record, prepared, failure.value)
    const defect = Cause.squash(cause)
    const details = { message: describe(defect) }
    return failedWith(record, prepared, taskError(record, "Defect", { details, cause: defect }))
  }

  const failedWith = (record: TaskRecord, prepared: Prepared, error: unknown): Effect.Effect<unknown, unknown> => {
    if (prepared.retry === undefined || record.served || record.canceled !== undefined || scheduler.closed) {
      return fail(record, error)
    }
    const delay = Retry.delay(prepared.retry, error, record.attempt, clock.unsafeCurrentTimeMillis(), record)
    return Effect.matchCauseEffect(Effect.interruptible(delay), {
      onSuccess: (millis) => {
        if (Option.isNone(millis) || scheduler.closed) return fail(record, error)
        record.failure = known(error)
        scheduler.retry(record)
        record.failure = undefined
        return Effect.matchCauseEffect(Effect.interruptible(timers.sleep(millis.value)), {
          onSuccess: () => {
            scheduler.ready(record)
            return body(record, prepared)
          },
          onFailure: (cause) => left(record, cause)
        })
      },
      // the policy died: the task's own error is the better answer
      onFailure: (cause) =>
        Effect.flatMap(FiberRef.get(FiberRef.interruptedCause), (own) =>
          Cause.isEmpty(own) ? fail(record, error) : left(record, cause)
        )
    })
  }

  const gate = (record: TaskRecord): Effect.Effect<void, unknown> =>
    Effect.suspend(() => {
      if (record.canceled !== undefined) return Effect.interrupt
      if (record.holds || record.prefetched) return pause()
      return Effect.async((resume) => {
        queued()
        record.resume = resume
      })
    })

  const body = (record: TaskRecord, prepared: Prepared): Effect.Effect<unknown, unknown> =>
    Effect.matchCauseEffect(Effect.interruptible(gate(record)), {
      onFailure: (cause) => left(record, cause),
      onSuccess: () => {
        record.resume = undefined
        if (record.canceled !== undefined) return canceled(record, Cause.empty)
        return Effect.flatMap(attempt(record, prepared), (exit) => {
          if (Exit.isFailure(exit)) return failed(record, prepared, exit.cause)
          if (record.timedOut) return failed(record, prepared, Cause.empty)
          finish(record, "COMPLETED")
          return exit
        })
      }
    })

  return { body, finish }
}
