/** What is told of each change of state: the event, the metrics, the span. */
import type * as Clock from "effect/Clock"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import { isTaskError } from "../../Errors.js"
import type { StateChange, TaskState } from "../../TaskState.js"
import { isTerminal } from "../../TaskState.js"
import type { Entry } from "./entry.js"
import type { Events } from "./events.js"
import type { Machine } from "./machine.js"
import * as Telemetry from "./telemetry.js"

const reasoned = new Set<TaskState>(["RETRYING", "FAILED", "CANCELED"])

const why = ({ failure, stopped }: Entry): Partial<StateChange> => ({
  ...(failure === undefined ? undefined : { reason: failure.reason }),
  ...(isTaskError(failure) && failure.exitCode !== undefined ? { exitCode: failure.exitCode } : undefined),
  ...(isTaskError(failure) && failure.signal !== undefined ? { signal: failure.signal } : undefined),
  ...(stopped ? undefined : { stopped })
})

/** Of a span. A user's own error is named, not shown: it may hold what nobody should read. */
const endOf = (state: TaskState, failure: Entry["failure"]): Exit.Exit<void, unknown> => {
  if (state === "COMPLETED") return Exit.void
  return failure === undefined && state === "CANCELED"
    ? Exit.interrupt(FiberId.none)
    : Exit.fail(failure ?? "the task failed with an error of its own")
}

export const make = (backend: string, events: Events, clock: Clock.Clock) => {
  const metrics = Telemetry.metrics(backend)

  const measure = (entry: Entry, now: number, machine: Machine<Entry>) => {
    metrics.queued(machine.queued)
    metrics.active(machine.active)
    if (entry.state === "EXECUTING") {
      if (entry.startedAt === undefined) metrics.waited(now - entry.acceptedAt)
      entry.startedAt = now
    } else if (isTerminal(entry.state)) {
      if (entry.startedAt !== undefined) metrics.ran(now - entry.startedAt)
      metrics.ended(entry.state, entry.failure?.reason ?? "")
    }
  }
  const trace = ({ attempt, failure, span, state }: Entry) => {
    const nanos = clock.unsafeCurrentTimeNanos()
    span!.event(state, nanos, { attempt, ...(failure === undefined ? {} : { reason: failure.reason }) })
    if (!isTerminal(state)) return
    span!.attribute("task.state", state)
    span!.attribute("task.attempts", attempt)
    span!.end(nanos, endOf(state, failure))
  }

  return (entry: Entry, machine: Machine<Entry>): void => {
    const time = clock.unsafeCurrentTimeMillis()
    if (entry.state === "NEW") entry.acceptedAt = time
    measure(entry, time, machine)
    if (entry.span !== undefined) trace(entry)
    if (!events.wanted) return
    events.publish({
      _tag: "StateChange",
      uid: entry.uid,
      task: entry.name,
      state: entry.state,
      attempt: entry.attempt,
      time,
      ...(reasoned.has(entry.state) ? why(entry) : undefined)
    })
  }
}
