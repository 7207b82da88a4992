// Who runs the tasks: this library and Dask's own client, each a process that is asked line by line.
import { join } from "node:path"
import { talk, talkTo } from "../executables/children.js"
import type { Memory, Rate, Request, Work } from "./ours.js"

/** What runs on the workers, and the program of the native client. */
const peers = join(import.meta.dirname, "../peers")

export interface Contender {
  readonly name: string
  readonly rate: (work: Work, count: number) => Promise<Omit<Rate, "bridge"> & { readonly bridge?: number }>
  /** Microseconds of one task after the other. */
  readonly latency: (work: Work, count: number) => Promise<ReadonlyArray<number>>
  readonly close: () => Promise<void>
}

export interface Ours extends Contender {
  /** After so many more tasks. */
  readonly memory: (work: Work, count: number) => Promise<Memory>
}

const asked = async (name: string, child: ReturnType<typeof talk>) => {
  const ask = async <A>(request: Request): Promise<A> => {
    child.say(JSON.stringify(request))
    return JSON.parse(await child.hear())
  }
  await child.hear() // it is ready
  return {
    name,
    rate: (work: Work, count: number) => ask<Rate>({ mode: "rate", work, count }),
    latency: (work: Work, count: number) => ask<ReadonlyArray<number>>({ mode: "latency", work, count }),
    memory: (work: Work, count: number) => ask<Memory>({ mode: "memory", work, count }),
    close: () => child.close()
  }
}

export interface Place {
  readonly cwd: string
  /** Where the compiled modules are. */
  readonly modules: string
  readonly python: string
  /** Of a scheduler; undefined: a cluster of its own. */
  readonly address: string | undefined
  /** Of a cluster of its own: without TLS. */
  readonly insecure?: boolean
}

export const ours = (name: string, { address, cwd, insecure, modules, python }: Place): Promise<Ours> => {
  const own = { workers: 2, threadsPerWorker: 1, ...(insecure === undefined ? {} : { insecure }) }
  const cluster = address === undefined ? own : { address }
  const options = JSON.stringify({ ...cluster, python, path: [peers] })
  return asked(name, talk(cwd, join(modules, "dask/ours.js"), [options]))
}

export const native = (name: string, { address, cwd, python }: Place): Promise<Contender> =>
  asked(name, talkTo(cwd, python, [join(peers, "dask_native.py"), address ?? "local"]))
