/**
 * One attempt of a task: in the task's own fiber where the driver bounds its own stopping, else in a fiber that can be
 * left behind when it does not stop, so that no task, timeout or close waits without limit.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type { Driver, Report, Spec } from "../../Driver.js"
import type { HandlerService } from "../../Task.js"
import type { Deadline, Deadlines } from "./deadlines.js"
import type { Entry, Prepared } from "./entry.js"
import { currentTask } from "./entry.js"
import type { Machine } from "./machine.js"
import { decodeInfo, interpret } from "./outcome.js"

/** A service: its timeout ends when it is ready, and its end is a failure. */
const serveWith =
  (start: Driver["serve"]) =>
  (entry: Entry, prepared: Prepared, spec: Spec, ready: () => void): Effect.Effect<unknown, unknown> =>
    start === undefined
      ? Effect.dieMessage("a driver that runs services needs serve")
      : Effect.scoped(
          Effect.flatMap(start(spec), ({ exited, info }) =>
            Effect.flatMap(decodeInfo(entry, prepared.task, info), (decoded) => {
              ready()
              entry.served = true
              entry.ready?.(decoded)
              return exited
            })
          )
        )

/** The handler as it runs for a task: what it submits are the task's own, what it logs names the task. */
const handlerOf = (entry: Entry, { run, task }: HandlerService): HandlerService => ({
  task,
  run: (payload, info) =>
    Effect.annotateLogs(Effect.locally(run(payload, info), currentTask, entry.token), {
      task: entry.name,
      uid: entry.uid
    })
})

/** Runs attempts. */
export interface Attempts {
  /** How the attempt ended; never fails. Runs in an uninterruptible region and opens its own. */
  readonly attempt: (entry: Entry, prepared: Prepared) => Effect.Effect<Exit.Exit<unknown, unknown>>
  /** Kills what runs, without grace. */
  readonly kill: Effect.Effect<void>
}

/** Ends an attempt that was told to stop and did not, in place of its own exit. */
const abandoned: Exit.Exit<never> = Exit.interrupt(FiberId.none)

const silent: Report = { executing: Effect.void }

export const make = (driver: Driver, machine: Machine<Entry>, deadlines: Deadlines, grace: () => number): Attempts => {
  const bounded = new Set(driver.boundedStop)
  const serve = serveWith(driver.serve)
  /** Of each attempt that was told to stop: gives it the grace of now. */
  const stopping = new Set<() => void>()

  const work = (entry: Entry, prepared: Prepared, ready: () => void): Effect.Effect<unknown, unknown> => {
    const { program } = prepared.spec
    const spec: Spec = {
      ...prepared.spec,
      program: program._tag === "function" ? { _tag: "function", handler: handlerOf(entry, program.handler) } : program,
      uid: entry.uid,
      attempt: entry.attempt
    }
    if (program._tag === "service") return serve(entry, prepared, spec, ready)
    const run = Effect.flatMap(
      Effect.suspend(() => driver.run(spec, driver.reportsExecuting ? report(entry, spec.attempt) : silent)),
      (outcome) => interpret(entry, prepared.task, outcome)
    )
    return entry.span === undefined ? run : Effect.withParentSpan(run, entry.span)
  }
  const report = (entry: Entry, attempt: number): Report => ({
    executing: Effect.sync(() => {
      // an attempt that was left behind has nothing to say any more
      if (entry.attempt === attempt) machine.executing(entry)
    })
  })

  const supervised = (entry: Entry, prepared: Prepared): Effect.Effect<Exit.Exit<unknown, unknown>> => {
    let deadline: Deadline | undefined
    let limit: (() => void) | undefined
    const clear = () => {
      if (deadline !== undefined) deadlines.cancel(deadline)
      if (limit !== undefined) stopping.delete(limit)
    }
    return Effect.flatMap(
      // No scope owns this fiber, for closing a scope waits without limit. The task's fiber, which a scope owns, ends
      // only after this one has ended or has outstayed its grace.
      Effect.forkDaemon(Effect.interruptible(Effect.suspend(() => work(entry, prepared, clear)))),
      (child) => {
        const atEnd = (ended: (exit: Exit.Exit<unknown, unknown>) => void) =>
          child.addObserver((exit) => {
            clear()
            ended(exit)
          })
        /** Calls back when it has not stopped after the grace; where the driver bounds its stopping, that is trusted. */
        const stop = (ended: (exit: Exit.Exit<unknown, unknown>) => void) => {
          clear()
          if (!bounded.has(prepared.task.kind)) {
            limit = () => {
              if (deadline !== undefined) deadlines.cancel(deadline)
              deadline = deadlines.add(grace(), () => {
                entry.stopped = false
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
          if (prepared.timeout !== undefined && !entry.served) {
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
  }

  const attempt: Attempts["attempt"] = (entry, prepared) => {
    entry.timedOut = false
    entry.stopped = true
    if (!driver.reportsExecuting) machine.executing(entry)
    return prepared.timeout === undefined && bounded.has(prepared.task.kind)
      ? Effect.matchCause(Effect.interruptible(work(entry, prepared, () => {})), {
          onSuccess: Exit.succeed,
          onFailure: Exit.failCause
        })
      : supervised(entry, prepared)
  }
  const kill = Effect.suspend(() => {
    for (const limit of stopping) limit()
    // An attempt in a fiber of its own hears of its end a turn after its task. Kill has the same time as what it kills.
    return driver.kill === undefined
      ? Effect.void
      : Effect.zipRight(
          Effect.yieldNow(),
          Effect.ignoreLogged(Effect.raceFirst(Effect.disconnect(driver.kill), deadlines.sleep(grace())))
        )
  })
  return { attempt, kill }
}
