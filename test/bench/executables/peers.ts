// Who else runs the same programs: tasks a second of each, and what is said of one that is absent.
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Option } from "effect"
import { rhapsodyPython } from "../peers/rhapsody.js"
import { measure, outputOf } from "./children.js"
import { nameOf, printed } from "./tasks.js"

const width = 4

export type Peer = "posixSpawn" | "xargs" | "rhapsody" | "nodeSpawn"
export const names: Readonly<Record<Peer, string>> = {
  posixSpawn: `posix_spawn in C, ${width} wide`,
  xargs: `xargs -n1 -P${width}`,
  rhapsody: `RHAPSODY, ${width} workers`,
  nodeSpawn: `child_process.spawn, ${width} wide`
}

export const warn = (text: string) => console.log(`!!! ${text}`)

/** Runs `count` times `executable`: how many a second. */
export type RateOf = (executable: string, count: number) => Promise<number>

export interface Peers {
  readonly rates: Map<Peer, RateOf>
  /** Takes a peer out, for good. */
  readonly miss: (peer: Peer, why: string) => void
  /** Microseconds from start to end of the same program in C, one after the other. */
  readonly latencies: (executable: string, count: number) => Promise<ReadonlyArray<number>>
}

/** Its programs share a file for their output, for a pipe would have to be read meanwhile. */
const xargs =
  (cwd: string): RateOf =>
  async (executable, count) => {
    const numbers = Array.from({ length: count }, (_, i) => i)
    const [input, output] = [join(cwd, "xargs.in"), join(cwd, "xargs.out")]
    writeFileSync(input, numbers.map((i) => `${nameOf(i)}\n`).join(""))
    writeFileSync(output, "")
    const [from, to] = [openSync(input, "r"), openSync(output, "a")]
    const start = performance.now()
    const child = spawn("xargs", ["-n1", `-P${width}`, executable], { cwd, stdio: [from, to, "inherit"] })
    const [code] = await once(child, "exit")
    const seconds = (performance.now() - start) / 1000
    for (const fd of [from, to]) closeSync(fd)
    const lines = readFileSync(output, "utf8").split(/(?<=\n)/)
    if (code !== 0 || lines.sort().join("") !== numbers.map((i) => printed(executable, i)).join("")) {
      throw new Error(`it ended with ${code} and printed ${lines.length} lines`)
    }
    return count / seconds
  }

/** `cwd` is for their files, `modules` where the compiled ones are. */
export const findPeers = (cwd: string, modules: string): Peers => {
  const rates: Peers["rates"] = new Map()
  const miss = (peer: Peer, why: string) => {
    rates.delete(peer)
    warn(`${names[peer]}: ${why}. THE FIGURE ${peer} IS NOT REACHED without it.`)
  }

  const loop = join(cwd, "spawn")
  const source = join(import.meta.dirname, "../peers/spawn.c")
  if (spawnSync("cc", ["-O2", "-o", loop, source], { stdio: "inherit" }).status === 0) {
    rates.set("posixSpawn", async (executable, count) => {
      return count / Number(await outputOf(cwd, loop, ["rate", String(count), String(width), executable]))
    })
  } else miss("posixSpawn", "there is no cc, or it failed")

  if (spawnSync("xargs", ["--version"], { stdio: "ignore" }).error === undefined) rates.set("xargs", xargs(cwd))
  else miss("xargs", "it is not there")

  const python = rhapsodyPython()
  if (Option.isSome(python)) {
    const script = join(import.meta.dirname, "../peers/rhapsody_executables.py")
    rates.set("rhapsody", async (executable, count) =>
      Number(await outputOf(cwd, python.value, [script, executable, String(count)]))
    )
  } else miss("rhapsody", "it could not be installed")

  rates.set("nodeSpawn", (executable, count) =>
    measure(cwd, join(modules, "nodeSpawn.js"), [executable, String(count), String(width)])
  )

  return {
    rates,
    miss,
    latencies: async (executable, count) =>
      rates.has("posixSpawn")
        ? (await outputOf(cwd, loop, ["latency", String(count), executable])).trimEnd().split("\n").map(Number)
        : []
  }
}
