/** What the suite is given, and what it consists of. */
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Backend from "../../Backend.js"
import type { Kind, Options, Service } from "../../Task.js"
import type { Make } from "./work.js"

/** One thing that a backend must do. It fails where the backend does not. */
export interface Case {
  /** Short and stable: waivers and tables name it. */
  readonly id: string
  readonly title: string
  readonly run: Effect.Effect<unknown, unknown>
}

/** Why a backend does not do what a case asks, and, where it refuses, the proof that it does so with a typed error. */
export interface Waiver {
  readonly reason: string
  readonly refusal?: Effect.Effect<unknown, unknown> | undefined
}

/** A backend under test. */
export interface Subject {
  readonly name: string
  readonly kinds: ReadonlyArray<Kind>
  /** A new backend for each case, with the limits that the case asks for, and the handler of its work if it has one. */
  readonly layer: (options?: Backend.Options) => Layer.Layer<any, unknown>
  /**
   * The task that does as its payload says: `ExecutableWork.make`, `FunctionWork.make`, or one of the backend's own,
   * which does what `behave` does.
   */
  readonly work: Make
  /** It starts real programs on this machine: then the cases of processes apply. */
  readonly programs?: boolean | undefined
  /** Tasks at the same time, where the others wait for a slot. Default: all that it gets. */
  readonly slots?: number | undefined
  /** Kills its engine under a layer of it, for an engine that can be lost. */
  readonly failEngine?: Effect.Effect<unknown, unknown, any> | undefined
  /** Options of tasks that change how its engine treats them: the case of secrets runs with each of them as well. */
  readonly options?: ReadonlyArray<Options<any>> | undefined
  /** A service that becomes ready, from a backend that runs the kind `"service"`. */
  readonly service?: Service<unknown, unknown, any> | undefined
  /**
   * A command that runs one task and ends in order on SIGTERM, as `NodeRuntime.runMain` does: `sh -c` of the script in
   * its variable `RHAPSODY_SCRIPT`; without one, a tree of processes of which two sleep for ever, by `sleep`, one of them in a session of its own.
   */
  readonly orchestrator?: readonly [executable: string, ...args: ReadonlyArray<string>] | undefined
  /** By the id of the case. */
  readonly waivers?: Readonly<Record<string, Waiver>> | undefined
}
