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
import "./internal/needsEffect3.js"

import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { BackendError, TaskError } from "./Errors.js"
import { ConfigurationError } from "./Errors.js"
import { submitAll as submitStream } from "./internal/engine/submitAll.js"
import { keys, plain } from "./internal/keys.js"
import { checkAll, checkMany, elements, notTarget } from "./internal/options/verbs.js"
import type { Kind, ExecutionBackend as Provided } from "./Kind.js"
import type * as Task from "./Task.js"
import type { TaskFiber } from "./TaskFiber.js"
import { isTaskFiber, TypeId } from "./TaskFiber.js"
import type { BackendState, StateChange, TaskEvent, TaskState } from "./TaskState.js"

/** A backend of these kinds, in the context: see `Kind.ExecutionBackend`. */
export interface ExecutionBackend<out K extends Kind> extends Provided<K> {}

/** What needs no particular kind: events, states, cancel. */
export type Any = ExecutionBackend<never>

/** The plain key: the backend itself, of the layer merged last. */
export const ExecutionBackend: Context.Tag<Any, Backend> = plain

type Anything = Task.Instance<any, any, any, any>
/** The fiber of an instance. */
export type FiberOf<I extends Anything> = TaskFiber<I["Success"], I["Error"] | TaskError | BackendError, I>
/** What submission may fail with. Nothing is left behind then. */
export type SubmitError = ConfigurationError | BackendError

type AnyService = Task.Service<any, any, any>

/** A service that is ready. */
export interface RunningService<out Info, out E> {
  readonly uid: string
  /** What it reported when it became ready, decoded. */
  readonly info: Info
  /** Fails when it ends before its scope closes: race what depends on it against this. */
  readonly exited: Effect.Effect<never, E | TaskError | BackendError>
}

/** How a task of a stream ended; a rejected one has the refusal in its exit, and a uid only if it was given one. */
export interface Completion<out I extends Anything> {
  readonly uid: string | undefined
  /** Name of the definition. */
  readonly task: string
  /** What the stream gave, with its payload: `Task.again` makes of it a task to submit once more. */
  readonly instance: I
  readonly exit: Exit.Exit<I["Success"], I["Error"] | TaskError | SubmitError>
}

/** How tasks ended, by uid: those that had ended before, in the order of ending, then the others in the order of submission. */
export interface Completions extends ReadonlyMap<string, Exit.Exit<unknown, unknown>> {
  /** So many more had ended before, and the backend does not remember how: see `Options.history`. */
  readonly forgotten: number
}

export interface AwaitOptions {
  /** Longest wait; then BackendError Timeout, with how many have ended. Cancels nothing. Default: no limit. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Fail with the first error instead of answering with it. Default: false. */
  readonly failFast?: boolean | undefined
}

export interface Backend {
  /** The driver's type, e.g. `"concurrent"`. */
  readonly type: string
  /** The `name` option of its layer; default its type. */
  readonly name: string
  readonly kinds: ReadonlySet<Kind>
  /** The engine's own names of states, and what each means here. */
  readonly nativeStates: Readonly<Record<string, TaskState>>
  readonly submit: <I extends Anything>(task: I) => Effect.Effect<FiberOf<I>, SubmitError, I["Context"]>
  readonly submitScoped: <I extends Anything>(
    task: I
  ) => Effect.Effect<FiberOf<I>, SubmitError, I["Context"] | Scope.Scope>
  readonly submitMany: SubmitMany
  readonly execute: <I extends Anything>(
    task: I
  ) => Effect.Effect<I["Success"], I["Error"] | TaskError | SubmitError, I["Context"]>
  readonly start: <S extends AnyService>(
    task: S
  ) => Effect.Effect<
    RunningService<S["Info"], S["Error"]>,
    S["Error"] | TaskError | SubmitError,
    S["Context"] | Scope.Scope
  >
  readonly cancel: (target: string | TaskFiber<unknown, unknown>) => Effect.Effect<boolean, BackendError>
  readonly cancelAll: Effect.Effect<number>
  readonly terminate: Effect.Effect<void>
  readonly awaitAll: (
    options?: AwaitOptions
  ) => Effect.Effect<Completions, TaskError | BackendError | ConfigurationError>
  readonly taskState: (uid: string) => Effect.Effect<Option.Option<TaskState>>
  readonly taskStates: Effect.Effect<ReadonlyMap<string, TaskState>>
  readonly state: Effect.Effect<BackendState>
  readonly events: Effect.Effect<Stream.Stream<TaskEvent>, never, Scope.Scope>
  readonly onStateChange: (
    callback: (task: StateChange, state: TaskState) => void | Effect.Effect<void>
  ) => Effect.Effect<void, never, Scope.Scope>
}

