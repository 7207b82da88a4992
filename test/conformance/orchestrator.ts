// A program that submits one task, a tree of processes that do not end or the script that it is given: to be stopped.
import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import * as replay from "./replay.js"

const script = process.env["RHAPSODY_SCRIPT"] ?? "sh -c 'sleep 3600 & wait' & setsid sleep 3600 & wait"
const Tree = Task.executable("Tree", { command: () => ({ executable: "sh", args: ["-c", script] }) })

const launcher = process.argv[2] as "agent" | "node"
const make = process.argv[3] === "replay" ? replay.layer : ConcurrentBackend.layer
ExecutionBackend.execute(Tree.make()).pipe(Effect.provide(make({ launcher })), NodeRuntime.runMain)
