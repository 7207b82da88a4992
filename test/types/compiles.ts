// What must compile, and to exactly which types. Checked by the type check alone.
import type { Scope } from "effect"
import { Effect, Fiber, Layer, Option, Redacted, Schedule, Schema, Stream } from "effect"
import type { Driver, TaskFiber } from "effect-rhapsody"
import { ConcurrentBackend, DaskBackend, Defaults, ExecutionBackend, NoopBackend, Task } from "effect-rhapsody"
import type { BackendError, ConfigurationError, TaskError } from "effect-rhapsody/Errors"
import { TestBackend } from "effect-rhapsody/testing"
import type { Diverged } from "./tasks.js"
import { Hostname, Mean, Simulate, Train } from "./tasks.js"

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const is = <_T extends true>() => {}
type Lib = TaskError | BackendError | ConfigurationError

// one execute, exactly
const one = ExecutionBackend.execute(Simulate.make({ seed: 1, steps: 1 }))
type One = Effect.Effect<{ readonly energy: number }, Diverged | Lib, ExecutionBackend.ExecutionBackend<"executable">>
is<Equal<typeof one, One>>()

// one submit and one submitScoped
const submitted = ExecutionBackend.submit(Mean.make({ values: [] }))
const mean = Mean.make({ values: [] })
type MeanFiber = TaskFiber.TaskFiber<number, TaskError | BackendError, typeof mean>
is<Equal<Effect.Effect.Success<typeof submitted>, MeanFiber>>()
is<Equal<Effect.Effect.Error<typeof submitted>, ConfigurationError | BackendError>>()
const scoped = ExecutionBackend.submitScoped(Hostname.make())
is<Equal<Effect.Effect.Context<typeof scoped>, ExecutionBackend.ExecutionBackend<"executable"> | Scope.Scope>>()

// generic helpers keep the types, both ways
const twice = <A, E, R>(t: Task.Instance<A, E, R>) =>
  Effect.zip(ExecutionBackend.execute(t), ExecutionBackend.execute(t))
const t = twice(Mean.make({ values: [] }))
is<Equal<Effect.Effect.Success<typeof t>, [number, number]>>()
is<Equal<Effect.Effect.Context<typeof t>, ExecutionBackend.ExecutionBackend<"function"> | Task.Handler<"Mean">>>()
const many = <I extends Task.Instance<any, any, any>>(ts: ReadonlyArray<I>) =>
  Effect.forEach(ts, ExecutionBackend.execute)
const m = many([Mean.make({ values: [] }), Simulate.make({ seed: 1, steps: 1 })])
is<Equal<Effect.Effect.Success<typeof m>, Array<number | { readonly energy: number }>>>()

// from an end back to its input: the payload is typed, as it was given
declare const fiber: MeanFiber
is<Equal<typeof fiber.instance.payload, { readonly values: ReadonlyArray<number> }>>()
const ends = ExecutionBackend.submitAll(Stream.make(Simulate.make({ seed: 1, steps: 1 })))
is<
  Equal<Stream.Stream.Success<typeof ends>["instance"]["payload"], { readonly seed: number; readonly steps: number }>
>()
is<Equal<ReturnType<typeof Hostname.make>["payload"], {}>>()
export const resubmitted = Effect.flatMap(ExecutionBackend.submit(fiber.instance), Fiber.join)
is<Equal<Effect.Effect.Success<typeof resubmitted>, number>>()
const once = Task.again(Simulate.make({ seed: 1, steps: 1 }), {
  retry: { while: (error) => error._tag === "Diverged" }
})
is<Equal<typeof once.payload, { readonly seed: number; readonly steps: number }>>()
// a fiber whose payload is not asked for, and one of any task
export const plain: TaskFiber.TaskFiber<number, TaskError | BackendError> = fiber
export const any: TaskFiber.TaskFiber<unknown, unknown> = fiber
const generic = <Fields extends Schema.Struct.Fields>(
  task: Task.Task<"Generic", "executable", Fields, typeof Schema.String, typeof Schema.Never>,
  payload: Task.PayloadInput<Fields>
) => ExecutionBackend.execute(task.make(payload))
is<Equal<Effect.Effect.Success<ReturnType<typeof generic>>, string>>()

