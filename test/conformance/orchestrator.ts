// A program that submits one task, a tree of processes that do not end or the script that it is given: to be stopped.
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"

const script = process.env["RHAPSODY_SCRIPT"] ?? "sh -c 'sleep 3600 & wait' & setsid sleep 3600 & wait"
const Tree = Task.executable("Tree", { command: () => ({ executable: "sh", args: ["-c", script] }) })

const launcher = process.argv[2] as "agent" | "node"
ExecutionBackend.execute(Tree.make()).pipe(Effect.provide(ConcurrentBackend.layer({ launcher })), NodeRuntime.runMain)
