/**
 * Backends by name: for programs whose user says where to run, in a configuration file or on the command line. A
 * program that knows its backend provides that layer instead, and the compiler checks that it runs its tasks.
 *
 * A registry starts nothing and loads nothing by itself: what a backend needs is loaded when it is chosen or probed.
 *
 * @example
 * ```ts
 * import { Console, Effect } from "effect"
 * import { BackendRegistry, ExecutionBackend, Task } from "effect-rhapsody"
 *
 * const Hostname = Task.executable("Hostname", { command: () => ({ executable: "hostname" }) })
 *
 * export const program = Effect.gen(function*() {
 *   for (const found of yield* BackendRegistry.discover()) {
 *     yield* Console.log(found.name, found.available ? "is available" : found.reason)
 *   }
 *   return yield* ExecutionBackend.execute(Hostname.make()).pipe(
 *     Effect.provide(BackendRegistry.layer("concurrent", { maxWorkers: 2 }))
 *   )
 * }).pipe(Effect.provide(BackendRegistry.layerDefault))
 * ```
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SynchronizedRef from "effect/SynchronizedRef"
import { ConfigurationError } from "./Errors.js"
import { describe } from "./internal/describe.js"
import { defaultsOf } from "./internal/engine/submit/limits.js"
import { copyData } from "./internal/options/copies.js"
import type { Checks } from "./internal/options/values.js"
import { count, duration, fields, flag, nameOf } from "./internal/options/values.js"
import { backends as ours } from "./internal/registry/backends.js"
import { build, checkEntry, probe } from "./internal/registry/entry.js"
import type { Availability, BackendLayer, Chosen, Configs, Entry, Refusal } from "./internal/registry/types.js"

export type { Availability, BackendLayer, Chosen, Configs, Entry, Refusal }

export interface RegisterOptions {
  /** Takes the place of an entry of the same name. Default: false, which refuses. */
  readonly replace?: boolean | undefined
}

export interface DiscoverOptions {
  /** Longest wait for the answer of one probe. Default 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Probes at the same time. Default 4. */
  readonly concurrency?: number | undefined
}

/** What a registry does. The functions of this module of the same names use the registry in the context. */
export interface Service {
  readonly register: <I = {}, A = I>(
    entry: Entry<A, I>,
    options?: RegisterOptions
  ) => Effect.Effect<void, ConfigurationError>
  readonly list: Effect.Effect<ReadonlyArray<string>>
  readonly entries: Effect.Effect<ReadonlyArray<Entry>>
  readonly discover: (options?: DiscoverOptions) => Effect.Effect<ReadonlyArray<Availability>, ConfigurationError>
  readonly layer: (name?: string, options?: unknown) => Layer.Layer<Chosen, Refusal>
}

/** The registry in the context. */
export class BackendRegistry extends Context.Tag("effect-rhapsody/BackendRegistry")<BackendRegistry, Service>() {}

// ------------------------------------------------------------------------------------------------------------- verbs

/**
 * An entry with the types of its options inferred; needed where an entry is not written in the call of `register`.
 *
 * @example
 * ```ts
 * import { Config, Effect, Schema } from "effect"
 * import { Backend, BackendRegistry, Driver } from "effect-rhapsody"
 *
 * export const Echo = BackendRegistry.entry({
 *   name: "echo",
 *   options: Schema.Struct({ slots: Schema.optionalWith(Schema.Int, { default: () => 8 }) }),
 *   // an option, else the variable ECHO_SLOTS, else 8
 *   config: { slots: Config.integer("ECHO_SLOTS").pipe(Config.withDefault(undefined)) },
 *   layer: ({ slots }) =>
 *     Backend.layer({
 *       type: "echo",
 *       kinds: ["executable"],
 *       concurrency: slots,
 *       run: (spec) => Effect.succeed(Driver.Outcome.exited({ exitCode: 0, stdout: spec.name }))
 *     })
 * })
 * export const Registry = BackendRegistry.layerEntries(...BackendRegistry.backends, Echo)
 * ```
 */
