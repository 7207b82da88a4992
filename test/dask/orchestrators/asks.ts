/** Runs one task that asks what workers there are, under `Effect.runPromise`, with nothing else that keeps Node going. */
import { Effect } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"

const [python] = process.argv.slice(2) as [string]
const Mean = Task.python("Mean", { callable: "os:getpid", resources: { cores: 2 } })

const program = Effect.gen(function* () {
  yield* ExecutionBackend.execute(Mean.make())
  yield* ExecutionBackend.execute(Mean.make(undefined, { settings: DaskBackend.settings({ workers: ["0"] }) }))
})

Effect.runPromise(
  Effect.provide(program, DaskBackend.layer({ python, workers: 1, threadsPerWorker: 2, stopTimeout: "1 second" }))
).then(() => console.log("done"))
