/** The backends of this library, by name. Their modules are imported when they are chosen or probed, not here. */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Record from "effect/Record"
import * as Schema from "effect/Schema"
import type * as ConcurrentBackend from "../../ConcurrentBackend.js"
import type * as DaskBackend from "../../DaskBackend.js"
import { BackendType } from "../../Defaults.js"
import { BackendError } from "../../Errors.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import type * as NoopBackend from "../../NoopBackend.js"
import * as Task from "../../Task.js"
import { integer, span } from "../options/config.js"
import type { Check } from "../options/values.js"
import { duration, millisOf, mustBe } from "../options/values.js"
import type { Entry } from "./types.js"

const DurationInput = Schema.declare((u): u is Duration.DurationInput => millisOf(u) !== undefined, {
  message: () => `must be a duration such as "5 seconds", or milliseconds`
})

const isNumber: Check = (key, value) => (Number.isFinite(value) ? undefined : mustBe(key, "a number", value))

// Shapes alone: which values make sense is for the backend to say, in one place.
const limits = {
  name: Schema.optional(Schema.String),
  maxActiveTasks: Schema.optional(Schema.Number),
  maxNestedTasks: Schema.optional(Schema.Number),
  historySize: Schema.optional(Schema.Number),
  eventBuffer: Schema.optional(Schema.Number),
  stopTimeout: Schema.optional(DurationInput)
}

/** `RHAPSODY_CONCURRENT_MAX_WORKERS` and the like; what is not there is not said. */
const variable = <A>(backend: string, config: Config.Config<A>) =>
  config.pipe(Config.nested(backend), Config.nested("RHAPSODY"), Config.withDefault(undefined))
const under = (backend: string, configs: Record<string, Config.Config<unknown>>) =>
  Record.map(configs, (config) => variable(backend, config))
const limitConfigs: Record<string, Config.Config<unknown>> = {
  name: Config.string("NAME"),
  maxActiveTasks: integer("MAX_ACTIVE_TASKS", isNumber),
  maxNestedTasks: integer("MAX_NESTED_TASKS", isNumber),
  historySize: integer("HISTORY_SIZE", isNumber),
  eventBuffer: integer("EVENT_BUFFER", isNumber),
  stopTimeout: span("STOP_TIMEOUT", duration())
}

const Version = Task.executable("Version", {
  command: () => ({ executable: process.execPath, args: ["--version"] })
})

const concurrent = (): Promise<typeof ConcurrentBackend> => import("../../ConcurrentBackend.js")

const Concurrent: Entry<ConcurrentBackend.Options, any> = {
  name: BackendType.CONCURRENT,
  description: "executables and functions on this machine",
  options: Schema.Struct({
    ...limits,
    maxWorkers: Schema.optional(Schema.Number),
    prefetch: Schema.optional(Schema.Number),
    // any kind here, because the backend itself refuses the kinds that it does not run
    kinds: Schema.optional(Schema.Array(Task.Kind as unknown as Schema.Schema<ConcurrentBackend.Kinds>)),
    forceKillAfter: Schema.optional(DurationInput),
    launcher: Schema.optional(Schema.Literal("auto", "agent", "node")),
    python: Schema.optional(Schema.String),
    sandboxRoot: Schema.optional(Schema.String)
  }),
  config: under("CONCURRENT", {
    ...limitConfigs,
    maxWorkers: integer("MAX_WORKERS", isNumber),
    prefetch: integer("PREFETCH", isNumber),
    kinds: Config.array(Config.string(), "KINDS"),
    forceKillAfter: span("FORCE_KILL_AFTER", duration()),
    launcher: Config.string("LAUNCHER"),
    python: Config.string("PYTHON"),
    sandboxRoot: Config.string("SANDBOX_ROOT")
  }),
  layer: (options) => concurrent().then(({ layer }) => layer(options)),
  // A system that starts no processes is found out by starting one: the program that surely is there.
  probe: Effect.gen(function* () {
    const { layer } = yield* Effect.promise(concurrent)
    const python = yield* variable("CONCURRENT", Config.string("PYTHON"))
    const start = (options: ConcurrentBackend.Options) =>
      Effect.provide(ExecutionBackend.execute(Version.make()), layer({ maxWorkers: 1, ...options }))
    return yield* start({ launcher: "agent", ...(python === undefined ? {} : { python }) }).pipe(
      Effect.asVoid,
      Effect.catchTag("ConfigurationError", ({ message }) =>
        Effect.as(start({ launcher: "node" }), `launches through Node, slower and less exact: ${message}`)
      )
    )
  }).pipe(
    Effect.mapError(
      (cause) =>
        new BackendError({
          backendType: BackendType.CONCURRENT,
          reason: "Unavailable",
          details: { message: `it starts no programs: ${cause.message}` },
          cause
        })
    )
  )
}

