// Backends by name, as they come from a configuration: which there are, which can run here, and one of your own.
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, Schema } from "effect"
import { Backend, BackendRegistry, ConcurrentBackend, ExecutionBackend, TaskDictionary } from "effect-rhapsody"

// Its options are decoded when it is chosen, and one that is not given is looked for in the environment. Its layer may
// be a promise, e.g. of an import.
const Logging = BackendRegistry.entry({
  name: "logging",
  description: "says what it submits and lets concurrent run it",
  options: Schema.Struct({ prefix: Schema.optionalWith(Schema.String, { default: () => "LoggingBackend" }) }),
  config: { prefix: Config.string("LOGGING_PREFIX").pipe(Config.withDefault(undefined)) },
  layer: ({ prefix }) =>
    Backend.layer(
      Effect.map(ConcurrentBackend.driver(), (inner) => ({
        ...inner,
        type: "logging",
        run: (spec, hooks) => Effect.zipRight(Console.log(`${prefix}: runs ${spec.uid}`), inner.run(spec, hooks))
      }))
    )
})

const runOn = (backend: string | undefined, options?: unknown) =>
  TaskDictionary.decode({ uid: "test_task", executable: "echo", arguments: ["hello"] }).pipe(
    Effect.flatMap(ExecutionBackend.execute),
    Effect.provide(BackendRegistry.layer(backend, options)),
    Effect.flatMap((answer) => Console.log(`${backend ?? "the default"}: ${String(answer).trim()}`)),
    Effect.catchTag("ConfigurationError", (error) => Console.log(`refused: ${error.message}`))
  )

const program = Effect.gen(function* () {
  for (const found of yield* BackendRegistry.discover()) {
    yield* Console.log(`${found.name} ${found.available ? "is available" : `is not available: ${found.reason}`}`)
  }
  yield* runOn(undefined)
  yield* BackendRegistry.register(Logging)
  yield* runOn("logging", { prefix: "log" })
  yield* runOn("logging", { prefx: "log" })
  yield* runOn("concurrent", { maxWorkers: 0 })
  yield* runOn("nowhere")
})

program.pipe(Effect.provide(BackendRegistry.layerDefault), NodeRuntime.runMain)
