/** The backends of this library, by name. Their modules are imported when they are chosen or probed, not here. */
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Record from "effect/Record"
import * as Schema from "effect/Schema"
import type { Entry } from "../../BackendRegistry.js"
import type * as ConcurrentBackend from "../../ConcurrentBackend.js"
import type * as DaskBackend from "../../DaskBackend.js"
import { BackendType } from "../../Defaults.js"
import { BackendError } from "../../Errors.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import type * as NoopBackend from "../../NoopBackend.js"
import * as Task from "../../Task.js"

const DurationInput = Schema.declare((u): u is Duration.DurationInput => Option.isSome(Duration.decodeUnknown(u)), {
  message: () => `must be a duration such as "5 seconds", or milliseconds`
})

// Shapes alone: which values make sense is for the backend to say, in one place.
const limits = {
  admission: Schema.optionalWith(Schema.Number, { exact: true }),
  nestedAdmission: Schema.optionalWith(Schema.Number, { exact: true }),
  history: Schema.optionalWith(Schema.Number, { exact: true }),
  eventBuffer: Schema.optionalWith(Schema.Number, { exact: true }),
  stopGrace: Schema.optionalWith(DurationInput, { exact: true })
}

/** `RHAPSODY_CONCURRENT_MAX_WORKERS` and the like; what is not there is not said. */
const variable = <A>(backend: string, config: Config.Config<A>) =>
  config.pipe(Config.nested(backend), Config.nested("RHAPSODY"), Config.withDefault(undefined))
const under = (backend: string, configs: Record<string, Config.Config<unknown>>) =>
  Record.map(configs, (config) => variable(backend, config))
const limitConfigs: Record<string, Config.Config<unknown>> = {
  admission: Config.integer("ADMISSION"),
  nestedAdmission: Config.integer("NESTED_ADMISSION"),
  history: Config.integer("HISTORY"),
  eventBuffer: Config.integer("EVENT_BUFFER"),
  stopGrace: Config.duration("STOP_GRACE")
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
    maxWorkers: Schema.optionalWith(Schema.Number, { exact: true }),
    ahead: Schema.optionalWith(Schema.Number, { exact: true }),
    // any kind here, for the backend tells those that it runs
    kinds: Schema.optionalWith(Schema.Array(Task.Kind as unknown as Schema.Schema<ConcurrentBackend.Kinds>), {
      exact: true
    }),
    killGrace: Schema.optionalWith(DurationInput, { exact: true }),
    launcher: Schema.optionalWith(Schema.Literal("auto", "agent", "node"), { exact: true }),
    python: Schema.optionalWith(Schema.String, { exact: true }),
    sandboxes: Schema.optionalWith(Schema.String, { exact: true })
  }),
  config: under("CONCURRENT", {
    ...limitConfigs,
    maxWorkers: Config.integer("MAX_WORKERS"),
    ahead: Config.integer("AHEAD"),
    kinds: Config.array(Config.string(), "KINDS"),
    killGrace: Config.duration("KILL_GRACE"),
    launcher: Config.string("LAUNCHER"),
    python: Config.string("PYTHON"),
    sandboxes: Config.string("SANDBOXES")
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
    address: Schema.optionalWith(Schema.String, { exact: true }),
    ca: Schema.optionalWith(Schema.String, { exact: true }),
    cert: Schema.optionalWith(Schema.String, { exact: true }),
    key: Schema.optionalWith(Schema.String, { exact: true }),
    insecure: Schema.optionalWith(Schema.Boolean, { exact: true }),
    workers: Schema.optionalWith(Schema.Number, { exact: true }),
    threadsPerWorker: Schema.optionalWith(Schema.Number, { exact: true }),
    memoryLimit: Schema.optionalWith(Schema.Union(Schema.Number, Schema.String), { exact: true }),
    workerResources: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.Number }), { exact: true }),
    processes: Schema.optionalWith(Schema.Boolean, { exact: true }),
    dashboardAddress: Schema.optionalWith(Schema.String, { exact: true }),
    python: Schema.optionalWith(Schema.String, { exact: true }),
    path: Schema.optionalWith(Schema.Array(Schema.String), { exact: true }),
    kinds: Schema.optionalWith(Schema.Array(Task.Kind as unknown as Schema.Schema<DaskBackend.Kinds>), {
      exact: true
    }),
    killGrace: Schema.optionalWith(DurationInput, { exact: true }),
    cancelRunning: Schema.optionalWith(Schema.Literal("wait", "abandon", "restart"), { exact: true }),
    resultLimit: Schema.optionalWith(Schema.Number, { exact: true }),
    connectTimeout: Schema.optionalWith(DurationInput, { exact: true }),
    noWorkersTimeout: Schema.optionalWith(DurationInput, { exact: true }),
    sandboxes: Schema.optionalWith(Schema.String, { exact: true })
  }),
  config: under("DASK", {
    ...limitConfigs,
    address: Config.string("ADDRESS"),
    ca: Config.string("CA"),
    cert: Config.string("CERT"),
    key: Config.string("KEY"),
    insecure: Config.boolean("INSECURE"),
    workers: Config.integer("WORKERS"),
    threadsPerWorker: Config.integer("THREADS_PER_WORKER"),
    memoryLimit: Config.string("MEMORY_LIMIT"),
    processes: Config.boolean("PROCESSES"),
    dashboardAddress: Config.string("DASHBOARD_ADDRESS"),
    python: Config.string("PYTHON"),
    path: Config.array(Config.string(), "PATH"),
    kinds: Config.array(Config.string(), "KINDS"),
    killGrace: Config.duration("KILL_GRACE"),
    cancelRunning: Config.string("CANCEL_RUNNING"),
    resultLimit: Config.integer("RESULT_LIMIT"),
    connectTimeout: Config.duration("CONNECT_TIMEOUT"),
    noWorkersTimeout: Config.duration("NO_WORKERS_TIMEOUT"),
    sandboxes: Config.string("SANDBOXES")
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
