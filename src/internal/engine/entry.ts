/** What the engine keeps of a live task, beside its place in the state machine. */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import { globalValue } from "effect/GlobalValue"
import { NodeInspectSymbol } from "effect/Inspectable"
import type * as Tracer from "effect/Tracer"
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
  /** Told of its slot, when it was handed over before it has one. */
  told: ((word: "go" | "hold") => void) | undefined
  /** Why it was told to end, by anything but an interruption of its fiber; an error is what it ends with. */
  canceled: string | BackendError | undefined
  timedOut = false
  stopped = true
  /** Its engine has said how the attempt ended: the loss of that engine changes nothing any more. */
  answered = false
  /** Of the last attempt, for the event that tells of it. */
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
  readonly token: Token = { entry: this }
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

/** Stands for a running task in the fibers of its handler, which may outlive it and must not keep it alive. */
export interface Token {
  entry: Entry | undefined
}

/** The task whose handler runs here: what it submits are its children. Whoever joins such a fiber does not become one. */
export const currentTask: FiberRef.FiberRef<Token | undefined> = globalValue("effect-rhapsody/currentTask", () =>
  FiberRef.unsafeMake<Token | undefined>(undefined, { join: (joiner) => joiner })
)

/**
 * A fiber keeps for each of its refs what every ancestor had set, to find common ancestors when it is joined. Tasks that
 * submit tasks are ancestors without end: of these, the nearest are enough.
 */
export const forgetAncestors = (fiber: Fiber.RuntimeFiber<unknown, unknown>): void => {
  const kept = new Map(
    [...fiber.getFiberRefs().locals].map(([ref, stack]) => [ref, stack.slice(0, ancestors)] as const)
  )
  ;(fiber as any).setFiberRefs(FiberRefs.unsafeMake(kept as any))
}
export const ancestors = 8
