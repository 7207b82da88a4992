/**
 * The workflow of quickstart.ts on Dask: its programs run on the workers of a cluster, its function beside them in this
 * process. Only the layers differ.
 *
 *     python3 -m venv env && env/bin/pip install dask distributed cryptography
 *     RHAPSODY_DASK_PYTHON=env/bin/python \
 *       node --conditions=effect-rhapsody-source --import tsx examples/quickstart-dask.ts
 *
 * With RHAPSODY_DASK_ADDRESS, such as tcp://head:8786, it runs on a cluster that is there already: one that sees the
 * files of this machine, for the tasks name them by their paths.
 */
import { NodeContext } from "@effect/platform-node"
import { Config, Effect, Layer, Option } from "effect"
import { ConcurrentBackend, DaskBackend } from "effect-rhapsody"
import { MergeLive } from "./quickstart/tasks.js"
import { main, program } from "./quickstart/workflow.js"

const options = Config.map(
  Config.all({
    address: Config.option(Config.string("ADDRESS")),
    python: Config.withDefault(Config.string("PYTHON"), "python3")
  }),
  ({ address, python }) => ({
    python,
    kinds: ["executable"] as const,
    ...Option.match(address, {
      onNone: () => ({ workers: 2, threadsPerWorker: 1 }),
      onSome: (address) => ({ address })
    })
  })
).pipe(Config.nested("DASK"), Config.nested("RHAPSODY"))

const BackendLive = Layer.merge(DaskBackend.layerConfig(options), ConcurrentBackend.layer({ kinds: ["function"] }))

program.pipe(Effect.provide(Layer.mergeAll(BackendLive, MergeLive, NodeContext.layer)), main)