export const entry = <I = {}, A = I>(entry: Entry<A, I>): Entry<A, I> => entry

/**
 * Adds a backend. Fails with `ConfigurationError`: DuplicateBackend when the name is taken and `replace` was not asked
 * for, InvalidOption when it is empty.
 *
 * @example
 * ```ts
 * import { BackendRegistry, ConcurrentBackend } from "effect-rhapsody"
 *
 * export const program = BackendRegistry.register({
 *   name: "one-at-a-time",
 *   layer: () => ConcurrentBackend.layer({ maxWorkers: 1 })
 * })
 * ```
 */
export const register = <I = {}, A = I>(
  entry: Entry<A, I>,
  options?: RegisterOptions
): Effect.Effect<void, ConfigurationError, BackendRegistry> =>
  Effect.flatMap(BackendRegistry, (registry) => registry.register(entry, options))

/** The names of all backends, available or not, in the order of registration. */
export const list: Effect.Effect<ReadonlyArray<string>, never, BackendRegistry> = Effect.flatMap(
  BackendRegistry,
  (registry) => registry.list
)

/** The same as entries: for their descriptions, and the schemas of their options. */
export const entries: Effect.Effect<ReadonlyArray<Entry>, never, BackendRegistry> = Effect.flatMap(
  BackendRegistry,
  (registry) => registry.entries
)

/**
 * Probes all backends, some at a time: which of them run here, and why the others do not. A probe that fails, crashes or
 * does not answer in time is a reason and hinders no other. In the order of `list`. Fails with `ConfigurationError`, which
 * names the field, when one of these options cannot be honoured.
 */
export const discover = (
  options?: DiscoverOptions
): Effect.Effect<ReadonlyArray<Availability>, ConfigurationError, BackendRegistry> =>
  Effect.flatMap(BackendRegistry, (registry) => registry.discover(options))

/**
 * The layer of a backend by name; without a name, of `Defaults.backend`. Each call is a backend of its own; the layer
 * it answers with is shared as every layer is.
 *
 * For each option what is given here wins, then the entry's `Config`, then `Defaults`, then the backend's own default.
 *
 * Building it fails with `ConfigurationError` UnknownBackend for a name that is not registered (the message lists those
 * that are), with `ConfigurationError` whose `configKey` is `<name>.<key>` for an option that is unknown or cannot be
 * honoured, with one whose `configKey` is the path of the `Config` that fails (`RHAPSODY.CONCURRENT.MAX_WORKERS`; its
 * cause is the `ConfigError`), and with `BackendError` Unavailable when the backend's modules do not load.
 */
export const layer = (name?: string, options?: unknown): Layer.Layer<Chosen, Refusal, BackendRegistry> =>
  Layer.unwrapEffect(Effect.map(BackendRegistry, (registry) => registry.layer(name, options)))

// ------------------------------------------------------------------------------------------------------------ layers

const refuse = (reason: ConfigurationError["reason"], message: string) =>
  new ConfigurationError({ configKey: "backend", reason, details: { message } })

const discovery: Checks<DiscoverOptions> = { timeout: duration({ positive: true }), concurrency: count(1) }
const discoverFields = fields(discovery, "an option of discover")
const registration: Checks<RegisterOptions> = { replace: flag }
const registerFields = fields(registration, "an option of register")

type Entries = ReadonlyMap<string, Entry>

const added = (known: Entries, given: Entry, replace: boolean): Effect.Effect<Entries, ConfigurationError> => {
  const wrong = checkEntry(given)
  if (wrong !== undefined) return wrong
  const entry = { ...given }
  return known.has(entry.name) && !replace
    ? refuse("DuplicateBackend", `${entry.name} is registered already; choose another name, or say { replace: true }`)
    : Effect.succeed(new Map([...known, [entry.name, entry]]))
}

/** As they are now: the layer may be built later. */
const keep = (options: unknown): Effect.Effect<unknown, ConfigurationError> => {
  try {
    return Effect.succeed(copyData(options))
  } catch (cause) {
    return refuse("InvalidOption", `its options cannot be read: ${describe(cause)}`)
  }
}

