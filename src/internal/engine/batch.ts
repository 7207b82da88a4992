/**
 * Attempts in an engine with a queue of its own: the task's fiber waits for the engine's word, so that 100,000 tasks
 * in the engine need no fiber of the driver's. Submissions and cancels go out in batches, neither waiting for the other;
 * what the engine says comes in one stream, keyed by uid and attempt, and only that stream tells that a task has ended
 * or was cancelled.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Stream from "effect/Stream"
import type { AttemptKey, BatchDriver, Outcome, Spec, Update } from "../../Driver.js"
import { BackendError } from "../../Errors.js"
import type { Attempts } from "./attempt.js"
import * as Attempt from "./attempt.js"
import { noLongerThan } from "./background.js"
import * as Batcher from "./batcher.js"
import type { Deadline, Deadlines } from "./deadlines.js"
import type { Entry, Prepared } from "./entry.js"
import type { Machine } from "./machine.js"
import { backendError, driverFailure, taskError } from "./outcome.js"
import * as Telemetry from "./telemetry.js"

type End = Exit.Exit<unknown, unknown>

const interrupted: Effect.Effect<End> = Effect.succeed(Exit.interrupt(FiberId.none))

/** An attempt that the engine has, or will get with the next batch. */
class Flight {
  /** How it ended, once that is known. */
  end: Effect.Effect<End> | undefined
  /** The engine has it when its submission has returned, or when it speaks of it. */
  phase: "unsent" | "sending" | "sent" = "unsent"
  /** It was told to stop. */
  told = false
  /** The engine shall stop it, as soon as it has it. */
  unwanted = false
  /** Continues whoever waits for the end. */
  resume: ((end: Effect.Effect<Effect.Effect<End>>) => void) | undefined
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
    this.resume?.(Effect.succeed(end))
  }
  readonly ended = Effect.async<Effect.Effect<End>>((resume) => {
    if (this.end !== undefined) return resume(Effect.succeed(this.end))
    this.resume = resume
  })
}

