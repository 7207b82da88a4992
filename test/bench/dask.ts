// Tasks on Dask through the public `submit`, one call per task, every result compared, every event counted. Beside it,
// in turns, Dask's own client: `client.submit` for each task, then `gather`. Both are connected to the same scheduler,
// which no client owns, with two worker processes of one thread each, without TLS; then each once more with a LocalCluster of
// its own, both with TLS, and this library's without it as well.
// The functions are the same file, known to the workers by name on both sides; `subprocess.run` starts the programs of
// the native client.
//
// BENCH_SHORT=1 leaves the long run out, for which see `longRun`; BENCH_ROUNDS and BENCH_TASKS make all of it smaller.
import { loadavg } from "node:os"
import { Effect } from "effect"
import { cluster, provision } from "../engines/dask.js"
import type { Contender } from "./dask/contenders.js"
import { native, ours } from "./dask/contenders.js"
import type { Work } from "./dask/ours.js"
import { compile, directory } from "./executables/children.js"
import { warn } from "./executables/peers.js"
import type { Report } from "./report.js"
import { median, round } from "./report.js"

const rounds = Number(process.env["BENCH_ROUNDS"] ?? 7)
const tasks = Number(process.env["BENCH_TASKS"] ?? 2000)
const short = process.env["BENCH_SHORT"] === "1"
/** Of what is meant for 2,000 tasks. */
const share = (n: number) => Math.max(5, Math.round((n * tasks) / 2000))

const works: ReadonlyArray<Work> = ["functions", "executables"]
const countOf = { functions: share(2000), executables: share(1000) }
/** So many run before those that are measured, on both sides, for the compiler of Node takes thousands. */
const warm = { functions: share(6000), executables: share(2000) }
const what = { functions: "no-op Python functions", executables: "/bin/true" }

const me = "effect-rhapsody"
const peer = "distributed.Client"
const own = ", a LocalCluster of its own"
const insecure = ", the same without TLS"
const absent = { functions: null, executables: null, ownFunctions: null, ownExecutables: null, roundTripMs: null }

const load = () =>
  `load ${loadavg()
    .map((value) => value.toFixed(1))
    .join(" ")}`

