/** The Python programs of the Dask backend: what the bridge runs, and what it ships to the cluster. */
import { createHash } from "node:crypto"
import { agentSource } from "../process/agent.js"
import { argumentsFor } from "../process/python.js"
import { sourceOf } from "../sources.js"

const frame = "bridge/frame"
const here = (...names: ReadonlyArray<string>) => names.map((name) => `dask/${name}`)

export interface Programs {
  /** Of the bridge's process. */
  readonly bridge: string
  /** The module for scheduler and workers, whose name is that of its content: two versions can meet on one cluster. */
  readonly module: string
  readonly remote: string
  /** Of the launch agents on workers. */
  readonly agent: string
  /** With which their interpreter is started. */
  readonly agentArguments: ReadonlyArray<string>
}

let programs: Programs | undefined

export const load = (): Programs => {
  if (programs !== undefined) return programs
  const remote = sourceOf(
    frame,
    "process/agent/processes",
    ...here(
      ...["remote/values", "remote/functions", "remote/programs", "remote/agents", "remote/launches", "remote/worker"],
      ...["remote/scheduler", "remote/own", "remote/items", "remote/sealed"]
    )
  )
  programs = {
    bridge: sourceOf(
      frame,
      "process/agent/processes",
      ...here(
        ...["bridge/channel", "bridge/shipping", "bridge/cluster", "bridge/losses", "bridge/ends"],
        ...["bridge/bridge", "bridge/serving", "bridge/keeper"]
      )
    ),
    module: `effect_rhapsody_${createHash("sha256").update(remote).digest("hex").slice(0, 12)}`,
    remote,
    agent: agentSource(),
    agentArguments: argumentsFor("effect-rhapsody launch agent", agentSource())
  }
  return programs
}
