/** Runs scripts until it is asked to end, and how: `exit`, `throw`. Started with a plan as JSON. */
import * as Effect from "effect/Effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"

const { launcher, scripts } = JSON.parse(process.argv[2]!) as {
  readonly launcher: "agent" | "node"
  readonly scripts: ReadonlyArray<string>
}

const Bash = (script: string) =>
  Task.executable("Bash", { command: () => ({ executable: "bash", args: ["-c", script] }) })

process.stdin.on("data", (word) => {
  if (String(word) === "exit\n") process.exit(7)
  setTimeout(() => {
    throw new Error("uncaught")
  })
})

Effect.runFork(
  Effect.forEach(scripts, (script) => ExecutionBackend.submit(Bash(script).make())).pipe(
    Effect.zipRight(Effect.never),
    Effect.provide(ConcurrentBackend.layer({ launcher, maxWorkers: 100 }))
  )
)
