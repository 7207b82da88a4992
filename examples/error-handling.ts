// Everything that can go wrong has a type: the task's own errors, and three of the library.
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Schema } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { isRhapsodyError } from "effect-rhapsody/Errors"

class Diverged extends Schema.TaggedError<Diverged>()("Diverged", { step: Schema.Int }) {}

const Simulate = Task.executable("Simulate", {
  payload: { script: Schema.String },
  error: Diverged,
  command: ({ script }) => ({ executable: "sh", args: ["-c", script] }),
  failure: ({ exitCode, stdout }) => (exitCode === 3 ? new Diverged({ step: Number(stdout) }) : undefined)
})

const attempt = (script: string, options?: Task.Options) =>
  ExecutionBackend.execute(Simulate.make({ script }, options)).pipe(
    Effect.flatMap((output) => Console.log(`completed: ${output.trim()}`)),
    Effect.catchTags({
      Diverged: (error) => Console.log(`diverged at step ${error.step}`),
      TaskError: (error) =>
        Console.log(
          `task ${error.taskUid} failed: ${error.reason}, exit code ${error.exitCode}, ${error.details["stderr"]}`
        ),
      BackendError: (error) => Console.log(`backend ${error.backendType}: ${error.reason}`),
      ConfigurationError: (error) => Console.log(`wrong ${error.configKey}: ${error.message}`)
    })
  )

const program = Effect.gen(function* () {
  yield* attempt("echo fine")
  yield* attempt("echo 7; exit 3")
  yield* attempt("echo no input >&2; exit 2", { uid: "test_task" })
  yield* attempt("sleep 60", { timeout: "100 millis" })
  yield* attempt("true", { retry: { times: -1 } })

  // all of ours at once; what is left is the task's own
  yield* ExecutionBackend.execute(Simulate.make({ script: "kill -9 $$" })).pipe(
    Effect.catchIf(isRhapsodyError, (error) => Console.log(error.message))
  )
})

program.pipe(Effect.provide(ConcurrentBackend.layer()), NodeRuntime.runMain)
