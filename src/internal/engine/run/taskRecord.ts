/** What the engine keeps of a live task, beside its place in the scheduler. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { NodeInspectSymbol } from "effect/Inspectable"
import type * as Tracer from "effect/Tracer"
import type { LocalHooks, ProcessExit, TaskSpec } from "../../../Driver.js"
import type { BackendError, TaskError } from "../../../Errors.js"
import type { Any, Submittable } from "../../../Task.js"
import type { Handle } from "../../../TaskFiber.js"
import { Job } from "../scheduler/scheduler.js"
import type { Policy } from "./retry.js"

/** A task that was found good: everything but its uid. */
export interface Prepared {
  readonly task: Any
  readonly uid: string | undefined
  readonly instance: Submittable
  /** As the definition's own functions see it: with its defaults, not encoded. */
  readonly payload: unknown
  readonly spec: TaskSpec
  /** What the driver gets beside the spec. */
  readonly hooks: LocalHooks
  readonly retry: Policy | undefined
  /** Milliseconds. */
  readonly timeout: number | undefined
}

/** What a task's own fiber asks of the backend. */
interface Owner {
  readonly cancel: (record: TaskRecord) => Effect.Effect<boolean, BackendError>
  readonly awaiting: <A>(record: TaskRecord, end: Effect.Effect<A>) => Effect.Effect<A>
}

/** Stands for a running task in the fibers of its handler, which may outlive it and must not keep it alive. */
export class Token {
  /** How often a fiber of the handler has run: a handler that only waits does not run. */
  turns = 0
  /** Serial number of the fiber that runs the handler. */
  fiber = 0
  constructor(public record: TaskRecord | undefined) {}
}

export class TaskRecord extends Job implements Handle {
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
  /** Ends the wait for a slot. */
  resume: ((effect: Effect.Effect<void, unknown>) => void) | undefined
  /** Called about its slot, when it was handed over before it has one. */
  onPermission: ((word: "go" | "hold") => void) | undefined
  /** Why it was asked to end, by anything but an interruption of its fiber; an error is what it ends with. */
  canceled: string | BackendError | undefined
  /** How its program ended when it was asked to stop. */
  remains: ProcessExit | undefined
  timedOut = false
  /** A call of `awaitAll` waits for it. */
  awaited = false
  stopped = true
  /** Its engine has said how the attempt ended: the loss of that engine changes nothing any more. */
  answered = false
  /** Of the last attempt, for the event that reports it. */
  failure: TaskError | BackendError | undefined
  /** Milliseconds since the epoch. */
  acceptedAt = 0
  startedAt: number | undefined
  /** Where a tracer is installed. */
  span: Tracer.Span | undefined
  /** Of a service: called with its decoded info when it is ready. */
  ready: ((info: unknown) => void) | undefined
  /** It was ready: what ends it now is no reason to start it again. */
  served = false
  /** Of the retry policy. */
  memory: unknown
  readonly token = new Token(this)
  /** Dropped when the task ends, because the program may keep its fiber for long. */
  prepared: Prepared | undefined

  constructor(
    uid: string,
    prepared: Prepared,
    parent: Job | undefined,
    private readonly owner: Owner
  ) {
    super(uid, prepared.task.name, prepared.spec.priority, parent)
    this.prepared = prepared
  }

  get cancel(): Effect.Effect<boolean, BackendError> {
    return Effect.suspend(() => this.owner.cancel(this))
  }
  awaiting<A>(end: Effect.Effect<A>): Effect.Effect<A> {
    return this.owner.awaiting(this, end)
  }

  toJSON() {
    return { uid: this.uid, task: this.name, state: this.state, attempt: this.attempt }
  }
  [NodeInspectSymbol]() {
    return this.toJSON()
  }
}
