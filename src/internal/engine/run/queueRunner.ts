/**
 * Attempts in an engine with a queue of its own: the task's fiber waits for the engine's word, so that 100,000 tasks
 * in the engine need no fiber of the driver's. Submissions and cancels go out in batches, neither waiting for the other;
 * what the engine says comes in one stream, keyed by uid and attempt, and only that stream reports that a task has ended
 * or was cancelled.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Stream from "effect/Stream"
import type { AttemptKey, LocalHooks, Outcome, QueueDriver, Spec, Update } from "../../../Driver.js"
import { BackendError } from "../../../Errors.js"
import * as Telemetry from "../observe/telemetry.js"
import type { Scheduler } from "../scheduler/scheduler.js"
import type { Timer, Timers } from "../timers.js"
import * as Batcher from "./batcher.js"
import { backendError, driverFailure, taskError } from "./outcome.js"
import type { Attempts } from "./slotRunner.js"
import * as Attempt from "./slotRunner.js"
import { noLongerThan } from "./supervise.js"
import type { Prepared, TaskRecord } from "./taskRecord.js"

type End = Exit.Exit<unknown, unknown>

const interrupted: Effect.Effect<End> = Effect.succeed(Exit.interrupt(FiberId.none))

/** An attempt that the engine has, or will get with the next batch. */
class AttemptInFlight {
  /** How it ended, once that is known. */
  end: Effect.Effect<End> | undefined
  /** The engine has it when its submission has returned, or when it speaks of it. */
  phase: "unsent" | "sending" | "sent" = "unsent"
  /** It was asked to stop. */
  stopRequested = false
  /** The engine is asked to stop it, as soon as it has it. */
  unwanted = false
  /** Continues the fiber that waits for the end. */
  resume: ((end: Effect.Effect<Effect.Effect<End>>) => void) | undefined
  deadline: Timer | undefined

