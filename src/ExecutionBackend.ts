/**
 * The service that runs tasks. Programs are written against it, and a layer decides what stands behind it.
 *
 * - `execute` runs a task as a part of the caller: interrupting the caller cancels the task.
 * - `submit` hands it to the backend, which supervises it until its layer closes, and answers with a fiber.
 * - `submitScoped` does the same for as long as the caller's `Scope` is open.
 *
 * The type parameter lists the kinds of task a backend runs: a Python task does not compile against a layer that runs
 * none. At run time there is one key per kind, so that two layers of disjoint kinds, merged or nested, serve one
 * program, each its own kinds.
 *
 * @example
 * ```ts
 * import { Effect, Fiber } from "effect"
 * import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
 *
 * const Hostname = Task.executable("Hostname", { command: () => ({ executable: "hostname" }) })
 *
 * export const program = Effect.gen(function*() {
 *   const name = yield* ExecutionBackend.execute(Hostname.make())
 *   const fiber = yield* ExecutionBackend.submit(Hostname.make())
 *   return [name, yield* Fiber.join(fiber)]
 * }).pipe(Effect.provide(ConcurrentBackend.layer()))
 * ```
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Driver } from "./Driver.js"
import type { BackendError, ConfigurationError, TaskError } from "./Errors.js"
import * as engine from "./internal/engine/engine.js"
import type * as Task from "./Task.js"
import type { TaskFiber } from "./TaskFiber.js"
import { TypeId } from "./TaskFiber.js"
import type { BackendState, TaskEvent, TaskState } from "./TaskState.js"

export * from "./Driver.js"

/**
 * In the context: "a backend that runs tasks of these kinds". Covariant: a layer of
 * `ExecutionBackend<"executable" | "python">` satisfies a program that needs `ExecutionBackend<"python">`.
 *
 * Not a `Context.Tag` class, for such a class cannot carry the kinds. Layers are built with `layer(driver)`.
 */
export interface ExecutionBackend<out K extends Task.Kind> {
  readonly "~effect-rhapsody/kinds": K
}

/** What needs no particular kind: events, states, cancel. */
export type Any = ExecutionBackend<never>

/** The plain key: the backend itself, of the layer merged last. */
export const ExecutionBackend = Context.GenericTag<Any, Service>("effect-rhapsody/ExecutionBackend")

const key = <K extends Task.Kind>(kind: K) =>
  Context.GenericTag<ExecutionBackend<K>, Service>(`effect-rhapsody/ExecutionBackend/${kind}`)
const keys: { readonly [K in Task.Kind]: Context.Tag<ExecutionBackend<K>, Service> } = {
  executable: key("executable"),
  function: key("function"),
  worker: key("worker"),
  python: key("python"),
  service: key("service")
}

/** The key of one kind. */
export const forKind = <K extends Task.Kind>(kind: K): Context.Tag<ExecutionBackend<K>, Service> => keys[kind]

type Anything = Task.Instance<any, any, any>
/** The fiber of an instance. */
export type FiberOf<I extends Anything> = TaskFiber<I["Success"], I["Error"] | TaskError | BackendError>
/** What submission may fail with. Nothing is left behind then. */
export type Refusal = ConfigurationError | BackendError

export interface Service {
  /** The driver's type, e.g. `"concurrent"`. */
  readonly type: string
  readonly kinds: ReadonlySet<Task.Kind>
  readonly submit: <I extends Anything>(task: I) => Effect.Effect<FiberOf<I>, Refusal, I["Context"]>
  readonly submitScoped: <I extends Anything>(task: I) => Effect.Effect<FiberOf<I>, Refusal, I["Context"] | Scope.Scope>
  readonly execute: <I extends Anything>(
    task: I
  ) => Effect.Effect<I["Success"], I["Error"] | TaskError | Refusal, I["Context"]>
  readonly cancel: (target: string | TaskFiber<unknown, unknown>) => Effect.Effect<boolean, BackendError>
  readonly cancelAll: Effect.Effect<number>
  readonly taskState: (uid: string) => Effect.Effect<Option.Option<TaskState>>
  readonly state: Effect.Effect<BackendState>
  readonly events: Effect.Effect<Stream.Stream<TaskEvent>, never, Scope.Scope>
}

// ------------------------------------------------------------------------------------------------------------- verbs

