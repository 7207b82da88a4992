/**
 * The states of a task and of a backend, which state may follow which, and the events that report it.
 *
 * ```
 * NEW -> WAITING -> READY -> EXECUTING -> COMPLETED | FAILED | CANCELED
 *           ^                    |
 *           +----- RETRYING <----+        (an attempt failed and another follows)
 * ```
 */
import * as Schema from "effect/Schema"
import { BackendErrorReason, TaskErrorReason } from "./Errors.js"

export const TaskState = Schema.Literal(
  /** Accepted. */
  "NEW",
  /** Waits for something other than a slot: a dependency, or the delay before another attempt. */
  "WAITING",
  /** Queued for a slot. */
  "READY",
  /** The engine has really started it. */
  "EXECUTING",
  "COMPLETED",
  "FAILED",
  /** An attempt failed and another follows. */
  "RETRYING",
  "CANCELED"
)
export type TaskState = typeof TaskState.Type

/** Which states may follow a state. Everything that moves a task goes through this table. */
export const transitions = {
  NEW: ["WAITING", "READY", "FAILED", "CANCELED"],
  WAITING: ["READY", "FAILED", "CANCELED"],
  // an attempt may fail before it really started: READY -> RETRYING or FAILED
  READY: ["EXECUTING", "RETRYING", "FAILED", "CANCELED"],
  EXECUTING: ["RETRYING", "COMPLETED", "FAILED", "CANCELED"],
  RETRYING: ["WAITING", "FAILED", "CANCELED"],
  COMPLETED: [],
  FAILED: [],
  CANCELED: []
} as const satisfies Record<TaskState, ReadonlyArray<TaskState>>

/** The states that may follow `S`; `never` for a terminal one, so that an illegal step does not compile. */
export type Next<S extends TaskState> = (typeof transitions)[S][number]

export type Terminal = "COMPLETED" | "FAILED" | "CANCELED"

export const isTerminal = (state: TaskState): state is Terminal => transitions[state].length === 0

export const canFollow = (from: TaskState, to: TaskState): boolean =>
  (transitions[from] as ReadonlyArray<TaskState>).includes(to)

/** A task went into another state. Ordered per task; a terminal state is reported exactly once. */
export const StateChange = Schema.TaggedStruct("StateChange", {
  /** Name of the backend: the `name` option of its layer; default the driver's type. */
  backend: Schema.String,
  uid: Schema.String,
  /** Name of the definition. */
  task: Schema.String,
  state: TaskState,
  /** 1 for the first attempt. */
  attempt: Schema.Int,
  /** Milliseconds since the epoch, by the backend's `Clock`. */
  time: Schema.Number,
  /** With RETRYING, FAILED and CANCELED: why, and how the program ended if it did. Absent for a user's own error and an interrupted fiber. */
  reason: Schema.optional(Schema.Union(TaskErrorReason, BackendErrorReason)),
  exitCode: Schema.optional(Schema.Int),
  signal: Schema.optional(Schema.String),
  /** `false` with CANCELED or FAILED: the work could not be stopped within the grace and may still be running. */
  stopped: Schema.optional(Schema.Literal(false))
})
export type StateChange = typeof StateChange.Type

/** This subscriber was slower than its buffer is long: so many events are missing here. */
export const EventsDropped = Schema.TaggedStruct("EventsDropped", {
  /** Name of the backend. */
  backend: Schema.String,
  count: Schema.Int
})
export type EventsDropped = typeof EventsDropped.Type

/**
 * Tasks wait for a slot, and for 30 seconds none of the tasks that hold the slots has run. All of these are function tasks
 * whose handlers wait. If they wait for tasks that are queued here, in a way that the backend does not know of, such as a
 * Deferred, none of them will ever end. Reported once, until something moves.
 */
export const Standstill = Schema.TaggedStruct("Standstill", {
  /** Name of the backend. */
  backend: Schema.String,
  /** Uids of the tasks that hold the slots. */
  tasks: Schema.Array(Schema.String),
  /** Number of tasks that wait for a slot. */
  queued: Schema.Int,
  /** Milliseconds since the epoch, by the backend's `Clock`. */
  time: Schema.Number
})
export type Standstill = typeof Standstill.Type

export const TaskEvent = Schema.Union(StateChange, EventsDropped, Standstill)
export type TaskEvent = typeof TaskEvent.Type

/** What a backend is doing. */
export const BackendStatus = Schema.Literal("INITIALIZED", "RUNNING", "IDLE", "SHUTTING_DOWN", "SHUTDOWN", "FAILED")
export type BackendStatus = typeof BackendStatus.Type

/**
 * `type`: the driver's type; `name`: the `name` option of the layer, default the type; `waiting`: tasks in WAITING; `queued`: tasks that wait for a slot; `active`: tasks that have one; `standstill`: the uids
 * in the last `Standstill`, while it lasts; `details`: facts about the engine, where the driver has some, such as the
 * address of a scheduler.
 */
export const BackendState = Schema.Struct({
  type: Schema.String,
  name: Schema.String,
  status: BackendStatus,
  waiting: Schema.Int,
  queued: Schema.Int,
  active: Schema.Int,
  standstill: Schema.optionalWith(Schema.Array(Schema.String), { exact: true }),
  details: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.String }), { exact: true })
})
export type BackendState = typeof BackendState.Type
