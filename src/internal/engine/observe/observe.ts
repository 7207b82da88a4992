/** What is reported of each change of state: the event, the metrics, the span. */
import type * as Clock from "effect/Clock"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import { isTaskError } from "../../../Errors.js"
import type { StateChange, TaskState } from "../../../TaskState.js"
import { isTerminal } from "../../../TaskState.js"
import type { TaskRecord } from "../run/taskRecord.js"
import type { Scheduler } from "../scheduler/scheduler.js"
import type { Events } from "./events.js"
import * as Telemetry from "./telemetry.js"

const reasoned = new Set<TaskState>(["RETRYING", "FAILED", "CANCELED"])

const why = ({ failure, stopped }: TaskRecord): Partial<StateChange> => ({
  ...(failure === undefined ? undefined : { reason: failure.reason }),
  ...(isTaskError(failure) && failure.exitCode !== undefined ? { exitCode: failure.exitCode } : undefined),
  ...(isTaskError(failure) && failure.signal !== undefined ? { signal: failure.signal } : undefined),
  ...(stopped ? undefined : { stopped })
})

/** Of a span. A user's own error is named, not shown: it may hold secrets. */
const endOf = (state: TaskState, failure: TaskRecord["failure"]): Exit.Exit<void, unknown> => {
  if (state === "COMPLETED") return Exit.void
  return failure === undefined && state === "CANCELED"
    ? Exit.interrupt(FiberId.none)
    : Exit.fail(failure ?? "the task failed with an error of its own")
}

export const make = (backend: string, events: Events, clock: Clock.Clock) => {
  const metrics = Telemetry.metrics(backend)

  const measure = (record: TaskRecord, now: number, scheduler: Scheduler<TaskRecord>) => {
    metrics.queued(scheduler.queued)
    metrics.active(scheduler.active)
    if (record.state === "EXECUTING") {
      if (record.startedAt === undefined) metrics.waited(now - record.acceptedAt)
      record.startedAt = now
    } else if (isTerminal(record.state)) {
      if (record.startedAt !== undefined) metrics.ran(now - record.startedAt)
      metrics.ended(record.state, record.failure?.reason ?? "")
    }
  }
  const trace = ({ attempt, failure, span, state }: TaskRecord) => {
    const nanos = clock.unsafeCurrentTimeNanos()
    span!.event(state, nanos, { attempt, ...(failure === undefined ? {} : { reason: failure.reason }) })
    if (!isTerminal(state)) return
    span!.attribute("task.state", state)
    span!.attribute("task.attempts", attempt)
    span!.end(nanos, endOf(state, failure))
  }

  return (record: TaskRecord, scheduler: Scheduler<TaskRecord>): void => {
    const time = clock.unsafeCurrentTimeMillis()
    if (record.state === "NEW") record.acceptedAt = time
    measure(record, time, scheduler)
    if (record.span !== undefined) trace(record)
    if (!events.wanted) return
    events.publish({
      _tag: "StateChange",
      backend,
      uid: record.uid,
      task: record.name,
      state: record.state,
      attempt: record.attempt,
      time,
      ...(reasoned.has(record.state) ? why(record) : undefined)
    })
  }
}
