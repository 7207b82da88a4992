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
import type { BackendError, TaskError } from "../../Errors.js"
import { isBackendError, isTaskError } from "../../Errors.js"
import type { Terminal } from "../../TaskState.js"
import type { Attempts } from "./attempt.js"
import type { Deadlines } from "./deadlines.js"
import type { Entry, Prepared } from "./entry.js"
import type { Machine } from "./machine.js"
import { describe, taskError } from "./outcome.js"
import * as Retry from "./retry.js"

const known = (error: unknown): TaskError | BackendError | undefined =>
  isTaskError(error) || isBackendError(error) ? error : undefined

export const make = ({
  attempt,
  clock,
  deadlines,
  machine,
  pause,
  queued
}: {
  readonly machine: Machine<Entry>
  readonly deadlines: Deadlines
  readonly clock: Clock.Clock
  readonly attempt: Attempts["attempt"]
  /** What a task that has its slot waits for before its attempt. */
  readonly pause: () => Effect.Effect<void>
  /** A task waits for a slot. */
  readonly queued: () => void
}) => {
  const finish = (entry: Entry, state: Terminal) => {
    if (!machine.finish(entry, state)) return
    entry.token.entry = undefined
    entry.prepared = entry.memory = entry.remains = entry.resume = entry.told = entry.failure = undefined
  }
  const fail = (entry: Entry, own: unknown) => {
    // what fails when its engine is gone fails because of that
    const error = isBackendError(entry.canceled) && !entry.answered ? entry.canceled : own
    entry.failure = known(error)
    finish(entry, entry.failure?.reason === "Canceled" ? "CANCELED" : "FAILED")
    return Effect.fail(error)
  }
  const canceled = (entry: Entry, cause: Cause.Cause<unknown>) => {
    if (isBackendError(entry.canceled)) return fail(entry, entry.canceled)
    const defects = Cause.defects(cause)
    return fail(
      entry,
      taskError(entry, "Canceled", {
        details: { message: entry.canceled, ...(entry.stopped ? {} : { stopped: false }) },
        exit: entry.remains,
        cause: Option.getOrUndefined(Option.fromIterable(defects))
      })
    )
  }
  /** Interrupted while it waited. */
  const left = (entry: Entry, cause: Cause.Cause<unknown>): Effect.Effect<never, unknown> => {
    if (entry.canceled !== undefined) return canceled(entry, cause)
    finish(entry, "CANCELED")
    return Effect.failCause(cause)
  }

  const failed = (entry: Entry, prepared: Prepared, cause: Cause.Cause<unknown>): Effect.Effect<unknown, unknown> => {
    if (entry.timedOut) {
      const details = { timeout: Retry.format(prepared.timeout!), ...(entry.stopped ? {} : { stopped: false }) }
      const exit = entry.remains
      entry.remains = undefined
      return failedWith(entry, prepared, taskError(entry, "Timeout", { details, exit }))
    }
    if (Cause.isInterrupted(cause)) {
      if (entry.canceled !== undefined) return canceled(entry, cause)
      return Effect.flatMap(FiberRef.get(FiberRef.interruptedCause), (own) => {
        if (!Cause.isEmpty(own)) return left(entry, Cause.isInterruptedOnly(cause) ? own : Cause.sequential(cause, own))
        // what failed first has interrupted what ran beside it
        if (!Cause.isInterruptedOnly(cause)) return broke(entry, prepared, cause)
        const message = "its handler interrupted itself"
        return failedWith(entry, prepared, taskError(entry, "Defect", { details: { message } }))
      })
    }
    return broke(entry, prepared, cause)
  }
  const broke = (entry: Entry, prepared: Prepared, cause: Cause.Cause<unknown>): Effect.Effect<unknown, unknown> => {
    const failure = Cause.failureOption(cause)
    if (Option.isSome(failure)) return failedWith(entry, prepared, failure.value)
    const defect = Cause.squash(cause)
    const details = { message: describe(defect) }
    return failedWith(entry, prepared, taskError(entry, "Defect", { details, cause: defect }))
  }

  const failedWith = (entry: Entry, prepared: Prepared, error: unknown): Effect.Effect<unknown, unknown> => {
    if (prepared.retry === undefined || entry.served || entry.canceled !== undefined || machine.closed) {
      return fail(entry, error)
    }
    const delay = Retry.delay(prepared.retry, error, entry.attempt, clock.unsafeCurrentTimeMillis(), entry)
    return Effect.matchCauseEffect(Effect.interruptible(delay), {
      onSuccess: (millis) => {
        if (Option.isNone(millis) || machine.closed) return fail(entry, error)
        entry.failure = known(error)
        machine.retry(entry)
        entry.failure = undefined
        return Effect.matchCauseEffect(Effect.interruptible(deadlines.sleep(millis.value)), {
          onSuccess: () => {
            machine.ready(entry)
            return body(entry, prepared)
          },
          onFailure: (cause) => left(entry, cause)
        })
      },
      // the policy died: the task's own error is the better answer
      onFailure: (cause) =>
        Effect.flatMap(FiberRef.get(FiberRef.interruptedCause), (own) =>
          Cause.isEmpty(own) ? fail(entry, error) : left(entry, cause)
        )
    })
  }

  const gate = (entry: Entry): Effect.Effect<void, unknown> =>
    Effect.suspend(() => {
      if (entry.canceled !== undefined) return Effect.interrupt
      if (entry.holds || entry.ahead) return pause()
      return Effect.async((resume) => {
        queued()
        entry.resume = resume
      })
    })

  const body = (entry: Entry, prepared: Prepared): Effect.Effect<unknown, unknown> =>
    Effect.matchCauseEffect(Effect.interruptible(gate(entry)), {
      onFailure: (cause) => left(entry, cause),
      onSuccess: () => {
        entry.resume = undefined
        if (entry.canceled !== undefined) return canceled(entry, Cause.empty)
        return Effect.flatMap(attempt(entry, prepared), (exit) => {
          if (Exit.isFailure(exit)) return failed(entry, prepared, exit.cause)
          if (entry.timedOut) return failed(entry, prepared, Cause.empty)
          finish(entry, "COMPLETED")
          return exit
        })
      }
    })

  return { body, finish }
}
