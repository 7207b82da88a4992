// A backend of your own is a driver: its kinds, how many at a time, and how to run one. Interruption means "stop".
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import type { Driver } from "effect-rhapsody"
import { Backend, ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"

// This one says what it does and lets the Concurrent backend's driver do it.
const LoggingBackend = Backend.layer(
  Effect.map(
    ConcurrentBackend.driver({ kinds: ["executable"] }),
    (inner): Driver.SlotDriver<"executable"> => ({
      ...inner,
      type: "logging",
      run: (spec, hooks) =>
        Effect.zipRight(Console.log(`logging: runs ${spec.name} as ${spec.uid}`), inner.run(spec, hooks))
    })
  )
)

const Echo = Task.executable("Echo", { command: () => ({ executable: "echo", args: ["hello"] }) })

const program = Effect.flatMap(ExecutionBackend.execute(Echo.make()), (answer) => Console.log(answer.trim()))

program.pipe(Effect.provide(LoggingBackend), NodeRuntime.runMain)