// failure sees the payload, decoded and with its defaults
Task.executable("Sees", {
  payload: { when: Schema.Date },
  error: Schema.String,
  command: () => ({ executable: "x" }),
  failure: ({ exitCode, signal }, { when }) => `${exitCode} ${signal} ${when.getTime()}`
})

// a handler may fail with what the tasks that it runs fail with, without a word
Task.function("Campaign", { success: Schema.Number }).toLayer(() => ExecutionBackend.execute(mean))
// and with errors of its own beside these
Task.function("Typed", { success: Schema.Unknown, error: Schema.String }).toLayer(() =>
  Effect.catchTag(ExecutionBackend.execute(Simulate.make({ seed: 1, steps: 1 })), "Diverged", ({ step }) =>
    Effect.fail(`at ${step}`)
  )
)

// tuples stay tuples
const tuple = Effect.all([
  ExecutionBackend.submit(Mean.make({ values: [1] })),
  ExecutionBackend.submit(Simulate.make({ seed: 1, steps: 1 }))
])
const joined = Effect.flatMap(tuple, ([a, b]) => Fiber.join(Fiber.zip(a, b)))
is<Equal<Effect.Effect.Success<typeof joined>, [number, { readonly energy: number }]>>()

// payload shapes
const Shapes = Task.function("Shapes", {
  payload: {
    when: Schema.Date,
    maybe: Schema.optional(Schema.Number),
    withDefault: Schema.Number.pipe(
      Schema.propertySignature,
      Schema.withConstructorDefault(() => 1)
    ),
    option: Schema.Option(Schema.Number),
    lit: Schema.Literal("a", "b"),
    id: Schema.String.pipe(Schema.brand("Id")),
    nested: Schema.Struct({ x: Schema.Number })
  }
})
declare const when: Date
const id = Schema.String.pipe(Schema.brand("Id")).make("x")
export const shapes = [
  Shapes.make({ when, option: Option.some(1), lit: "a", id, nested: { x: 1 } }),
  Shapes.make({ when, option: Option.none(), lit: "b", id, nested: { x: 1 }, maybe: 1, withDefault: 2 })
]

// no payload, default result
const hostname = ExecutionBackend.execute(Hostname.make())
is<Equal<Effect.Effect.Success<typeof hostname>, string>>()

// a helper may state what it needs in one go; one layer with both kinds is enough, one of the two is not
declare const both: Layer.Layer<ExecutionBackend.ExecutionBackend<"executable" | "python">>
export const helper: Effect.Effect<
  unknown,
  unknown,
  ExecutionBackend.ExecutionBackend<"executable" | "python">
> = Effect.all([hostname, ExecutionBackend.execute(Train.make({ target: 1 }))])
const provided = Effect.provide(helper, both)
is<Equal<Effect.Effect.Context<typeof provided>, never>>()
const half = Effect.provide(helper, ConcurrentBackend.layer())
is<Equal<Effect.Effect.Context<typeof half>, ExecutionBackend.ExecutionBackend<"executable" | "python">>>()

// what needs no kind takes any backend; a hand-made layer promises nothing
is<Equal<Effect.Effect.Context<typeof ExecutionBackend.state>, ExecutionBackend.ExecutionBackend<never>>>()
const stateOf = Effect.provide(ExecutionBackend.state, ConcurrentBackend.layer({ kinds: ["function"] }))
is<Equal<Effect.Effect.Context<typeof stateOf>, never>>()
const handMade = Layer.effect(ExecutionBackend.ExecutionBackend, ExecutionBackend.ExecutionBackend)
is<Equal<Layer.Layer.Success<typeof handMade>, ExecutionBackend.ExecutionBackend<never>>>()

// kinds of a layer are those it was asked for
const onlyFunctions = ConcurrentBackend.layer({ kinds: ["function"] })
is<Equal<Layer.Layer.Success<typeof onlyFunctions>, ExecutionBackend.ExecutionBackend<"function">>>()

