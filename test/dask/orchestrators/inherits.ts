/** Says what a program inherits here and on a cluster of the backend's own, and what a function finds there. */
import { Console, Effect, Schema } from "effect"
import { ConcurrentBackend, DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"

const [python, modules] = process.argv.slice(2) as [string, string]

const Environ = Task.executable("Environ", {
  success: Task.Output,
  command: () => ({ executable: "cat", args: ["/proc/self/environ"] })
})
const Modules = Task.python("Modules", { callable: "functions:origins", success: Schema.Array(Schema.String) })

const environ = Effect.map(ExecutionBackend.execute(Environ.make()), ({ stdoutBytes }) =>
  Buffer.from(stdoutBytes).toString("latin1").split("\0").slice(0, -1).sort()
)

const program = Effect.gen(function* () {
  const here = yield* Effect.provide(environ, ConcurrentBackend.layer({ maxWorkers: 1, python }))
  const there = yield* Effect.provide(
    Effect.all({ environ, origins: ExecutionBackend.execute(Modules.make()) }),
    DaskBackend.layer({ python, workers: 1, threadsPerWorker: 1, path: [modules] })
  )
  yield* Console.log(JSON.stringify({ here, there: there.environ, origins: there.origins }))
})

Effect.runPromise(program)
