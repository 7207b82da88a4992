/** Says what a task inherits: each variable as the system has it, in base 64. */
import * as Effect from "effect/Effect"
import type { ConcurrentBackend as Concurrent } from "effect-rhapsody"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"

const options = JSON.parse(process.argv[2]!) as Concurrent.Options

const Environ = Task.executable("Environ", {
  success: Task.Output,
  command: () => ({ executable: "cat", args: ["/proc/self/environ"] })
})

Effect.runPromise(Effect.provide(ExecutionBackend.execute(Environ.make()), ConcurrentBackend.layer(options))).then(
  ({ stdoutBytes }) => {
    const lines = Buffer.from(stdoutBytes).toString("latin1").split("\0").slice(0, -1)
    console.log(JSON.stringify(lines.map((line) => Buffer.from(line, "latin1").toString("base64"))))
  }
)
