// A program that submits one task, a tree of processes that do not end or the script that it is given, to a cluster of its own: to be
// stopped.
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"

const script = process.env["RHAPSODY_SCRIPT"] ?? "sh -c 'sleep 3600 & wait' & setsid sleep 3600 & wait"
const Tree = Task.executable("Tree", { command: () => ({ executable: "sh", args: ["-c", script] }) })
const Backend = DaskBackend.layer({ python: process.argv[2]!, workers: 1, threadsPerWorker: 1 })

ExecutionBackend.execute(Tree.make()).pipe(Effect.provide(Backend), NodeRuntime.runMain)
