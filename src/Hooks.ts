/** What a driver gets beside the spec of an attempt: what lives in this process alone, and no spec can hold. */
import * as Effect from "effect/Effect"
import type * as Tracer from "effect/Tracer"
import type { Outcome, ProcessExit } from "./Outcome.js"
import type { Secrets, Spec } from "./Spec.js"
import type { HandlerService } from "./TaskDefinition.js"
import type { Capture } from "./TaskOptions.js"

/** What of a task lives in this process alone. A driver that runs it elsewhere brings across what it needs. */
export interface LocalHooks {
  /** Of a function: its handler. `runHandler(spec, hooks)` calls it. */
  readonly handler: HandlerService | undefined
  /** Of a program whose `capture.streaming` is true: takes what it prints while it runs. */
  readonly onChunk: Capture["onChunk"]
  /** The values of the variables that the spec has as `Secret`. */
  readonly secrets: Secrets
  /** The span of the task, where a tracer is installed. `run` is called within it. */
  readonly span: Tracer.Span | undefined
}

/** What only the driver can know while it runs an attempt. */
export interface AttemptReporter {
  /** The work has really started. Needed only from a driver with `reportsExecuting`. */
  readonly executing: Effect.Effect<void>
  /** The same, for callbacks. */
  readonly unsafeExecuting: () => void
  /**
   * How a program ended that was stopped by interruption: call it before `run` returns. The error of the task then says
   * how long the program ran and what it printed last.
   */
  readonly stopped: ((exit: ProcessExit) => void) | undefined
  /** Of an attempt that was handed over before there is a slot for it: see `SlotDriver.prefetch`. */
  readonly early: Early | undefined
}

/** The second argument of `run`. */
export interface SlotHooks extends LocalHooks, AttemptReporter {}

/**
 * An attempt without a slot. It starts when the word is `go`; or when the driver lets it take the place of a program
 * that has ended, unless the word is `hold`: then, too, it waits for `go`. A driver that lets it start reports `executing`
 * before the other one's `run` returns.
 */
export interface Early {
  /** The last word; `wait` until there was one. */
  readonly permission: "wait" | "hold" | "go"
  /** Calls with each word from now on. */
  readonly listen: (changed: (word: "hold" | "go") => void) => void
}

/** Runs a function task in this process, by its handler. */
export const runHandler = (
  { attempt, name, payload, uid }: Pick<Spec, "attempt" | "name" | "payload" | "uid">,
  { handler }: Pick<LocalHooks, "handler">
): Effect.Effect<Outcome> =>
  handler === undefined
    ? Effect.dieMessage(`task ${name} has no handler: it is not a function, or its spec comes from another process`)
    : handler.run(payload, { uid, attempt })
