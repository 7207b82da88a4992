/**
 * One attempt of a task: in the task's own fiber where the driver bounds its own stopping, else in a fiber that can be
 * left behind when it does not stop, so that no task, timeout or close waits without limit.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type { Driver, Report, Spec } from "../../Driver.js"
import type { Deadline, Deadlines } from "./deadlines.js"
import type { Entry, Prepared } from "./entry.js"
import { currentTask } from "./entry.js"
import type { Machine } from "./machine.js"
import { interpret } from "./outcome.js"

/** Ends an attempt that was told to stop and did not, in place of its own exit. */
const abandoned: Exit.Exit<never> = Exit.interrupt(FiberId.none)

const silent: Report = { executing: Effect.void }

export const make = (driver: Driver, machine: Machine<Entry>, deadlines: Deadlines, grace: number) => {
  const bounded = new Set(driver.boundedStop)

  const work = (entry: Entry, prepared: Prepared): Effect.Effect<unknown, unknown> => {
    const spec: Spec = { ...prepared.spec, uid: entry.uid, attempt: entry.attempt }
    const run = Effect.flatMap(
      Effect.suspend(() => driver.run(spec, driver.reportsExecuting ? report(entry, spec.attempt) : silent)),
      (outcome) => interpret(entry, prepared.task, outcome)
    )
    // only a handler can submit tasks of its own
    return spec.program._tag === "function" ? Effect.locally(run, currentTask, entry) : run
  }
  const report = (entry: Entry, attempt: number): Report => ({
    executing: Effect.sync(() => {
      // an attempt that was left behind has nothing to say any more
      if (entry.attempt === attempt) machine.executing(entry)
    })
  })

  const supervised = (entry: Entry, prepared: Prepared): Effect.Effect<Exit.Exit<unknown, unknown>> =>
    Effect.flatMap(
      // No scope owns this fiber, for closing a scope waits without limit. The task's fiber, which a scope owns, ends
      // only after this one has ended or has outstayed its grace.
      Effect.forkDaemon(Effect.interruptible(work(entry, prepared))),
      (child) => {
        let deadline: Deadline | undefined
        const clear = () => {
          if (deadline !== undefined) deadlines.cancel(deadline)
        }
        const atEnd = (ended: (exit: Exit.Exit<unknown, unknown>) => void) =>
          child.addObserver((exit) => {
            clear()
            ended(exit)
          })
        /** Calls back when it has not stopped after the grace; where the driver bounds its stopping, that is trusted. */
        const stop = (ended: (exit: Exit.Exit<unknown, unknown>) => void) => {
          clear()
          if (!bounded.has(prepared.task.kind)) {
            deadline = deadlines.add(grace, () => {
              entry.stopped = false
              ended(abandoned)
            })
          }
          child.unsafeInterruptAsFork(FiberId.none)
        }
        const end = Effect.async<Exit.Exit<unknown, unknown>>((resume) => {
          const ended = (exit: Exit.Exit<unknown, unknown>) => resume(Effect.succeed(exit))
          if (prepared.timeout !== undefined) {
            deadline = deadlines.add(prepared.timeout, () => {
              entry.timedOut = true
              stop(ended)
            })
          }
          atEnd(ended)
        })
        const told = Effect.async<Exit.Exit<unknown, unknown>>((resume) => {
          const ended = (exit: Exit.Exit<unknown, unknown>) => resume(Effect.succeed(exit))
          if (child.unsafePoll() === null) stop(ended)
          atEnd(ended)
        })
        return Effect.matchCauseEffect(Effect.interruptible(end), { onSuccess: Effect.succeed, onFailure: () => told })
      }
    )

  /** How the attempt ended; never fails. Runs in an uninterruptible region and opens its own. */
  return (entry: Entry, prepared: Prepared): Effect.Effect<Exit.Exit<unknown, unknown>> => {
    entry.timedOut = false
    entry.stopped = true
    if (!driver.reportsExecuting) machine.executing(entry)
    return prepared.timeout === undefined && bounded.has(prepared.task.kind)
      ? Effect.matchCause(Effect.interruptible(work(entry, prepared)), {
          onSuccess: Exit.succeed,
          onFailure: Exit.failCause
        })
      : supervised(entry, prepared)
  }
}
