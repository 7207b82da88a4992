// A campaign in a campaign: a handler that runs tasks of its own may fail with what they fail with.
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer, Schema, Stream } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { isTaskError } from "effect-rhapsody/Errors"

const Simulate = Task.executable("Simulate", {
  payload: { seed: Schema.Int },
  success: Schema.NumberFromString,
  command: ({ seed }) => ({
    executable: "sh",
    args: ["-c", `test ${seed} -ne 4 || exit 9; echo $((${seed} * ${seed}))`]
  })
})

class Empty extends Schema.TaggedError<Empty>()("Empty", {}) {}
const Sweep = Task.function("Sweep", {
  payload: { seeds: Schema.Array(Schema.Int) },
  success: Schema.Number,
  error: Empty
})

// It compiles as it stands: the errors of Simulate are this library's. Its own errors are those that it declares.
const SweepLive = Sweep.toLayer(({ seeds }) =>
  seeds.length === 0
    ? Effect.fail(new Empty())
    : Effect.map(
        Effect.forEach(seeds, (seed) => ExecutionBackend.execute(Simulate.make({ seed })), { concurrency: 2 }),
        (energies) => Math.min(...energies)
      )
)

const report = ({ exit, instance }: ExecutionBackend.Completion<ReturnType<typeof Sweep.make>>) => {
  const { seeds } = instance.payload
  return Effect.matchEffect(exit, {
    onSuccess: (energy) => Console.log(`[${seeds}] ${energy}`),
    onFailure: (error) =>
      // the cause is the error of the task that really failed
      error._tag === "TaskError" && isTaskError(error.cause)
        ? Console.log(`[${seeds}] ${error.reason}: ${error.cause.task} exited with code ${error.cause.exitCode}`)
        : Console.log(`[${seeds}] ${error._tag}`)
  })
}

const program = ExecutionBackend.submitAll(
  Stream.map(Stream.make([3, 2, 1], [5, 4], []), (seeds) => Sweep.make({ seeds }))
).pipe(Stream.mapEffect(report), Stream.runDrain)

program.pipe(
  Effect.provide(Layer.provideMerge(SweepLive, ConcurrentBackend.layer({ maxWorkers: 1 }))),
  NodeRuntime.runMain
)
