/** Backends and waits that several tests share. */
import { Deferred, Effect, Option, Stream } from "effect"
import { Backend, Driver, ExecutionBackend, Task } from "effect-rhapsody"
import type { StateChange, TaskEvent, TaskState } from "effect-rhapsody/TaskState"

/** Runs functions alone, in this process, without executables: what the engine does is all there is. */
export const functions = (concurrency: number | "unbounded", options: Backend.Options = {}) =>
  Backend.layer(
    {
      type: "functions",
      kinds: ["function"],
      concurrency,
      run: Driver.runHandler
    },
    options
  )

/** Runs executables by asking `run`: no process is started. */
export const executables = (
  run: Driver.SlotDriver<"executable">["run"],
  driver: Partial<Driver.SlotDriver<"executable">> = {},
  options: Backend.Options = {}
) =>
  Backend.layer(
    { type: "fake", kinds: ["executable"], concurrency: 1, honours: Driver.everyOption, ...driver, run },
    options
  )

export const ok = Effect.succeed(Driver.Outcome.exited({ exitCode: 0, stdout: "ok" }))

export const Program = Task.executable("Program", { command: () => ({ executable: "program" }) })

/** A program that starts, reports it, and ends when it is let go. */
export const held = Effect.gen(function* () {
  const started = yield* Deferred.make<void>()
  const release = yield* Deferred.make<void>()
  const run = Effect.zipRight(Deferred.succeed(started, undefined), Effect.zipRight(Deferred.await(release), ok))
  return { started: Deferred.await(started), release: Deferred.succeed(release, undefined), run }
})

export const isChange = (event: TaskEvent): event is StateChange => event._tag === "StateChange"

/** Subscribes, and answers with what collects the changes of `uid` until it has ended. */
export const statesOf = Effect.gen(function* () {
  const events = yield* ExecutionBackend.events
  return (uid: string) =>
    events.pipe(
      Stream.filter(isChange),
      Stream.filter((event) => event.uid === uid),
      Stream.takeUntil(({ state }) => state === "COMPLETED" || state === "FAILED" || state === "CANCELED"),
      Stream.runCollect,
      Effect.map((changes): ReadonlyArray<StateChange> => [...changes])
    )
})

/** Waits for a state of a task: by its events, from a subscription made before. */
export const waitFor = (events: Stream.Stream<TaskEvent>, uid: string, state: TaskState) =>
  events.pipe(
    Stream.filter(isChange),
    Stream.filter((event) => event.uid === uid && event.state === state),
    Stream.runHead,
    Effect.map(Option.getOrThrow)
  )

/** Nothing is left: no slot taken, no task queued or waiting. */
export const idle = Effect.map(ExecutionBackend.state, ({ active, queued, status, waiting }) => ({
  active,
  queued,
  status,
  waiting
}))
/** The state, without what names the backend. */
export const activity = Effect.map(ExecutionBackend.state, ({ name: _, type: __, ...rest }) => rest)
export const nothingLeft = { active: 0, queued: 0, status: "IDLE", waiting: 0 } as const

/** Turns of the event loop: what can go on without a clock has gone on, also what is paced. */
export const turns = Effect.repeatN(
  Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void))),
  20
)
