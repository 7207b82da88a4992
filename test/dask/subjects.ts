/** The Dask backend, as the conformance suite sees it: on a cluster that all cases share and join. */
import * as path from "node:path"
import { Effect, Exit, Layer, Schema, Scope } from "effect"
import type { Backend } from "effect-rhapsody"
import { DaskBackend, Task } from "effect-rhapsody"
import { Conformance } from "effect-rhapsody/testing"
import { cluster } from "../engines/dask.js"
import { base, bridges, missing, python } from "./support.js"

export { missing }

const { ExecutableWork, Refused } = Conformance

/** One worker of four threads, started when a row needs it. */
let started: Promise<string> | undefined
const scope = Effect.runSync(Scope.make())
const address = () =>
  (started ??= Effect.runPromise(
    Effect.gen(function* () {
      const { address, worker } = yield* cluster(python)
      yield* worker("--nthreads", "4")
      return address
    }).pipe(Scope.extend(scope))
  ))
export const close = (): Promise<void> => Effect.runPromise(Scope.close(scope, Exit.void))

const layer = (options?: Backend.Options) =>
  Layer.unwrapEffect(
    Effect.map(Effect.promise(address), (address) =>
      DaskBackend.layer({ stopTimeout: "2 seconds", ...options, ...base, address, forceKillAfter: "200 millis" })
    )
  )

const lose = Effect.sync(() => {
  for (const { bridge } of bridges()) process.kill(bridge, "SIGKILL")
})

const PythonWork = Task.python("Work", {
  callable: "conformance_work:behave",
  payload: { how: Conformance.How, value: Schema.Number },
  success: Schema.Struct({ value: Schema.Number }),
  error: Refused,
  failure: ({ args, type }) => (type === "Refused" ? new Refused({ value: Number(args?.[0]) }) : undefined)
})

export const subjects: ReadonlyArray<Conformance.Subject> = [
  {
    name: "Dask",
    kinds: ["executable", "python"],
    programs: true,
    slots: 4,
    layer,
    work: ExecutableWork.make,
    failEngine: lose,
    // arguments of a call that Dask repeats, under a key that leaves room for them in a line of its log
    options: [{ settings: DaskBackend.settings({ retries: 1, key: "k" }) }],
    orchestrator: [
      process.execPath,
      "--conditions=effect-rhapsody-source",
      "--import",
      "tsx",
      path.join(import.meta.dirname, "orchestrators/tree.ts"),
      python
    ]
  },
  {
    name: "Dask, Python",
    kinds: ["executable", "python"],
    slots: 4,
    layer,
    work: PythonWork.make,
    failEngine: lose,
    waivers: {
      stopped: { reason: "its functions run in processes of the cluster; `test/dask` looks for their traces there" }
    }
  }
]