export const make = (
  driver: BatchDriver,
  machine: Machine<Entry>,
  deadlines: Deadlines,
  grace: () => number,
  lost: (error: BackendError) => void
): Attempts => {
  const flights = new Map<string, Flight>()
  const ignored = Telemetry.ignored(driver.type)
  // services, and whatever else takes time in this process, run as in a backend with slots
  const local = Attempt.make(
    { ...driver, concurrency: "unbounded", run: () => Effect.dieMessage("only services run here") },
    machine,
    deadlines,
    grace
  )

  // --------------------------------------------------------------------------------------------------- to the engine

  const submissions = Batcher.make<Flight>((batch) => {
    for (const flight of batch) flight.phase = "sending"
    return Effect.matchCause(
      Effect.suspend(() => driver.submit(batch.map(({ spec }) => spec))),
      {
        onSuccess: () => batch.forEach(has),
        onFailure: (cause) => {
          const end = Effect.succeed(Exit.fail(backendError(driver.type, "Rejected", cause)))
          for (const flight of batch) settle(flight, end)
        }
      }
    )
  })
  // A cancel that the engine did not take is not confirmed: the grace ends the wait for it. Then nobody waits for the
  // call either, and it shall not keep the next from being made.
  const cancels = Batcher.make<Flight>((batch) =>
    noLongerThan(
      Effect.suspend(() => deadlines.sleep(grace())),
      Effect.ignoreLogged(Effect.suspend(() => driver.cancel(batch.map(({ key }) => key))))
    )
  )
  const has = (flight: Flight) => {
    if (flight.phase !== "sending") return
    flight.phase = "sent"
    if (flight.unwanted) cancels.add(flight)
  }

  // ------------------------------------------------------------------------------------------------- from the engine

  const settle = (flight: Flight, end: Effect.Effect<End>) => {
    if (flights.get(flight.spec.uid) === flight) flights.delete(flight.spec.uid)
    submissions.remove(flight)
    if (flight.deadline !== undefined) deadlines.cancel(flight.deadline)
    flight.settle(end)
  }
  /** The engine's word is the last, and leaves nothing to stop. */
  const answered = (flight: Flight, end: Effect.Effect<End>) => {
    flight.entry.answered = true
    flight.unwanted = false
    cancels.remove(flight)
    settle(flight, end)
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
  const decoded = ({ deadline, entry, prepared, told }: Flight, outcome: Outcome): Effect.Effect<End> => {
    if (entry.timedOut) return interrupted
    // of an attempt that was told to stop, the deadline is that of stopping
    const left = deadline === undefined || told ? prepared.timeout : deadline.at - deadlines.now()
    return Effect.suspend(() => local.decoded(entry, prepared, outcome, left))
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
        return has(flight)
      case "Started":
        has(flight)
        return started(flight)
      case "Native": {
        has(flight)
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
        if (update.stopped === false) flight.entry.stopped = false
        flight.entry.remains = update.exit
        return answered(flight, flight.told ? interrupted : canceledByEngine(flight.entry))
      case "Failed":
        return answered(flight, Effect.succeed(Exit.fail(driverFailure(flight.entry, update.error))))
      case "Ended":
        return answered(flight, decoded(flight, update.outcome))
      default:
        ignored()
    }
  }
  const canceledByEngine = (entry: Entry): Effect.Effect<End> =>
    Effect.succeed(
      Exit.fail(taskError(entry, "Canceled", { details: { message: "its engine cancelled it" }, exit: entry.remains }))
    )

  // ------------------------------------------------------------------------------------------------------------ stop

  /** What the engine does not have yet is asked back when it has it: before, it could not know what is meant. */
  const ask = (flight: Flight) => {
    flight.unwanted = true
    if (flight.phase === "sent") cancels.add(flight)
  }
  /** From now on it has the grace to end in. */
  const limit = (flight: Flight) => {
    if (flight.deadline !== undefined) deadlines.cancel(flight.deadline)
    flight.deadline = deadlines.add(grace(), () => {
      flight.entry.stopped = false
      settle(flight, interrupted)
    })
  }
  /** Asks for the end; the stream confirms it, or the grace is over. */
  const stop = (flight: Flight) => {
    flight.told = true
    limit(flight)
    ask(flight)
  }
  const told = (flight: Flight): Effect.Effect<End> => {
    if (flight.end !== undefined) return flight.end
    if (flight.phase === "unsent") {
      settle(flight, interrupted)
      return interrupted
    }
    if (!flight.entry.timedOut) stop(flight)
    return Effect.flatten(flight.ended)
  }

  const attempt = (entry: Entry, prepared: Prepared): Effect.Effect<End> => {
    if (prepared.task.kind === "service") return local.attempt(entry, prepared)
    entry.timedOut = false
    entry.stopped = true
    entry.answered = false
    const flight = new Flight(entry, prepared, Attempt.specOf(entry, prepared))
    flights.set(entry.uid, flight)
    submissions.add(flight)
    // only the wait is interruptible: what follows sees to its own
    return Effect.matchCauseEffect(Effect.interruptible(flight.ended), {
      onSuccess: (end) => end,
      onFailure: () => told(flight)
    })
  }

  const ended = new BackendError({
    backendType: driver.type,
    reason: "Lost",
    details: { message: "its engine ended" }
  })
  const listen = Stream.runForEachChunk(driver.updates, (updates) =>
    Effect.sync(() => Chunk.forEach(updates, take))
  ).pipe(
    Effect.matchCause({
      onSuccess: () => lost(ended),
      onFailure: (cause) => lost(backendError(driver.type, "Lost", cause))
    })
  )

  const kill = Effect.suspend(() => {
    for (const flight of flights.values()) if (flight.told) limit(flight)
    return local.kill
  })
  const lose = (error: BackendError) => {
    const end = Effect.succeed(Exit.fail(error))
    for (const flight of flights.values()) settle(flight, end)
  }
  return { attempt, kill, lose, loops: [listen, submissions.run, cancels.run] }
}