const dask = (): Promise<typeof DaskBackend> => import("../../DaskBackend.js")

const Dask: Entry<DaskBackend.Options, any> = {
  name: BackendType.DASK,
  description: "executables and Python functions on the workers of a Dask cluster, its own or one that runs",
  options: Schema.Struct({
    ...limits,
    address: Schema.optional(Schema.String),
    ca: Schema.optional(Schema.String),
    cert: Schema.optional(Schema.String),
    key: Schema.optional(Schema.String),
    insecure: Schema.optional(Schema.Boolean),
    workers: Schema.optional(Schema.Number),
    threadsPerWorker: Schema.optional(Schema.Number),
    memoryLimit: Schema.optional(Schema.Union(Schema.Number, Schema.String)),
    workerResources: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Number })),
    processes: Schema.optional(Schema.Boolean),
    dashboardAddress: Schema.optional(Schema.String),
    python: Schema.optional(Schema.String),
    path: Schema.optional(Schema.Array(Schema.String)),
    kinds: Schema.optional(Schema.Array(Task.Kind as unknown as Schema.Schema<DaskBackend.Kinds>)),
    forceKillAfter: Schema.optional(DurationInput),
    onUncancellable: Schema.optional(Schema.Literal("wait", "abandon", "restart")),
    resultLimit: Schema.optional(Schema.Number),
    connectTimeout: Schema.optional(DurationInput),
    noWorkersTimeout: Schema.optional(DurationInput),
    sandboxRoot: Schema.optional(Schema.String)
  }),
  config: under("DASK", {
    ...limitConfigs,
    address: Config.string("ADDRESS"),
    ca: Config.string("CA"),
    cert: Config.string("CERT"),
    key: Config.string("KEY"),
    insecure: Config.boolean("INSECURE"),
    workers: integer("WORKERS", isNumber),
    threadsPerWorker: integer("THREADS_PER_WORKER", isNumber),
    memoryLimit: Config.string("MEMORY_LIMIT"),
    processes: Config.boolean("PROCESSES"),
    dashboardAddress: Config.string("DASHBOARD_ADDRESS"),
    python: Config.string("PYTHON"),
    path: Config.array(Config.string(), "PATH"),
    kinds: Config.array(Config.string(), "KINDS"),
    forceKillAfter: span("FORCE_KILL_AFTER", duration()),
    onUncancellable: Config.string("ON_UNCANCELLABLE"),
    resultLimit: integer("RESULT_LIMIT", isNumber),
    connectTimeout: span("CONNECT_TIMEOUT", duration()),
    noWorkersTimeout: span("NO_WORKERS_TIMEOUT", duration()),
    sandboxRoot: Config.string("SANDBOX_ROOT")
  }),
  layer: (options) => dask().then(({ layer }) => layer(options)),
  // What is configured is asked; else the smallest cluster there can be, inside of the one process of the bridge.
  probe: Effect.gen(function* () {
    const { driver } = yield* Effect.promise(dask)
    const text = (name: string) => variable("DASK", Config.string(name))
    const [address, python] = yield* Effect.all([text("ADDRESS"), text("PYTHON")])
    const [ca, cert, key] = yield* Effect.all([text("CA"), text("CERT"), text("KEY")])
    const insecure = yield* variable("DASK", Config.boolean("INSECURE"))
    const options: Record<string, unknown> =
      address === undefined
        ? { insecure, python, processes: false, workers: 1, threadsPerWorker: 1 }
        : { address, ca, cert, key, python }
    yield* Effect.scoped(driver(Record.filter(options, (value) => value !== undefined) as DaskBackend.Options))
  }).pipe(
    Effect.mapError(
      (cause) =>
        new BackendError({
          backendType: BackendType.DASK,
          reason: "Unavailable",
          details: { message: cause.message },
          cause
        })
    )
  )
}

// Its other options are functions, which a configuration cannot hold.
const Noop: Entry<NoopBackend.Options, any> = {
  name: "noop",
  description: "answers every task at once and runs nothing, for dry runs",
  options: Schema.Struct(limits),
  config: under("NOOP", limitConfigs),
  layer: (options) => import("../../NoopBackend.js").then(({ layer }) => layer(options))
}

/** All of them; not the one for tests, which means nothing without its stubs. */
export const backends: ReadonlyArray<Entry> = [Concurrent, Dask, Noop]
