/** Builds a layer whose interpreter hangs, until it is told to exit. Started with a plan as JSON. */
import * as Effect from "effect/Effect"
import { ConcurrentBackend, DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"

const { backend, python } = JSON.parse(process.argv[2]!) as {
  readonly backend: "Concurrent" | "Dask"
  readonly python: string
}

process.stdin.on("data", () => process.exit(7))

const program = ExecutionBackend.execute(Task.executable("True", { command: () => ({ executable: "true" }) }).make())
const onDask = Effect.provide(program, DaskBackend.layer({ python, workers: 1 }))
const onConcurrent = Effect.provide(program, ConcurrentBackend.layer({ python, maxWorkers: 1 }))
Effect.runFork(backend === "Dask" ? onDask : onConcurrent)
