// Tasks as a part of a larger program: a service over a backend, its options from Config, a stream of tasks, a runtime
// for code that is not Effect.
import { NodeRuntime } from "@effect/platform-node"
import { Config, ConfigProvider, Console, Context, Effect, Exit, Layer, ManagedRuntime, Schema, Stream } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"

class Diverged extends Schema.TaggedError<Diverged>()("Diverged", {}) {}

const Simulate = Task.executable("Simulate", {
  payload: { seed: Schema.Int },
  success: Schema.NumberFromString,
  error: Diverged,
  command: ({ seed }) => ({
    executable: "sh",
    args: ["-c", "[ $(($1 % 6)) -eq 5 ] && exit 3; echo $1", "sh", `${seed}`]
  }),
  failure: ({ exitCode }) => (exitCode === 3 ? new Diverged() : undefined)
})

/** What the rest of the program knows: no task, no backend. */
class Campaign extends Context.Tag("Campaign")<
  Campaign,
  {
    readonly run: (seeds: Stream.Stream<number>) => Effect.Effect<{ energies: ReadonlyArray<number>; diverged: number }>
  }
>() {}

const CampaignLive = Layer.effect(
  Campaign,
  Effect.map(Effect.context<ExecutionBackend.ExecutionBackend<"executable">>(), (context) => ({
    run: (seeds: Stream.Stream<number>) =>
      ExecutionBackend.submitAll(
        Stream.map(seeds, (seed) => Simulate.make({ seed })),
        { buffer: 8 }
      ).pipe(
        Stream.runFold({ energies: [] as ReadonlyArray<number>, diverged: 0 }, ({ diverged, energies }, { exit }) =>
          Exit.isSuccess(exit)
            ? { energies: [...energies, exit.value], diverged }
            : { energies, diverged: diverged + 1 }
        ),
        Effect.provide(context)
      )
  }))
)

const BackendLive = ConcurrentBackend.layerConfig({ maxWorkers: Config.integer("WORKERS") })
const AppLive = CampaignLive.pipe(
  Layer.provide(BackendLive),
  Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["WORKERS", "2"]]))))
)

/** Code that is not Effect, such as a request handler of a web framework. */
const handler = (runtime: ManagedRuntime.ManagedRuntime<Campaign, unknown>) =>
  runtime.runPromise(Effect.flatMap(Campaign, (campaign) => campaign.run(Stream.range(0, 19))))

const program = Effect.gen(function* () {
  const runtime = yield* Effect.acquireRelease(
    Effect.sync(() => ManagedRuntime.make(AppLive)),
    (runtime) => runtime.disposeEffect
  )
  const { diverged, energies } = yield* Effect.promise(() => handler(runtime))
  yield* Console.log(`ran ${energies.length + diverged} tasks, 2 at a time; ${diverged} diverged`)
  yield* Console.log(`mean energy ${(energies.reduce((a, b) => a + b, 0) / energies.length).toFixed(1)}`)
})

program.pipe(Effect.scoped, NodeRuntime.runMain)