// retry sees the task's own error; general options fit every task
export const retried = Simulate.make(
  { seed: 1, steps: 1 },
  {
    retry: { times: 2, schedule: Schedule.exponential("1 second"), while: (error) => error._tag === "Diverged" }
  }
)
declare const general: Task.Options
export const generalTask = Simulate.make({ seed: 1, steps: 1 }, general)
export const environment: Task.Env = { A: "a", B: new Uint8Array(), C: Redacted.make("c"), D: undefined }

// a recursive function needs no handler but its own
const Fib = Task.function("Fib", { payload: { n: Schema.Int }, success: Schema.Int })
const FibLive = Fib.toLayer(({ n }) =>
  n < 2 ? Effect.succeed(n) : Effect.orDie(ExecutionBackend.execute(Fib.make({ n: n - 1 })))
)
is<Equal<typeof FibLive, Layer.Layer<Task.Handler<"Fib">, never, ExecutionBackend.ExecutionBackend<"function">>>>()

// an engine that resolves data dependencies by its own means, in either form
const staged = (source: string, target: string, action: Driver.Staging["action"]) =>
  Effect.succeedSome<Driver.Staging>({ source: `pilot:///${source}`, target: `task:///${target}`, action })
const links = {
  type: "pilot",
  kinds: ["executable"],
  linkExplicit: (input) =>
    input._tag === "ExternalFile"
      ? staged(input.path, input.target, "transfer")
      : staged(`${input.producer}/${input.file}`, input.target, "link"),
  // of some it leaves the work to the library
  linkImplicit: ({ producer }) => (producer === "" ? Effect.succeedNone : staged(producer, "", "link"))
} satisfies Driver.DriverBase<"executable">
export const linking: ReadonlyArray<Driver.AnyDriver<"executable">> = [
  { ...links, concurrency: 1, run: () => Effect.never, lost: Effect.never },
  {
    ...links,
    submit: (attempts) =>
      Effect.log(
        attempts.map(({ spec: { after, inputs, links, outputs, uid } }) => {
          const entries: ReadonlyArray<Driver.Staging> = links.map(({ staging }) => staging)
          return { uid, after, entries, inputs, outputs }
        })
      ),
    cancel: () => Effect.void,
    updates: Stream.never,
    lost: Effect.never
  }
]

// a driver gets the specs of its own kinds, with no branch for any other
export const narrowed: Driver.SlotDriver<"executable"> = {
  type: "narrow",
  kinds: ["executable"],
  concurrency: 1,
  check: ({ work }) => Effect.log(work.executable),
  run: ({ work }, { onChunk, secrets }) => Effect.zipRight(Effect.log(work.args, onChunk, secrets.size), Effect.never)
}
// where kinds do not matter, it is a driver as any other
export const anyOf: Driver.AnyDriver = narrowed
is<Equal<Driver.Spec<"python">["work"], Driver.Python>>()
is<Equal<typeof Driver.Outcome.Type, Driver.Outcome>>()
is<Equal<typeof Driver.Update.Type, Driver.Update>>()

// undefined is as good as absent: an optional value of a configuration passes straight through
type Optional<T> = { readonly [K in keyof T as {} extends Pick<T, K> ? K : never]-?: undefined }
declare const nothing: <T>() => Optional<T>
export const unsaid: Task.Options = {
  ...nothing<Task.Options>(),
  resources: nothing<Task.Resources>(),
  retry: nothing<Task.Retry>(),
  capture: nothing<Task.Capture>(),
  rlimits: nothing<Task.Rlimits>(),
  env: { A: undefined },
  settings: ConcurrentBackend.settings({ forceKillAfter: undefined })
}
export const silent = [
  Hostname.make(undefined, nothing<Task.Options>()),
  ConcurrentBackend.layer(nothing<ConcurrentBackend.Options>()),
  DaskBackend.layer(nothing<DaskBackend.Options>()),
  NoopBackend.layer(nothing<NoopBackend.Options>()),
  TestBackend.layer(nothing<TestBackend.Options>()),
  Defaults.layer(nothing<Defaults.Given>()),
  ExecutionBackend.awaitAll(nothing<ExecutionBackend.AwaitOptions>())
]
// and each of them is a member that there is
is<Equal<keyof Optional<Defaults.Given>, keyof Defaults.Given>>()
