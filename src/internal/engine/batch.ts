/**
 * Attempts in an engine with a queue of its own: the task's fiber waits for the engine's word, so that 100,000 tasks
 * in the engine need no fiber of the driver's. Submissions and cancels go out in batches; what the engine says comes in
 * one stream, keyed by uid and attempt, and only that stream tells that a task has ended or was cancelled.
 */

import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AttemptKey, BatchDriver, Spec, Update } from "../../Driver.js"
import type { BackendErrorReason } from "../../Errors.js"
import { BackendError } from "../../Errors.js"
import type { Attempts } from "./attempt.js"
import * as Attempt from "./attempt.js"
import type { Deadline, Deadlines } from "./deadlines.js"
import type { Entry, Prepared } from "./entry.js"
import type { Machine } from "./machine.js"
import { describe, interpret, taskError } from "./outcome.js"
import * as Telemetry from "./telemetry.js"

type End = Exit.Exit<unknown, unknown>

const interrupted: End = Exit.interrupt(FiberId.none)

const failure = (driver: BatchDriver, reason: BackendErrorReason, cause: Cause.Cause<BackendError>): BackendError =>
  Option.getOrElse(Cause.failureOption(cause), () => {
    const defect = Cause.squash(cause)
    return new BackendError({ backendType: driver.type, reason, details: { message: describe(defect) }, cause: defect })
  })

/** An attempt that the engine has, or will get with the next batch. */
class Flight {
  /** How it ended, once that is known. */
  end: Effect.Effect<End> | undefined
  /** Still in the batch to come. */
  unsent = true
  /** It was told to stop. */
  told = false
  /** Continues whoever waits for the end. */
  resume: ((end: Effect.Effect<End>) => void) | undefined
  deadline: Deadline | undefined

  constructor(
    readonly entry: Entry,
    readonly prepared: Prepared,
    readonly spec: Spec
  ) {}

  get key(): AttemptKey {
    return { uid: this.spec.uid, attempt: this.spec.attempt }
  }
  settle(end: Effect.Effect<End>): void {
    if (this.end !== undefined) return
    this.end = end
    this.resume?.(end)
  }
  readonly ended = Effect.async<End>((resume) => {
    if (this.end !== undefined) return resume(this.end)
    this.resume = resume
  })
}

