// Executables through the public `submit` with default options: one call per task, every output and exit compared,
// every event counted. Beside it, on the same programs, a loop of posix_spawn in C, xargs, RHAPSODY, and Node's own
// spawn; alone, and with idle processes on the machine. Then what it costs the process that submits.
//
// BENCH_SHORT=1 leaves the long run out, for which see `longRun`; BENCH_ROUNDS and BENCH_TASKS make all of it smaller.
import { createHash, randomFillSync } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { compile, directory, measure, talk, withIdle } from "./executables/children.js"
import type { Cancels, Flood, Growth, Mode, Rate } from "./executables/ours.js"
import type { Peer } from "./executables/peers.js"
import { findPeers, names, warn } from "./executables/peers.js"
import type { Report } from "./report.js"
import { median, percentile, round } from "./report.js"

const rounds = Number(process.env["BENCH_ROUNDS"] ?? 7)
const tasks = Number(process.env["BENCH_TASKS"] ?? 2000)
const short = process.env["BENCH_SHORT"] === "1"
/** Of what is meant for 2,000 tasks. */
const share = (n: number) => Math.max(5, Math.round((n * tasks) / 2000))

const echo = "/bin/echo"
const programs = [echo, "/bin/true"]
const idle = share(500)
const gigabyte = 2 ** 30
/**
 * So many run before those that are measured, for the compiler of Node takes thousands: long campaigns are what the
 * figures are about. The rate of the first 1,000 is a row of its own.
 */
const warm = share(12_000)
/** So many are measured then: fewer would have a collection of garbage among them by chance, or not. */
const campaign = share(6000)
/** The slow run fewer tasks, and so do all where no figure is concerned: what counts is the rate. */
const slow: ReadonlyArray<string> = ["rhapsody", "nodeSpawn"]
const countFor = (who: string, executable: string, others: number) =>
  share((slow.includes(who) ? 1000 : 2000) / (executable === echo && others === 0 ? 1 : 2))

const me = "effect-rhapsody"
const largeHeap = `${me}, 1 GB of live heap`
const nameOf = (who: string, executable: string, others: number) =>
  `${who}: ${executable}${others === 0 ? "" : `, ${others} idle processes`}`