  constructor(
    readonly record: TaskRecord,
    readonly prepared: Prepared,
    readonly spec: Spec,
    readonly hooks: LocalHooks
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
  driver: QueueDriver,
  name: string,
  scheduler: Scheduler<TaskRecord>,
  timers: Timers,
  grace: () => number,
  lost: (error: BackendError) => void
): Attempts => {
  const attempts = new Map<string, AttemptInFlight>()
  const ignored = Telemetry.ignored(name)
  // services, and whatever else takes time in this process, run as in a backend with slots
  const local = Attempt.make(
    { ...driver, concurrency: "unbounded", run: () => Effect.dieMessage("only services run here") },
    scheduler,
    timers,
    grace
  )

  // --------------------------------------------------------------------------------------------------- to the engine

  const submissions = Batcher.make<AttemptInFlight>((batch) => {
    for (const inFlight of batch) inFlight.phase = "sending"
    return Effect.matchCause(
      Effect.suspend(() => driver.submit(batch.map(({ hooks, spec }) => ({ spec, hooks })))),
      {
        onSuccess: () => batch.forEach(has),
        onFailure: (cause) => {
          const end = Effect.succeed(Exit.fail(backendError(driver.type, "Rejected", cause)))
          for (const inFlight of batch) settle(inFlight, end)
        }
      }
    )
  })
  // A cancel that the engine did not take is not confirmed: `stopTimeout` ends the wait for it. Then no fiber waits for
  // the call either, and it does not keep the next from being made.
  const cancels = Batcher.make<AttemptInFlight>((batch) =>
    noLongerThan(
      Effect.suspend(() => timers.sleep(grace())),
      Effect.ignoreLogged(Effect.suspend(() => driver.cancel(batch.map(({ key }) => key))))
    )
  )
  const has = (inFlight: AttemptInFlight) => {
    if (inFlight.phase !== "sending") return
    inFlight.phase = "sent"
    if (inFlight.unwanted) cancels.add(inFlight)
  }

  // ------------------------------------------------------------------------------------------------- from the engine

  const settle = (inFlight: AttemptInFlight, end: Effect.Effect<End>) => {
    if (attempts.get(inFlight.spec.uid) === inFlight) attempts.delete(inFlight.spec.uid)
    submissions.remove(inFlight)
    if (inFlight.deadline !== undefined) timers.cancel(inFlight.deadline)
    inFlight.settle(end)
  }
  /** The engine's word is the last, and leaves nothing to stop. */
  const answered = (inFlight: AttemptInFlight, end: Effect.Effect<End>) => {
    inFlight.record.answered = true
    inFlight.unwanted = false
    cancels.remove(inFlight)
    settle(inFlight, end)
  }
  const started = (inFlight: AttemptInFlight) => {
    const { record, prepared } = inFlight
    scheduler.executing(record)
    if (prepared.timeout === undefined || inFlight.deadline !== undefined) return
    inFlight.deadline = timers.add(prepared.timeout, () => {
      record.timedOut = true
      stop(inFlight)
    })
  }
  const decoded = (
    { deadline, record, prepared, stopRequested }: AttemptInFlight,
    outcome: Outcome
  ): Effect.Effect<End> => {
    if (record.timedOut) return interrupted
    // of an attempt that was asked to stop, the deadline is that of stopping
    const left = deadline === undefined || stopRequested ? prepared.timeout : deadline.at - timers.now()
    return Effect.suspend(() => local.decoded(record, prepared, outcome, left))
  }
  const take = (update: Update) => {
    // what comes from an engine may be anything, and one odd thing must not be the loss of all
    const inFlight = typeof update === "object" && update !== null ? attempts.get(update.uid) : undefined
    if (inFlight === undefined || inFlight.spec.attempt !== update.attempt) {
      ignored()
      return
    }
    switch (update._tag) {
      case "Accepted":
        return has(inFlight)
      case "Started":
        has(inFlight)
        return started(inFlight)
      case "Native": {
        has(inFlight)
        const states = driver.nativeStates ?? {}
        const state = Object.hasOwn(states, update.state) ? states[update.state] : undefined
        if (state === "EXECUTING") return started(inFlight)
        if (state !== undefined) return
        const details = { message: `state ${update.state} of task ${update.uid} has no meaning here` }
        const error = new BackendError({ backendType: driver.type, reason: "Protocol", details })
        // no fiber waits for it any more, so it is stopped
        ask(inFlight)
        return settle(inFlight, Effect.succeed(Exit.fail(error)))
      }
      case "Canceled":
        if (update.stopped === false) inFlight.record.stopped = false
        inFlight.record.remains = update.exit
        return answered(inFlight, inFlight.stopRequested ? interrupted : canceledByEngine(inFlight.record))
      case "Failed":
        return answered(inFlight, Effect.succeed(Exit.fail(driverFailure(inFlight.record, update.error))))
      case "Ended":
        return answered(inFlight, decoded(inFlight, update.outcome))
      default:
        ignored()
    }
  }
  const canceledByEngine = (record: TaskRecord): Effect.Effect<End> =>
    Effect.succeed(
      Exit.fail(
        taskError(record, "Canceled", { details: { message: "its engine cancelled it" }, exit: record.remains })
      )
    )

  // ------------------------------------------------------------------------------------------------------------ stop

  /** What the engine does not have yet is asked back when it has it: before, it could not know what is meant. */
  const ask = (inFlight: AttemptInFlight) => {
    inFlight.unwanted = true
    if (inFlight.phase === "sent") cancels.add(inFlight)
  }
  /** From now on it has the grace to end in. */
  const limit = (inFlight: AttemptInFlight) => {
    if (inFlight.deadline !== undefined) timers.cancel(inFlight.deadline)
    inFlight.deadline = timers.add(grace(), () => {
      inFlight.record.stopped = false
      settle(inFlight, interrupted)
    })
  }
  /** Asks for the end; the stream confirms it, or the grace is over. */
  const stop = (inFlight: AttemptInFlight) => {
    inFlight.stopRequested = true
    limit(inFlight)
    ask(inFlight)
  }
  const awaitEnd = (inFlight: AttemptInFlight): Effect.Effect<End> => {
    if (inFlight.end !== undefined) return inFlight.end
    if (inFlight.phase === "unsent") {
      settle(inFlight, interrupted)
      return interrupted
    }
    if (!inFlight.record.timedOut) stop(inFlight)
    return Effect.flatten(inFlight.ended)
  }

  const attempt = (record: TaskRecord, prepared: Prepared): Effect.Effect<End> => {
    if (prepared.task.kind === "service") return local.attempt(record, prepared)
    record.timedOut = false
    record.stopped = true
    record.answered = false
    const inFlight = new AttemptInFlight(
      record,
      prepared,
      Attempt.specOf(record, prepared),
      Attempt.hooksOf(record, prepared)
    )
    attempts.set(record.uid, inFlight)
    submissions.add(inFlight)
    // only the wait is interruptible: what follows sees to its own
    return Effect.matchCauseEffect(Effect.interruptible(inFlight.ended), {
      onSuccess: (end) => end,
      onFailure: () => awaitEnd(inFlight)
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
    for (const inFlight of attempts.values()) if (inFlight.stopRequested) limit(inFlight)
    return local.kill
  })
  const lose = (error: BackendError) => {
    const end = Effect.succeed(Exit.fail(error))
    for (const inFlight of attempts.values()) settle(inFlight, end)
  }
  return { attempt, kill, lose, loops: [listen, submissions.run, cancels.run] }
}
