/**
 * Answers every task at once and runs nothing: for dry runs of a campaign, and to measure what the library itself costs.
 * An executable "exits" with 0 and an empty standard output; a task of any other kind gets its payload back, so it
 * succeeds where the success schema reads what the payload schema writes. `answer` replaces both. An answer that the
 * success schema refuses ends as `TaskError` InvalidResult.
 *
 * Everything else is as on any backend: payloads are encoded, options checked, states and events reported. No program is
 * looked for and no handler is needed: the layer claims those of all function tasks. To write tests, see `TestBackend`.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { ExecutionBackend, NoopBackend, Task } from "effect-rhapsody"
 *
 * const Count = Task.executable("Count", {
 *   payload: { file: Schema.String },
 *   success: Schema.NumberFromString,
 *   command: ({ file }) => ({ executable: "wc", args: ["-l", file] })
 * })
 *
 * // 7, and no `wc` was started
 * export const program = ExecutionBackend.execute(Count.make({ file: "data.csv" })).pipe(
 *   Effect.provide(NoopBackend.layer({ answer: () => "7" }))
 * )
 * ```
 */

import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Backend from "./Backend.js"
import * as Driver from "./Driver.js"
import type { ConfigurationError } from "./Errors.js"
import type * as ExecutionBackend from "./ExecutionBackend.js"
import { limitChecks, limitsIn } from "./internal/engine/submit/limits.js"
import type { Checks } from "./internal/options/values.js"
import { callback, fields } from "./internal/options/values.js"
import type * as Task from "./Task.js"

/** All but services, which are there to be talked to. */
export type Kinds = Exclude<Task.Kind, "service">
const kinds: ReadonlyArray<Kinds> = ["executable", "function", "worker", "python"]

export interface Options extends Backend.Options {
  /**
   * The answer to an attempt, encoded with the success schema; for an executable its standard output, text or bytes.
   * Or an Effect of it, whose failure is the task's own error, encoded. What it throws ends the task as `TaskError`
   * Defect. Default: `""` for an executable, the payload for the others.
   */
  readonly answer?: ((spec: Driver.Spec<Kinds>) => unknown) | undefined
  /** Settings of the backend that this one stands for, e.g. `ConcurrentBackend.settings`. Default: none are taken. */
  readonly settings?: Task.SettingsConstructor<never> | undefined
}

const exited = (stdout: unknown): Driver.Outcome =>
  typeof stdout === "string" || stdout instanceof Uint8Array
    ? Driver.Outcome.exited({ exitCode: 0, stdout })
    : { _tag: "Invalid", reason: "InvalidResult", message: `an executable prints text or bytes, not ${typeof stdout}` }

const silent = Effect.succeed(exited(""))

const run = (answer: Options["answer"]): Driver.SlotDriver<Kinds>["run"] =>
  answer === undefined
    ? ({ payload, work }) => (work._tag === "executable" ? silent : Effect.succeed(Driver.Outcome.success(payload)))
    : (spec) => {
        const answered = answer(spec)
        const outcome = spec.work._tag === "executable" ? exited : Driver.Outcome.success
        return Effect.isEffect(answered)
          ? Effect.match(answered as Effect.Effect<unknown, unknown>, {
              onSuccess: outcome,
              onFailure: Driver.Outcome.failure
            })
          : Effect.succeed(outcome(answered))
      }

/**
 * The driver alone: to put something of your own around `run`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { Backend, NoopBackend } from "effect-rhapsody"
 *
 * const inner = NoopBackend.driver()
 *
 * // a dry run that takes as long as the programs would
 * export const SlowNoop = Backend.layer({
 *   ...inner,
 *   run: (spec, hooks) => Effect.delay(inner.run(spec, hooks), "1 second")
 * })
 * ```
 */
export const driver = ({ answer, settings }: Options = {}): Driver.SlotDriver<Kinds> => ({
  type: "noop",
  kinds,
  concurrency: "unbounded",
  // as the backend that it stands for would
  honours: Driver.everyOption,
  // an answer may not heed its interruption
  ...(answer === undefined ? { boundedStop: kinds } : {}),
  // never called, for `run` asks no handler
  handler: (task) => ({ task, run: (payload) => Effect.succeed(Driver.Outcome.success(payload)) }),
  ...(settings === undefined ? {} : { settings }),
  run: run(answer)
})

const checks: Checks<Options> = { ...limitChecks, answer: callback, settings: callback }
const optionFields = fields(checks, "an option of NoopBackend")

/** What the layer stands for: a backend, and the handlers of all function tasks. */
export type Provides = ExecutionBackend.ExecutionBackend<Kinds> | Task.Handler<string>

/** Any number of tasks at the same time. Fails with `ConfigurationError` when a limit cannot be honoured. */
export const layer = (options: Options = {}): Layer.Layer<Provides, ConfigurationError> =>
  // the driver stands in for every handler, which no context could hold
  Backend.layer(
    Effect.suspend(() => optionFields("", options) ?? Effect.succeed(driver(options))),
    limitsIn(options)
  ) as Layer.Layer<any, ConfigurationError>

/** The same with options from `Config`, each on its own or all together. */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Provides, ConfigurationError | ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(options), (options) => layer(options as Options)))