export const bench = async (): Promise<Report> => {
  const samples = new Map<string, { readonly unit: string; readonly values: Array<number> }>()
  const add = (name: string, unit: string, ...values: ReadonlyArray<number>) => {
    const { values: all } = samples.get(name) ?? { values: [] }
    samples.set(name, { unit, values: [...all, ...values] })
  }

  const cwd = directory()
  const modules = join(compile("executables"), "executables")
  const module = join(modules, "ours.js")
  const ours = <A>(mode: Mode, options: object) => measure<A>(cwd, module, [mode, JSON.stringify({ warm, ...options })])
  const peers = findPeers(cwd, modules)

  // ----------------------------------------------------------------------------------------------------------- rates

  const ourRate = async (executable: string, others: number) => {
    const options = { executable, count: campaign }
    const { agents, cold, cpu, rate } = await ours<Rate>("rate", options)
    add(nameOf(me, executable, others), "tasks/s", rate)
    add(nameOf(`${me}, its first 1,000`, executable, others), "tasks/s", cold)
    add(nameOf("CPU of the orchestrator per task", executable, others), "us", cpu)
    if (agents === 0) warn("No launch agent: Node launched the programs. THE FIGURES ARE NOT REACHED.")
  }

  const ourLargeRate = async () => {
    const { heap, rate } = await ours<Rate>("rate", { executable: echo, count: campaign, heap: gigabyte })
    add(nameOf(largeHeap, echo, 0), "tasks/s", rate)
    add("live heap of it", "MB", heap)
  }

  const peerRate = async (peer: Peer, executable: string, others: number) => {
    try {
      const rate = await peers.rates.get(peer)!(executable, countFor(peer, executable, others))
      add(nameOf(names[peer], executable, others), "tasks/s", rate)
    } catch (problem) {
      peers.miss(peer, `it failed: ${problem}`)
    }
  }

  /** Each round begins with another one. */
  const rates = async (turn: number, executable: string, others: number) => {
    const contenders = [
      () => ourRate(executable, others),
      ...(executable === echo && others === 0 ? [ourLargeRate] : []),
      ...[...peers.rates.keys()].map((peer) => () => peerRate(peer, executable, others))
    ]
    const first = turn % contenders.length
    for (const run of [...contenders.slice(first), ...contenders.slice(0, first)]) await run()
  }

  // --------------------------------------------------------------------------------------------------- one task, idle

  const latencies = async () => {
    const count = share(300)
    const mine = median(await ours<ReadonlyArray<number>>("latency", { executable: echo, count }))
    const theirs = await peers.latencies(echo, count)
    add(`one task on an idle engine, p50: ${echo}`, "us", mine)
    if (theirs.length === 0) return
    add(`spawn and wait in C, p50: ${echo}`, "us", median(theirs))
    add("one task on an idle engine, beyond spawn and wait in C", "us", mine - median(theirs))
  }

  // ------------------------------------------------------------------------------------------------- event loop delay

  /** Both at the same time: so the load is the same. */
  const delays = async () => {
    const timer = talk(cwd, join(modules, "timer.js"), [])
    await timer.hear()
    const options = { warm, executable: echo, count: tasks, delay: true }
    const loaded = talk(cwd, module, ["rate", JSON.stringify(options)])
    while ((await loaded.hear()) !== "begin");
    timer.say("begin")
    const { delay }: Rate = JSON.parse(await loaded.hear())
    timer.say("end")
    const bare = Number(await timer.hear())
    await Promise.all([timer.close(), loaded.close()])
    add("event loop delay p99 under load", "us", delay)
    add("event loop delay p99 of a bare timer process, same load", "us", bare)
    add("event loop delay p99 under load, beyond the bare timer's", "us", delay - bare)
  }

  // ----------------------------------------------------------------------------------------------------- large output

  const size = share(50) * 1e6
  const file = join(cwd, "flood")
  const bytes = randomFillSync(Buffer.alloc(size))
  writeFileSync(file, bytes)
  const hash = createHash("sha256").update(bytes).digest("hex")

  const floods = async () => {
    const { after, before, peak, rates } = await ours<Flood>("flood", { file, hash, size, times: 3 })
    const what = `${size / 1e6} MB from one task`
    add(what, "MB/s", ...rates)
    for (const [who, of] of [
      ["orchestrator", (_: Flood["peak"]) => _.orchestrator],
      ["keepers and agents", (_: Flood["peak"]) => _.agents]
    ] as const) {
      add(`${what}: RSS of ${who} before`, "MB", of(before))
      add(`${what}: RSS of ${who}, peak`, "MB", of(peak))
      add(`${what}: RSS of ${who} after`, "MB", of(after))
    }
  }

  // ----------------------------------------------------------------------------------------------------------- cancel

  const cancels = async () => {
    const { late, values } = await ours<Cancels>("cancels", { count: share(100) })
    const micros = values.map((value) => value * 1000)
    add("cancel of six processes until all are gone, p50", "us", percentile(micros, 50))
    add("cancel of six processes until all are gone, p99", "us", percentile(micros, 99))
    add("cancels that returned before all were gone", `of ${values.length}`, late)
  }

  // --------------------------------------------------------------------------------------------------------- long run

  /** Memory after 20,000 and after 200,000 tasks of one process, a thousand of them live at a time. */
  const longRun = async () => {
    const { at } = await ours<Growth>("growth", { executable: echo, counts: [share(20_000), share(200_000)] })
    for (const { count, memory, peak } of at) {
      const after = `after ${count.toLocaleString("en")} executables`
      add(`RSS of orchestrator ${after}`, "MB", memory.orchestrator)
      add(`RSS of keepers and agents ${after}`, "MB", memory.agents)
      add(`RSS of orchestrator until then, peak, ${after}`, "MB", peak)
    }
    const total = at.map(({ memory }) => memory.orchestrator + memory.agents)
    for (const [i, { count }] of at.entries())
      add(`RSS of all of them after ${count.toLocaleString("en")}`, "MB", total[i]!)
    add("RSS of all of them, growth between the two", "MB", total[1]! - total[0]!)
  }

  const began = performance.now()
  for (let turn = 0; turn < rounds; turn++) {
    for (const others of [0, idle]) {
      await withIdle(others, async () => {
        for (const executable of programs) await rates(turn, executable, others)
      })
    }
    await latencies()
    await delays()
    await floods()
    console.error(`round ${turn + 1} of ${rounds}: ${Math.round((performance.now() - began) / 1000)} s`)
  }
  await cancels()
  if (short) console.log("BENCH_SHORT: memory after 20,000 and 200,000 executables was not measured")
  else {
    console.error("the long run, some minutes")
    await longRun()
  }

  const rateOf = (who: string, executable = echo) => median(samples.get(nameOf(who, executable, 0))!.values)
  const beside = (peer: Peer, executable = echo) =>
    peers.rates.has(peer) ? round(rateOf(me, executable) / rateOf(names[peer], executable)) : null
  return {
    samples: [...samples].map(([name, rest]) => ({ name, ...rest })),
    ratios: {
      posixSpawn: beside("posixSpawn"),
      xargs: beside("xargs"),
      rhapsody: beside("rhapsody"),
      nodeSpawn: beside("nodeSpawn"),
      posixSpawnTrue: beside("posixSpawn", "/bin/true"),
      xargsTrue: beside("xargs", "/bin/true"),
      rhapsodyTrue: beside("rhapsody", "/bin/true"),
      nodeSpawnTrue: beside("nodeSpawn", "/bin/true"),
      largeHeap: round(rateOf(largeHeap) / rateOf(me))
    }
  }
}
