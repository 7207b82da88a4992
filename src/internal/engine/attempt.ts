/**
 * One attempt of a task: in the task's own fiber where the driver bounds its own stopping, else in a fiber that can be
 * left behind when it does not stop, so that no task, timeout or close waits without limit.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import type { Driver, Early, Outcome, ProcessExit, Report, Spec } from "../../Driver.js"
import type { BackendError, TaskError } from "../../Errors.js"
import type { HandlerService } from "../../Task.js"
import { inside } from "./current.js"
import type { Deadline, Deadlines } from "./deadlines.js"
import type { Entry, Prepared } from "./entry.js"
import type { Machine } from "./machine.js"
import { decodeInfo, driverFailure, interpret, isKnown } from "./outcome.js"

const typed = (entry: Entry, cause: Cause.Cause<unknown>): Cause.Cause<TaskError | BackendError> =>
  Cause.map(cause, (error) => driverFailure(entry, error))

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

/**
 * The handler as it runs for a task, whoever calls it: what it submits are the task's own, what it logs names the task.
 * An engine may keep it for longer than the task lives.
 */
const handlerOf = ({ name, span, token, uid }: Entry, { run, task }: HandlerService): HandlerService => ({
  task,
  run: (payload, info) => {
    const handler = Effect.suspend(() => run(payload, info))
    const own = Effect.annotateLogs(inside(token, handler), { task: name, uid })
    return span === undefined ? own : Effect.withParentSpan(own, span)
  }
})

/** What a driver gets. */
export const specOf = (entry: Entry, { spec }: Prepared): Spec => {
  const { program } = spec
  return {
    ...spec,
    program: program._tag === "function" ? { _tag: "function", handler: handlerOf(entry, program.handler) } : program,
    uid: entry.uid,
    attempt: entry.attempt
  }
}

/** Runs attempts. */
export interface Attempts {
  /** How the attempt ended; never fails. Runs in an uninterruptible region and opens its own. */
  readonly attempt: (entry: Entry, prepared: Prepared) => Effect.Effect<Exit.Exit<unknown, unknown>>
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
  readonly decoded: (entry: Entry, prepared: Prepared, outcome: Outcome, left: number | undefined) => Effect.Effect<End>
}

type End = Exit.Exit<unknown, unknown>

/** Ends an attempt that was told to stop and did not, in place of its own exit. */
const abandoned: Exit.Exit<never> = Exit.interrupt(FiberId.none)

const earlyOf = (entry: Entry): Early => ({
  get word() {
    return entry.ahead ? (entry.held ? "hold" : "wait") : "go"
  },
  listen: (told) => {
    entry.told = told
  }
})

const silent: Report = { executing: Effect.void, unsafeExecuting: () => {} }

export const make = (driver: Driver, machine: Machine<Entry>, deadlines: Deadlines, grace: () => number): Local => {
  const bounded = new Set(driver.boundedStop)
  const serve = serveWith(driver.serve)
  /** Of each attempt that was told to stop: gives it the grace of now. */
  const stopping = new Set<() => void>()

  const run = (entry: Entry, prepared: Prepared) => {
    const spec = specOf(entry, prepared)
    const run = Effect.suspend(() => driver.run(spec, reportOf(entry, spec)))
    return entry.span === undefined ? run : Effect.withParentSpan(run, entry.span)
  }
  const reportOf = (entry: Entry, { attempt, program }: Spec): Report => {
    if (!driver.reportsExecuting && program._tag !== "executable") return silent
    // an attempt that was left behind has nothing to say any more
    const current = () => entry.attempt === attempt && entry.prepared !== undefined
    const stopped = (exit: ProcessExit) => {
      if (!current()) return
      entry.remains = exit
      if (exit.survivors === true) entry.stopped = false
    }
    if (!driver.reportsExecuting) return { ...silent, stopped }
    const executing = () => {
      if (current()) machine.executing(entry)
    }
    return {
      executing: Effect.sync(executing),
      unsafeExecuting: executing,
      stopped,
      early: entry.ahead ? earlyOf(entry) : undefined
    }
  }

  /**
   * Work of an attempt in a fiber of its own, which is left behind when it was told to stop and did not within the
   * grace, unless it is trusted to. The work may call off its timeout, in milliseconds.
   */
  const supervised = (
    entry: Entry,
    trusted: boolean,
    timeout: number | undefined,
    work: (untimed: () => void) => Effect.Effect<unknown, unknown>
  ): Effect.Effect<End> => {
    let deadline: Deadline | undefined
    let limit: (() => void) | undefined
    const clear = () => {
      if (deadline !== undefined) deadlines.cancel(deadline)
      if (limit !== undefined) stopping.delete(limit)
    }
    return Effect.flatMap(
      // No scope owns this fiber, for closing a scope waits without limit. The task's fiber, which a scope owns, ends
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
          if (timeout !== undefined && !entry.served) {
            deadline = deadlines.add(timeout, () => {
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

  const decoded: Local["decoded"] = (entry, prepared, outcome, left) => {
    let result: Effect.Effect<unknown, unknown>
    try {
      result = interpret(entry, prepared, outcome)
    } catch (defect) {
      return Effect.succeed(Exit.die(defect))
    }
    return isKnown(result) ? Effect.exit(result) : supervised(entry, false, left, () => result)
  }

  /** Where the driver bounds its stopping, that is trusted: but not that of the decoding, which is not its own. */
  const trusting = (entry: Entry, prepared: Prepared): Effect.Effect<End> => {
    const { timeout } = prepared
    const due = timeout === undefined ? undefined : deadlines.now() + timeout
    const ran: Effect.Effect<Exit.Exit<Outcome, unknown>> =
      timeout === undefined
        ? Effect.matchCause(Effect.interruptible(run(entry, prepared)), {
            onSuccess: Exit.succeed,
            onFailure: Exit.failCause
          })
        : (supervised(entry, true, timeout, () => run(entry, prepared)) as Effect.Effect<Exit.Exit<Outcome, unknown>>)
    return Effect.flatMap(ran, (exit) =>
      Exit.isFailure(exit)
        ? Effect.succeed(Exit.failCause(typed(entry, exit.cause)))
        : entry.timedOut
          ? Effect.succeed(exit)
          : decoded(entry, prepared, exit.value, due === undefined ? undefined : due - deadlines.now())
    )
  }

  const attempt: Attempts["attempt"] = (entry, prepared) => {
    entry.timedOut = false
    entry.stopped = true
    if (!driver.reportsExecuting) machine.executing(entry)
    const { kind } = prepared.task
    if (kind === "service") {
      return supervised(entry, bounded.has(kind), prepared.timeout, (ready) =>
        Effect.mapErrorCause(serve(entry, prepared, specOf(entry, prepared), ready), (cause) => typed(entry, cause))
      )
    }
    if (bounded.has(kind)) return trusting(entry, prepared)
    return supervised(entry, false, prepared.timeout, () =>
      Effect.matchCauseEffect(run(entry, prepared), {
        onSuccess: (outcome) => interpret(entry, prepared, outcome),
        onFailure: (cause) => Effect.failCause(typed(entry, cause))
      })
    )
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
  // what runs here is interrupted with its task
  return { attempt, kill, decoded, lose: () => {}, loops: [] }
}
