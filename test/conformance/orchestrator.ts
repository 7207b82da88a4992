// A program that submits one task, a tree of processes that do not end: to be killed with SIGKILL.
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"

const Tree = Task.executable("Tree", {
  command: () => ({ executable: "sh", args: ["-c", "sh -c 'sleep 3600 & wait' & setsid sleep 3600 & wait"] })
})

ExecutionBackend.execute(Tree.make()).pipe(Effect.provide(ConcurrentBackend.layer()), NodeRuntime.runMain)
