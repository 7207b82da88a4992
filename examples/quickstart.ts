/**
 * When do flights run late? Cuts 200,000 of them into sixteen parts, has an awk program sum up each, merges the sums
 * in this process, and believes the result only when another program has recomputed it from the original data.
 *
 *     npm start
 *     npm start -- DATA.json OUTPUT_DIRECTORY
 *
 * The workflow is in quickstart/workflow.ts, its tasks are in quickstart/tasks.ts. What is here says where they run;
 * quickstart-dask.ts says it otherwise, and nothing else.
 */
import { NodeContext } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { ConcurrentBackend } from "effect-rhapsody"
import { MergeLive } from "./quickstart/tasks.js"
import { main, program } from "./quickstart/workflow.js"

const BackendLive = ConcurrentBackend.layer({ maxWorkers: 2 })

program.pipe(Effect.provide(Layer.mergeAll(BackendLive, MergeLive, NodeContext.layer)), main)