export const bench = async (): Promise<Report> => {
  const environment = await provision()
  if ("missing" in environment) {
    warn(`Dask cannot be installed: ${environment.missing}. THE FIGURES ARE NOT REACHED without it.`)
    return { samples: [], ratios: absent }
  }
  console.log("RHAPSODY on Dask: this bench has no peer for it, so there is no figure")
  console.log(load())
  const { python } = environment
  const place = { cwd: directory(), modules: compile("dask", "executables"), python }

  const samples = new Map<string, { readonly unit: string; readonly values: Array<number> }>()
  const add = (name: string, unit: string, ...values: ReadonlyArray<number>) => {
    const { values: all } = samples.get(name) ?? { values: [] }
    samples.set(name, { unit, values: [...all, ...values] })
  }

  const rate = async ({ name, rate }: Contender, work: Work) => {
    const { bridge, cpu, rate: value } = await rate(work, countOf[work])
    add(`${name}: ${what[work]}`, "tasks/s", value)
    add(`${name}: ${what[work]}, CPU of its process per task`, "us", cpu)
    if (bridge !== undefined) add(`${name}: ${what[work]}, CPU of the bridge per task`, "us", bridge)
  }
  const latency = async ({ latency, name }: Contender, work: Work) => {
    const value = median(await latency(work, share(100)))
    add(`${name}: one of ${what[work]}, p50`, "us", value)
    return value
  }

  const warmUp = async (contenders: ReadonlyArray<Contender>) => {
    for (const { rate } of contenders) for (const work of works) await rate(work, warm[work])
  }
  /** The rounds begin with the one and the other in turn. */
  const turns = async (contenders: ReadonlyArray<Contender>, name: string) => {
    await warmUp(contenders)
    for (let turn = 0; turn < rounds; turn++) {
      const began = performance.now()
      const first = turn % contenders.length
      const order = [...contenders.slice(first), ...contenders.slice(0, first)]
      for (const work of works) {
        for (const contender of order) await rate(contender, work)
        const micros = new Map<Contender, number>()
        for (const contender of order) micros.set(contender, await latency(contender, work))
        const [mine, theirs] = contenders.map((contender) => micros.get(contender)!)
        if (theirs !== undefined) add(`${name}: one of ${what[work]}, beyond the native`, "us", mine! - theirs)
      }
      console.error(
        `${name}: round ${turn + 1} of ${rounds}: ${Math.round((performance.now() - began) / 1000)} s, ${load()}`
      )
    }
  }

  /** This library first, and the native client where it starts. */
  const contest = async (address: string | undefined, suffix: string) => {
    const contenders: Array<Contender> = [await ours(`${me}${suffix}`, { ...place, address })]
    try {
      contenders.push(await native(`${peer}${suffix}`, { ...place, address }))
    } catch (problem) {
      warn(`${peer}${suffix}: it failed: ${problem}. THE FIGURES ARE NOT REACHED without it.`)
    }
    if (address === undefined) contenders.push(await ours(`${me}${insecure}`, { ...place, address, insecure: true }))
    try {
      await turns(contenders, address === undefined ? "clusters of their own" : "the same cluster")
    } finally {
      for (const { close } of contenders) await close()
    }
  }

  /** Memory after 10,000 and after 100,000 tasks of one process, a thousand of them live at a time. */
  const longRun = async (address: string) => {
    if (short) {
      console.log("BENCH_SHORT: memory after 10,000 and 100,000 functions was not measured")
      return undefined
    }
    console.error("the long run, some minutes")
    const contender = await ours(me, { ...place, address })
    const counts = [share(10_000), share(100_000)]
    const totals: Array<number> = []
    let done = 0
    for (const count of counts) {
      const { bridge, orchestrator } = await contender.memory("functions", count - done)
      done = count
      totals.push(orchestrator + bridge)
      add(`RSS of the orchestrator after ${count.toLocaleString("en")} functions`, "MB", orchestrator)
      add(`RSS of bridge and keeper after ${count.toLocaleString("en")} functions`, "MB", bridge)
    }
    await contender.close()
    add("RSS of all of them, growth between the two", "MB", totals[1]! - totals[0]!)
    return round(totals[1]! - totals[0]!)
  }

  const shared = Effect.gen(function* () {
    const { address, scheduler, worker } = yield* cluster(python)
    const started = [scheduler, yield* worker("--nthreads", "1"), yield* worker("--nthreads", "1")]
    // a bench that is stopped closes no scope
    process.once("exit", () => {
      for (const { pid } of started) {
        try {
          process.kill(-pid, "SIGKILL")
        } catch {
          // it has ended
        }
      }
    })
    return yield* Effect.promise(async () => {
      await contest(address, "")
      return await longRun(address)
    })
  }).pipe(Effect.scoped)

  const growth = await Effect.runPromise(shared)
  await contest(undefined, own)
  console.log(load())

  const rateOf = (who: string, work: Work) => samples.get(`${who}: ${what[work]}`)?.values
  /** Of each round by itself, for the load of the machine changes from one to the next. */
  const beside = (work: Work, cluster = "") => {
    const theirs = rateOf(`${peer}${cluster}`, work)
    if (theirs === undefined) return null
    return round(median(rateOf(`${me}${cluster}`, work)!.map((rate, turn) => rate / theirs[turn]!)))
  }
  const trip = samples.get(`the same cluster: one of ${what.functions}, beyond the native`)?.values
  return {
    samples: [...samples].map(([name, rest]) => ({ name, ...rest })),
    ratios: {
      functions: beside("functions"),
      executables: beside("executables"),
      ownFunctions: beside("functions", own),
      ownExecutables: beside("executables", own),
      roundTripMs: trip === undefined ? null : round(median(trip) / 1000),
      ...(growth === undefined ? {} : { rssGrowthMb: growth })
    }
  }
}