export const make = (
  driver: BatchDriver,
  machine: Machine<Entry>,
  deadlines: Deadlines,
  grace: () => number,
  lost: (error: BackendError) => void
): Effect.Effect<Attempts, never, Scope.Scope> =>
  Effect.gen(function* () {
    const flights = new Map<string, Flight>()
    let toSubmit: Array<Flight> = []
    let toCancel: Array<Flight> = []
    let gone: BackendError | undefined
    let ring: (() => void) | undefined
    const ignored = Telemetry.ignored(driver.type)
    // services run beside the engine's queue, as in a backend with slots
    const services = Attempt.make(
      { ...driver, concurrency: "unbounded", run: () => Effect.dieMessage("only services run here") },
      machine,
      deadlines,
      grace
    )

    // ------------------------------------------------------------------------------------------------- to the engine

    const bell = Effect.async<void>((resume) => {
      if (toSubmit.length + toCancel.length > 0) return resume(Effect.void)
      ring = () => {
        ring = undefined
        resume(Effect.void)
      }
      return Effect.sync(() => {
        ring = undefined
      })
    })
    const fail = (batch: ReadonlyArray<Flight>, error: BackendError) => {
      for (const flight of batch) settle(flight, Effect.succeed(Exit.fail(error)))
    }
    const send = Effect.suspend(() => {
      const submits = toSubmit.filter(({ end }) => end === undefined)
      const cancels = toCancel
      toSubmit = []
      toCancel = []
      for (const flight of submits) flight.unsent = false
      const submit = Effect.matchCauseEffect(
        Effect.suspend(() => driver.submit(submits.map(({ spec }) => spec))),
        {
          onSuccess: () => Effect.void,
          onFailure: (cause) => Effect.sync(() => fail(submits, failure(driver, "Rejected", cause)))
        }
      )
      // a cancel that the engine did not take is not confirmed: the grace ends the wait for it
      const cancel = Effect.ignoreLogged(Effect.suspend(() => driver.cancel(cancels.map(({ key }) => key))))
      return Effect.zipRight(submits.length === 0 ? Effect.void : submit, cancels.length === 0 ? Effect.void : cancel)
    })

    // ----------------------------------------------------------------------------------------------- from the engine

    const settle = (flight: Flight, end: Effect.Effect<End>) => {
      if (flights.get(flight.spec.uid) === flight) flights.delete(flight.spec.uid)
      if (flight.deadline !== undefined) deadlines.cancel(flight.deadline)
      flight.settle(end)
    }
    const started = (flight: Flight) => {
      const { entry, prepared } = flight
      machine.executing(entry)
      if (prepared.timeout === undefined || flight.deadline !== undefined) return
      flight.deadline = deadlines.add(prepared.timeout, () => {
        entry.timedOut = true
        stop(flight)
      })
    }
    const take = (update: Update) => {
      // what comes from an engine may be anything, and one odd thing must not be the loss of all
      const flight = typeof update === "object" && update !== null ? flights.get(update.uid) : undefined
      if (flight === undefined || flight.spec.attempt !== update.attempt) {
        ignored()
        return
      }
      switch (update._tag) {
        case "Accepted":
          return
        case "Started":
          return started(flight)
        case "Native": {
          const states = driver.nativeStates ?? {}
          const state = Object.hasOwn(states, update.state) ? states[update.state] : undefined
          if (state === "EXECUTING") return started(flight)
          if (state !== undefined) return
          const details = { message: `state ${update.state} of task ${update.uid} has no meaning here` }
          const error = new BackendError({ backendType: driver.type, reason: "Protocol", details })
          // nobody waits for it any more, so it shall not go on
          ask(flight)
          return settle(flight, Effect.succeed(Exit.fail(error)))
        }
        case "Canceled":
          return settle(flight, Effect.succeed(flight.told ? interrupted : canceledByEngine(flight.entry)))
        case "Failed":
          return settle(flight, Effect.succeed(Exit.fail(update.error)))
        case "Ended":
          return settle(
            flight,
            Effect.exit(Effect.suspend(() => interpret(flight.entry, flight.prepared.task, update.outcome)))
          )
        default:
          ignored()
      }
    }
    const canceledByEngine = (entry: Entry): End =>
      Exit.fail(taskError(entry, "Canceled", { details: { message: "its engine cancelled it" } }))

    // ---------------------------------------------------------------------------------------------------------- stop

    const ask = (flight: Flight) => {
      toCancel.push(flight)
      ring?.()
    }
    /** From now on it has the grace to end in. */
    const limit = (flight: Flight) => {
      if (flight.deadline !== undefined) deadlines.cancel(flight.deadline)
      flight.deadline = deadlines.add(grace(), () => {
        flight.entry.stopped = false
        settle(flight, Effect.succeed(interrupted))
      })
    }
    /** Asks for the end; the stream confirms it, or the grace is over. */
    const stop = (flight: Flight) => {
      flight.told = true
      limit(flight)
      ask(flight)
    }
    const told = (flight: Flight) => {
      if (flight.end !== undefined) return flight.end
      if (flight.unsent) {
        settle(flight, Effect.succeed(interrupted))
        return Effect.succeed(interrupted)
      }
      if (!flight.entry.timedOut) stop(flight)
      return flight.ended
    }

    const attempt = (entry: Entry, prepared: Prepared): Effect.Effect<End> => {
      if (prepared.task.kind === "service") return services.attempt(entry, prepared)
      entry.timedOut = false
      entry.stopped = true
      if (gone !== undefined) return Effect.succeed(Exit.fail(gone))
      const flight = new Flight(entry, prepared, { ...prepared.spec, uid: entry.uid, attempt: entry.attempt })
      flights.set(entry.uid, flight)
      toSubmit.push(flight)
      ring?.()
      return Effect.matchCauseEffect(Effect.interruptible(flight.ended), {
        onSuccess: Effect.succeed,
        onFailure: () => told(flight)
      })
    }

    const ended = new BackendError({
      backendType: driver.type,
      reason: "Lost",
      details: { message: "its engine ended" }
    })
    const lose = (error: BackendError) => {
      gone = error
      lost(error)
      fail([...flights.values()], error)
    }
    const listen = Stream.runForEachChunk(driver.updates, (updates) =>
      Effect.sync(() => Chunk.forEach(updates, take))
    ).pipe(
      Effect.matchCause({
        onSuccess: () => lose(ended),
        onFailure: (cause) => lose(failure(driver, "Lost", cause))
      })
    )
    /** Runs until the scope closes, which waits for its end no longer than the grace. */
    const background = (effect: Effect.Effect<unknown>) =>
      Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), (fiber) =>
        Effect.addFinalizer(() =>
          Effect.async<void>((resume) => {
            const late = deadlines.add(grace(), () => resume(Effect.void))
            fiber.addObserver(() => {
              deadlines.cancel(late)
              resume(Effect.void)
            })
            fiber.unsafeInterruptAsFork(FiberId.none)
          })
        )
      )
    yield* Effect.uninterruptible(background(listen))
    yield* Effect.uninterruptible(background(Effect.forever(Effect.zipRight(bell, send))))

    const kill = Effect.suspend(() => {
      for (const flight of flights.values()) if (flight.told) limit(flight)
      return services.kill
    })
    return { attempt, kill }
  })
