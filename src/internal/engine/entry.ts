/** What the engine keeps of a live task, beside its place in the state machine. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import { globalValue } from "effect/GlobalValue"
import { NodeInspectSymbol } from "effect/Inspectable"
import type { Spec } from "../../Driver.js"
import type { BackendError, TaskError } from "../../Errors.js"
import type { Any } from "../../Task.js"
import type { Handle } from "../../TaskFiber.js"
import { Job } from "./machine.js"
import type { Policy } from "./retry.js"

/** A task that was found good: everything but its uid. */
export interface Prepared {
  readonly task: Any
  readonly uid: string | undefined
  readonly spec: Omit<Spec, "uid" | "attempt">
  readonly retry: Policy | undefined
  /** Milliseconds. */
  readonly timeout: number | undefined
}

export class Entry extends Job implements Handle {
  fiber: Fiber.RuntimeFiber<unknown, unknown> | undefined
  /** Ends the wait for a slot. */
  resume: ((effect: Effect.Effect<void, unknown>) => void) | undefined
  /** Why it was cancelled, by anything but an interruption of its fiber. */
  canceled: string | undefined
  timedOut = false
  stopped = true
  /** Of the last attempt, for the event that tells of it. */
  failure: TaskError | BackendError | undefined
  /** Of the retry policy. */
  memory: unknown
  /** Dropped when the task ends: somebody may keep its fiber for long. */
  prepared: Prepared | undefined

  constructor(
    uid: string,
    prepared: Prepared,
    parent: Job | undefined,
    private readonly stop: (entry: Entry) => Effect.Effect<boolean, BackendError>
  ) {
    super(uid, prepared.task.name, prepared.spec.priority, parent)
    this.prepared = prepared
  }

  get cancel(): Effect.Effect<boolean, BackendError> {
    return Effect.suspend(() => this.stop(this))
  }

  toJSON() {
    return { uid: this.uid, task: this.name, state: this.state, attempt: this.attempt }
  }
  [NodeInspectSymbol]() {
    return this.toJSON()
  }
}

/** The task whose handler runs here: what it submits itself are its children. */
export const currentTask: FiberRef.FiberRef<Entry | undefined> = globalValue("effect-rhapsody/currentTask", () =>
  FiberRef.unsafeMake<Entry | undefined>(undefined)
)