export interface SubmitMany {
  <I extends Anything>(
    tasks: Iterable<I>,
    options: { readonly atomic: true }
  ): Effect.Effect<Array<FiberOf<I>>, SubmitError, I["Context"]>
  <I extends Anything>(
    tasks: Iterable<I>,
    options?: { readonly atomic?: false | undefined }
  ): Effect.Effect<Array<Either.Either<FiberOf<I>, SubmitError>>, never, I["Context"]>
}

// ------------------------------------------------------------------------------------------------------------- verbs

/** Of what may be no task at all, which the backend refuses. */
const kindOf = (task: Task.Submittable): Kind | undefined => {
  try {
    const { kind } = task.task
    return Object.hasOwn(keys, kind) ? kind : undefined
  } catch {
    return undefined
  }
}

// A layer may claim a kind that it turns out not to run (one chosen by name at run time): its plain key refuses typed.
const backendOf = <A, E, R>(
  task: Task.Submittable,
  use: (backend: Backend) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.contextWithEffect((context: Context.Context<any>) => {
    const kind = kindOf(task)
    const tag = kind === undefined ? undefined : keys[kind]
    const own = tag === undefined ? Option.none() : Context.getOption(context, tag)
    return use(Option.isSome(own) ? own.value : Context.unsafeGet(context, ExecutionBackend))
  })

/**
 * Hands a task to the backend and answers with its fiber. The fiber belongs to the backend: the end of the caller does
 * not touch it, the end of the layer cancels it.
 *
 * Waits, interruptibly and without trace, while the backend has as many live tasks as it admits. Fails, leaving
 * nothing behind, with `ConfigurationError` when the request can never work (`configKey` names the field) and with
 * `BackendError` when the backend is closed (Closed) or has lost its engine (the error that reported the loss).
 */
export const submit = <I extends Anything>(task: I): Effect.Effect<FiberOf<I>, SubmitError, I["Context"]> =>
  backendOf(task, (backend) => backend.submit(task))

/** As `submit`, but the fiber belongs to the caller's `Scope`: closing it cancels the task. */
export const submitScoped = <I extends Anything>(
  task: I
): Effect.Effect<FiberOf<I>, SubmitError, I["Context"] | Scope.Scope> =>
  backendOf(task, (backend) => backend.submitScoped(task))

/** Submits a task and waits for its result. Interrupting the caller cancels the task and waits until it has stopped. */
export const execute = <I extends Anything>(
  task: I
): Effect.Effect<I["Success"], I["Error"] | TaskError | SubmitError, I["Context"]> =>
  backendOf(task, (backend) => backend.execute(task))

const oneBackend = new ConfigurationError({
  configKey: "atomic",
  reason: "InvalidOption",
  details: { message: "tasks for several backends cannot be submitted all or none; submit those of each on their own" }
})

/**
 * Submits several: in order, each answered with its fiber or with why it was refused; the others go on. With `atomic`,
 * all of them are accepted or none is. Interrupted, it cancels what it had submitted.
 */
export const submitMany: SubmitMany = (
  tasks: Iterable<Anything>,
  options?: { readonly atomic?: boolean | undefined }
): any =>
  Effect.flatMap(checkMany(options) ?? elements(tasks), (all) =>
    Effect.flatMap(
      Effect.forEach(all, (task) => backendOf(task, Effect.succeed)),
      (backends): Effect.Effect<any, any, any> => {
        const [first] = backends
        if (first === undefined) return Effect.succeed([])
        if (backends.every((backend) => backend === first)) return first.submitMany(all, options as any)
        return options?.atomic ? Effect.fail(oneBackend) : Effect.map(eachTo(backends, all), (parts) => parts.flat())
      }
    )
  )

// One after the other: the order of submission stays. A caller that is interrupted gets no fibers, and no task goes on.
const eachTo = (backends: ReadonlyArray<Backend>, tasks: ReadonlyArray<Anything>) =>
  Effect.uninterruptibleMask((restore) => {
    const accepted: Array<TaskFiber<unknown, unknown>> = []
    return Effect.forEach(tasks, (task, i) =>
      Effect.tap(restore(backends[i]!.submitMany([task])), ([answer]) => {
        if (Either.isRight(answer!)) accepted.push(answer.right)
      })
    ).pipe(
      Effect.zipLeft(restore(Effect.void)),
      Effect.onInterrupt(() => Fiber.interruptAll(accepted))
    )
  })

/**
 * Submits the tasks of a stream as the backend admits them, and answers with how each ended, in the order of ending.
 * At most `buffer` (default 1,024) are submitted and not yet read. A reader that stops cancels those.
 */
export const submitAll = <I extends Anything, E, R>(
  tasks: Stream.Stream<I, E, R>,
  options: { readonly buffer?: number | undefined } = {}
): Stream.Stream<Completion<I>, E, R | I["Context"]> => {
  const wrong = checkAll(options)
  return wrong === undefined ? submitStream(tasks, submitScoped, options.buffer ?? 1024) : Stream.fail(wrong as never)
}

/** Starts a service and returns when it is ready; it is stopped when the scope closes. */
export const start = <S extends AnyService>(
  task: S
): Effect.Effect<
  RunningService<S["Info"], S["Error"]>,
  S["Error"] | TaskError | SubmitError,
  S["Context"] | Scope.Scope
> => backendOf(task, (backend) => backend.start(task))

/**
 * Cancels a task by uid or by its fiber and returns when its work has stopped: true when it was live. Every fiber that waits
 * for it gets `TaskError` Canceled, or its result when that came first. A fiber finds its own backend.
 */
export const cancel: {
  (fiber: TaskFiber<unknown, unknown>): Effect.Effect<boolean, BackendError>
  (uid: string): Effect.Effect<boolean, BackendError, Any>
} = (target: any): any =>
  typeof target === "string"
    ? Effect.flatMap(ExecutionBackend, (backend) => backend.cancel(target))
    : isTaskFiber(target)
      ? target[TypeId].cancel
      : Effect.fail(notTarget(target))

/** Cancels every live task of the backend and returns when all have stopped: their number. */
export const cancelAll: Effect.Effect<number, never, Any> = Effect.flatMap(
  ExecutionBackend,
  (backend) => backend.cancelAll
)

/**
 * Ends the backend without a grace period: everything that runs is killed and every task ends, within 2 seconds. What is
 * submitted afterwards is refused as by a closed backend.
 */
export const terminate: Effect.Effect<void, never, Any> = Effect.flatMap(
  ExecutionBackend,
  (backend) => backend.terminate
)

/**
 * Waits until the tasks that are live now have ended, and answers with how each of them ended, and each that was submitted
 * (`submit`, `submitMany`) and ended since the last answer: so it makes no difference whether a task ends before or after
 * the call. Of those, the last `history` are remembered; how many more there were is in `forgotten`. A task of `execute`,
 * `submitScoped` or `submitAll` is answered for while it lives: its end has another reader.
 *
 * What a call has answered with, later calls do not answer with again. Each of several calls at the same time answers with
 * all that it found. A call that is interrupted or late has not answered. With `failFast` it fails with the first error
 * that it finds, which is answered with that.
 *
 * In a handler it does not wait for the handler's own task, nor for tasks that wait for that one: those that submitted it,
 * join it, or wait for all themselves.
 */
export const awaitAll = (
  options?: AwaitOptions
): Effect.Effect<Completions, TaskError | BackendError | ConfigurationError, Any> =>
  Effect.flatMap(ExecutionBackend, (backend) => backend.awaitAll(options))

/** The states of all tasks that are live or among the last 10,000 that ended. */
export const taskStates: Effect.Effect<ReadonlyMap<string, TaskState>, never, Any> = Effect.flatMap(
  ExecutionBackend,
  (backend) => backend.taskStates
)

/** The state of a task that is live or among the last 10,000 that ended. */
export const taskState = (uid: string): Effect.Effect<Option.Option<TaskState>, never, Any> =>
  Effect.flatMap(ExecutionBackend, (backend) => backend.taskState(uid))

/** What the backend is doing; its status is FAILED when it has lost its engine. */
export const state: Effect.Effect<BackendState, never, Any> = Effect.flatMap(
  ExecutionBackend,
  (backend) => backend.state
)

/**
 * Every change of state from now on: the subscription exists when this returns. A subscriber that is slower than its
 * buffer is long gets an `EventsDropped` with their number in place of the newest events; it slows no other subscriber. When nothing
 * moves because all slots are held by handlers that wait, a `Standstill` says so. The stream ends with the backend.
 * When the scope closes, no event follows, and closing waits until the reader has read what is buffered, at most for
 * `stopTimeout`. What a reader that was interrupted has not read is counted in the log.
 */
export const events: Effect.Effect<Stream.Stream<TaskEvent>, never, Any | Scope.Scope> = Effect.flatMap(
  ExecutionBackend,
  (backend) => backend.events
)

/**
 * Calls back at every change of state from now on, while the scope is open. A callback that throws, fails or is slow
 * harms no task; see `events` for what is dropped when it is too slow.
 */
export const onStateChange = (
  callback: (task: StateChange, state: TaskState) => void | Effect.Effect<void>
): Effect.Effect<void, never, Any | Scope.Scope> =>
  Effect.flatMap(ExecutionBackend, (backend) => backend.onStateChange(callback))
