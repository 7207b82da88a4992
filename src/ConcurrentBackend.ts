/**
 * Runs tasks on this machine: executables as child processes, functions in this process, at most `maxWorkers` at a
 * time. The default backend, for a laptop, one node, or beside an engine that runs other kinds.
 *
 * Programs are started by launch agents, where a Python 3.8 or later is found, else by Node. Each has a session of its
 * own; when its task is cancelled, times out or its layer closes, its whole tree gets TERM, after `forceKillAfter` KILL, and
 * is gone before the outcome is reported. It inherits the environment that this process had when the layer was built, with
 * the task's changes and RHAPSODY_TASK_UID, RHAPSODY_ATTEMPT and, with a sandbox, RHAPSODY_SANDBOX.
 *
 * @example
 * ```ts
 * import { Config, Effect } from "effect"
 * import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
 *
 * const Hostname = Task.executable("Hostname", { command: () => ({ executable: "hostname" }) })
 * const Backend = ConcurrentBackend.layerConfig({ maxWorkers: Config.integer("WORKERS") })
 *
 * export const program = ExecutionBackend.execute(Hostname.make()).pipe(Effect.provide(Backend))
 * ```
 */

import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Backend from "./Backend.js"
import * as Defaults from "./Defaults.js"
import * as Driver from "./Driver.js"
import type { ConfigurationError } from "./Errors.js"
import type * as ExecutionBackend from "./ExecutionBackend.js"
import { defaultsOf, limitChecks, limitsIn } from "./internal/engine/submit/limits.js"
import type { Checks } from "./internal/options/values.js"
import { count, duration, fields, millisOf, oneOf, some, text } from "./internal/options/values.js"
import type { Launcher } from "./internal/process/launcher.js"
import { checkPaths, noOwnPath } from "./internal/process/ownPaths.js"
import { instanceDirectory, runExecutable } from "./internal/process/run.js"
import * as launchers from "./internal/process/select.js"
import { settings as makeSettings } from "./TaskOptions.js"

const type = Defaults.BackendType.CONCURRENT

/** The kinds of this version. */
export type Kinds = "executable" | "function"
const allKinds: ReadonlyArray<Kinds> = ["executable", "function"]

export interface Options<K extends Kinds = Kinds> extends Backend.Options {
  /** Tasks at the same time. Default `Defaults.maxWorkers`: 4. */
  readonly maxWorkers?: number | undefined
  /** Runs only these, so that another layer can serve the others. Default: all. */
  readonly kinds?: ReadonlyArray<K> | undefined
  /**
   * Of a long queue, so many programs are handed to the launch agents before there are slots for them, so that a slot is
   * not idle between two of them. Equals may overtake each other by as many then. Those with a timeout are not handed
   * over early. Default 3 times `maxWorkers`, at most 64; 0: none.
   */
  readonly prefetch?: number | undefined
  /** Between TERM and KILL. Default 5 seconds. */
  readonly forceKillAfter?: Duration.DurationInput | undefined
  /**
   * What starts programs: launch agents, Node itself, or agents where a Python 3.8 or later is found (`"auto"`, the
   * default; that Node was taken is logged once).
   */
  readonly launcher?: "auto" | "agent" | "node" | undefined
  /** The Python for launch agents. Default: the first suitable one of the usual names. */
  readonly python?: string | undefined
  /**
   * Where tasks with `sandbox: true` get their directories: each instance of this backend makes one of its own there, such
   * as `run.0f3b6c2a91d4`, and in it one for each task. Default `rhapsody.sandboxes` in the current directory.
   */
  readonly sandboxRoot?: string | undefined
}

/** Read as milliseconds, which are a duration too: so they are written. */
const Grace = Schema.transform(
  Schema.declare((u): u is Duration.DurationInput => millisOf(u) !== undefined, {
    message: () => 'must be a duration such as "30 seconds"'
  }),
  Schema.JsonNumber,
  // longer than any program runs, where there is no end
  { strict: true, decode: (given) => Math.min(millisOf(given)!, Number.MAX_SAFE_INTEGER), encode: (millis) => millis }
)

/** Settings of a task that only this backend understands: its own `forceKillAfter`. */
export const settings = makeSettings(type, Schema.Struct({ forceKillAfter: Schema.optional(Grace) }))
type Settings = { readonly forceKillAfter?: number | undefined }

/** Resources mean nothing here: a task is a slot. */
const honours: ReadonlyArray<Driver.HonouredOption> = Driver.programOptions

const run =
  (launcher: Launcher, forceKillAfter: number, sandboxRoot: string): Driver.SlotDriver<Kinds>["run"] =>
  (spec, hooks) => {
    const { work } = spec
    if (work._tag === "function") return Effect.zipRight(hooks.executing, Driver.runHandler(spec, hooks))
    const own = (spec.settings as Settings | undefined)?.forceKillAfter
    return runExecutable(launcher, spec, work, hooks, { sandboxRoot, grace: own ?? forceKillAfter })
  }

const checks: Checks<Options> = {
  ...limitChecks,
  maxWorkers: count(1),
  kinds: some("kinds", allKinds),
  prefetch: count(),
  forceKillAfter: duration(),
  launcher: oneOf("auto", "agent", "node"),
  python: noOwnPath(text("the name or path of a Python", false)),
  sandboxRoot: noOwnPath(text("the path of a directory", false))
}
const optionFields = fields(checks, "an option of ConcurrentBackend")

/** The driver alone: to put something of your own around `run`. */
export const driver = <const K extends Kinds = Kinds>(
  options: Options<K> = {}
): Effect.Effect<Driver.SlotDriver<K>, ConfigurationError, Scope.Scope> =>
  Effect.gen(function* () {
    const wrong = optionFields("", options)
    if (wrong !== undefined) return yield* wrong
    const { maxWorkers = (yield* defaultsOf).maxWorkers } = options
    const forceKillAfter = millisOf(options.forceKillAfter ?? "5 seconds")!
    const {
      prefetch = Math.min(3 * maxWorkers, 64),
      launcher: choice = "auto",
      sandboxRoot = "rhapsody.sandboxes"
    } = options
    const launcher = yield* launchers.make({
      launcher: choice,
      python: options.python,
      width: maxWorkers
    })
    return {
      type,
      kinds: options.kinds?.slice() ?? (allKinds as ReadonlyArray<K>),
      concurrency: maxWorkers,
      reportsExecuting: true,
      // stopping a program is bounded by the launcher; a handler may do as it likes
      boundedStop: ["executable" as K],
      prefetch: {
        count: prefetch,
        takes: ({ work }) => work._tag === "executable" && !work.capture.streaming && work.capture.overflow !== "spill"
      },
      settings,
      honours,
      check: ({ work }) =>
        work._tag === "executable" ? Effect.zipRight(checkPaths(work), launcher.check(work)) : Effect.void,
      run: run(launcher, forceKillAfter, instanceDirectory(sandboxRoot)),
      forceStop: launcher.kill
    } satisfies Driver.SlotDriver<K>
  })

export const layer = <const K extends Kinds = Kinds>(
  options: Options<K> = {}
): Layer.Layer<ExecutionBackend.ExecutionBackend<K>, ConfigurationError> =>
  Backend.layer(driver(options), limitsIn(options))

/** The same with options from `Config`, each on its own or all together. */
export const layerConfig = <const K extends Kinds = Kinds>(
  options: Config.Config.Wrap<Options<K>>
): Layer.Layer<ExecutionBackend.ExecutionBackend<K>, ConfigurationError | ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), (options) => layer(options as Options<K>)))