// A layer may claim a kind that it turns out not to run (one chosen by name at run time): its plain key refuses typed.
const backendOf = <A, E, R>(
  task: Anything,
  use: (backend: Service) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.contextWithEffect((context: Context.Context<any>) => {
    const kind = (task as Partial<Anything> | undefined)?.task?.kind
    const tag: Context.Tag<any, Service> | undefined = kind === undefined ? undefined : keys[kind]
    const own = tag === undefined ? Option.none() : Context.getOption(context, tag)
    return use(Option.isSome(own) ? own.value : Context.unsafeGet(context, ExecutionBackend))
  })

/**
 * Hands a task to the backend and answers with its fiber. The fiber belongs to the backend: the end of the caller does
 * not touch it, the end of the layer cancels it.
 *
 * Waits, interruptibly and without trace, while the backend has as many live tasks as it admits. Fails, leaving
 * nothing behind, with `ConfigurationError` when the request can never work (`configKey` names the field) and with
 * `BackendError` Closed when the backend is closed.
 */
export const submit = <I extends Anything>(task: I): Effect.Effect<FiberOf<I>, Refusal, I["Context"]> =>
  backendOf(task, (backend) => backend.submit(task))

/** As `submit`, but the fiber belongs to the caller's `Scope`: closing it cancels the task. */
export const submitScoped = <I extends Anything>(
  task: I
): Effect.Effect<FiberOf<I>, Refusal, I["Context"] | Scope.Scope> =>
  backendOf(task, (backend) => backend.submitScoped(task))

/** Submits a task and waits for its result. Interrupting the caller cancels the task and waits until it has stopped. */
export const execute = <I extends Anything>(
  task: I
): Effect.Effect<I["Success"], I["Error"] | TaskError | Refusal, I["Context"]> =>
  backendOf(task, (backend) => backend.execute(task))

/**
 * Cancels a task by uid or by its fiber and returns when its work has stopped: true when it was live. Whoever waits
 * for it gets `TaskError` Canceled, or its result when that came first. A fiber finds its own backend.
 */
export const cancel: {
  (fiber: TaskFiber<unknown, unknown>): Effect.Effect<boolean, BackendError>
  (uid: string): Effect.Effect<boolean, BackendError, Any>
} = (target: any): any =>
  typeof target === "string"
    ? Effect.flatMap(ExecutionBackend, (backend) => backend.cancel(target))
    : target[TypeId].cancel

/** Cancels every live task of the backend and returns when all have stopped: their number. */
export const cancelAll: Effect.Effect<number, never, Any> = Effect.flatMap(
  ExecutionBackend,
  (backend) => backend.cancelAll
)

/** The state of a task that is live or among the last 10,000 that ended. */
export const taskState = (uid: string): Effect.Effect<Option.Option<TaskState>, never, Any> =>
  Effect.flatMap(ExecutionBackend, (backend) => backend.taskState(uid))

/** What the backend is doing. */
export const state: Effect.Effect<BackendState, never, Any> = Effect.flatMap(
  ExecutionBackend,
  (backend) => backend.state
)

/**
 * Every change of state from now on: the subscription exists when this returns. A subscriber that is slower than its
 * buffer is long gets an `EventsDropped` with their number in place of the newest events; it slows nobody. The stream
 * ends with the backend.
 */
export const events: Effect.Effect<Stream.Stream<TaskEvent>, never, Any | Scope.Scope> = Effect.flatMap(
  ExecutionBackend,
  (backend) => backend.events
)

// ------------------------------------------------------------------------------------------------------------ layers

/** Limits of a backend. */
export interface Options {
  /** Live tasks; `submit` waits beyond it. Default 10,000. */
  readonly admission?: number
  /** Live tasks submitted by running tasks, which do not wait; beyond it BackendError Rejected. Default: `admission`. */
  readonly nestedAdmission?: number
  /** Tasks remembered after their end. Default 10,000. */
  readonly history?: number
  /** Events kept for a subscriber that does not read. Default 4 times `admission`. */
  readonly eventBuffer?: number
  /** Longest wait for a handler that was told to stop. Default: the driver's, or 5 seconds. */
  readonly stopGrace?: Duration.DurationInput
}

/** The service over a driver, for as long as the scope is open. Use `layer` unless you build a layer of your own. */
export const make = <const K extends Task.Kind>(
  driver: Driver<K>,
  options: Options = {}
): Effect.Effect<Service, ConfigurationError, Scope.Scope> => engine.make(driver, options)

/**
 * A backend: the one way to a layer that claims kinds, which are those of the driver. Fails with `ConfigurationError`
 * when a limit has a value that cannot be honoured.
 */
export const layer = <const K extends Task.Kind, E = never, R = never>(
  driver: Driver<K> | Effect.Effect<Driver<K>, E, R>,
  options?: Options
): Layer.Layer<ExecutionBackend<K>, E | ConfigurationError, Exclude<R, Scope.Scope>> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const built = Effect.isEffect(driver) ? yield* driver : driver
      const service = yield* make(built, options)
      return built.kinds.reduce<Context.Context<any>>(
        (context, kind) => Context.add(context, forKind(kind), service),
        Context.make(ExecutionBackend, service)
      )
    })
  )