const chosen = (entries: Entries, given: string | undefined, options: unknown) =>
  Effect.gen(function* () {
    const name = given ?? (yield* defaultsOf).backend
    if (typeof name !== "string" || name === "") {
      return yield* refuse("InvalidOption", `the name of a backend must be a non-empty string, not ${nameOf(name)}`)
    }
    const entry = entries.get(name)
    if (entry !== undefined) return build(entry, options)
    const known = entries.size === 0 ? "none" : [...entries.keys()].join(", ")
    const origin = given === undefined ? ", which is Defaults.backend," : ""
    return yield* refuse("UnknownBackend", `${name}${origin} is not registered; known: ${known}`)
  })

/** A registry of these entries. Two of the same name are a `ConfigurationError` DuplicateBackend. */
export const layerEntries = (...initial: ReadonlyArray<Entry>): Layer.Layer<BackendRegistry, ConfigurationError> =>
  Layer.effect(
    BackendRegistry,
    Effect.gen(function* () {
      const first: Entries = new Map()
      const all = yield* SynchronizedRef.make(
        yield* Effect.reduce(initial, first, (known, entry) => added(known, entry, false))
      )
      return {
        register: (entry, options = {}) =>
          Effect.suspend(() => {
            const wrong = registerFields("", options)
            if (wrong !== undefined) return wrong
            const { replace = false } = options
            return SynchronizedRef.updateEffect(all, (known) => added(known, entry, replace))
          }),
        list: Effect.map(all, (known) => [...known.keys()]),
        entries: Effect.map(all, (known) => [...known.values()]),
        discover: (options = {}) =>
          Effect.suspend(() => {
            const wrong = discoverFields("", options)
            if (wrong !== undefined) return Effect.fail(wrong)
            const { concurrency = 4, timeout = "10 seconds" } = options
            return Effect.flatMap(all, (known) =>
              Effect.forEach(known.values(), (entry) => probe(entry, timeout), { concurrency })
            )
          }),
        layer: (name, options) => {
          const kept = keep(options)
          return Layer.unwrapEffect(
            Effect.flatMap(all, (known) => Effect.flatMap(kept, (options) => chosen(known, name, options)))
          )
        }
      }
    })
  )

/**
 * The backends of this library: `"concurrent"` and `"noop"`. To have them beside your own: `layer(...backends, yours)`.
 *
 * Their options are read from `Config` too, which are environment variables unless another `ConfigProvider` is set:
 * `RHAPSODY_CONCURRENT_MAX_WORKERS`, `_KINDS` (`executable,function`), `_FORCE_KILL_AFTER` (`5 seconds`), `_LAUNCHER`,
 * `_PYTHON` and `_SANDBOX_ROOT`, and for each of both `_NAME`, `_MAX_ACTIVE_TASKS`, `_MAX_NESTED_TASKS`, `_HISTORY_SIZE`, `_EVENT_BUFFER` and
 * `_STOP_TIMEOUT`, as in `RHAPSODY_NOOP_HISTORY_SIZE`.
 *
 * @example
 * ```ts
 * import { ConfigProvider, Layer } from "effect"
 * import { BackendRegistry, Defaults } from "effect-rhapsody"
 *
 * const settings = ConfigProvider.fromJson({ RHAPSODY: { BACKEND: "concurrent", CONCURRENT: { MAX_WORKERS: 2 } } })
 *
 * // Defaults.layerConfig adds RHAPSODY_BACKEND, and what applies to all backends
 * export const Backend = BackendRegistry.layer().pipe(
 *   Layer.provide([BackendRegistry.layerDefault, Defaults.layerConfig()]),
 *   Layer.provide(Layer.setConfigProvider(settings))
 * )
 * ```
 */
export const backends: ReadonlyArray<Entry> = ours

/** A registry of the backends of this library. Yours are added with `register`. */
export const layerDefault: Layer.Layer<BackendRegistry> = Layer.orDie(layerEntries(...backends))
