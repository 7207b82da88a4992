// What is measured of this library, in a process of its own: node ours.js MODE OPTIONS, both as JSON. The last line of
// stdout is what was measured.
import { createHash } from "node:crypto"
import { monitorEventLoopDelay } from "node:perf_hooks"
import type { Scope } from "effect"
import { Effect, Fiber, Schedule, Schema } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { agents, descendants, isAgent, isThere, memoryOf } from "./processes.js"
import { countEvents, runAll, tasksOf } from "./tasks.js"

const gc = () => (globalThis as { gc?: () => void }).gc?.()

interface Options {
  readonly executable: string
  readonly count: number
  /** Tasks before those that are measured. */
  readonly warm: number
}

export interface Rate {
  readonly rate: number
  /** The same of the first 1,000 tasks of the process. */
  readonly cold: number
  /** Of this process, microseconds per task. */
  readonly cpu: number
  /** p99 of the delay of the event loop, microseconds; 0 when it was not asked for. */
  readonly delay: number
  /** Live heap, MB. */
  readonly heap: number
  /** Keepers and agents; none when programs were launched by Node. */
  readonly agents: number
}

/** Live objects, as a program that holds many results has them. */
const fill = (bytes: number): ReadonlyArray<unknown> => {
  const blocks: Array<unknown> = []
  const row = (id: number) => ({ id, name: `row ${id}`, values: Array.from({ length: 32 }, (_, i) => id + i / 64) })
  const full = () => process.memoryUsage().heapUsed >= bytes
  while (!full()) {
    while (!full()) blocks.push(Array.from({ length: 5_000 }, (_, id) => row(id)))
    gc() // what is left is live
  }
  return blocks
}

interface RateOptions extends Options {
  /** Bytes that live in this process. */
  readonly heap?: number
  /** Reports when it begins, and measures the delay of the event loop. */
  readonly delay?: boolean
}

/** Their events, too. */
const counting = (executable: string, count: number) =>
  Effect.gen(function* () {
    const counted = yield* countEvents(count)
    yield* runAll(executable, count)
    yield* counted.all
  }).pipe(Effect.scoped)

const rate = ({ count, delay = false, executable, heap = 0, warm }: RateOptions) =>
  Effect.gen(function* () {
    const live = heap > 0 ? fill(heap) : []
    const first = Math.min(1000, warm)
    const begin = performance.now()
    yield* runAll(executable, first)
    const cold = first / ((performance.now() - begin) / 1000)
    // no collection is asked for: after one, V8 compiles again what it had compiled, and thousands of programs take
    // twice the CPU
    yield* counting(executable, warm - first)
    const histogram = monitorEventLoopDelay({ resolution: 1 })
    if (delay) {
      process.stdout.write("begin\n")
      histogram.enable()
    }
    const cpu = process.cpuUsage()
    const start = performance.now()
    yield* counting(executable, count)
    const seconds = (performance.now() - start) / 1000
    const { system, user } = process.cpuUsage(cpu)
    histogram.disable()
    gc()
    return {
      rate: count / seconds,
      cold,
      cpu: (user + system) / count,
      delay: delay ? histogram.percentile(99) / 1000 : 0,
      heap: live.length === 0 ? 0 : process.memoryUsage().heapUsed / 1e6,
      agents: agents().length
    } satisfies Rate
  })

/** Microseconds from the submission of a task to its outcome, one after the other on an idle engine. */
const latency = ({ count, executable, warm }: Options) =>
  Effect.gen(function* () {
    const tasks = tasksOf(executable)
    const values: Array<number> = []
    yield* runAll(executable, warm)
    gc()
    for (let i = 0; i < count; i++) {
      const start = performance.now()
      const fiber = yield* tasks.submit(i)
      yield* tasks.join(fiber, i)
      values.push((performance.now() - start) * 1000)
    }
    return values
  })

export interface Memory {
  readonly orchestrator: number
  readonly agents: number
}

/** After a collection; what is given back to the system is so somewhat later. */
const memory = Effect.gen(function* () {
  gc()
  yield* Effect.sleep("500 millis")
  return { orchestrator: process.memoryUsage.rss() / 1e6, agents: memoryOf(agents()).rss } satisfies Memory
})

export interface Growth {
  /** Memory after so many tasks, and the most that this process had until then. */
  readonly at: ReadonlyArray<{ readonly count: number; readonly memory: Memory; readonly peak: number }>
}

/** Many tasks, of which a thousand at most are live. */
const growth = ({ counts, executable }: { readonly executable: string; readonly counts: ReadonlyArray<number> }) =>
  Effect.gen(function* () {
    const window = 1000
    const tasks = tasksOf(executable)
    const at: Array<Growth["at"][number]> = []
    const counted = yield* countEvents(counts.at(-1)!)
    let submitted = 0
    for (const count of counts) {
      const live: Array<Effect.Effect.Success<ReturnType<typeof tasks.submit>>> = []
      const from = submitted
      const joinNext = Effect.suspend(() => tasks.join(live.shift()!, submitted - live.length - 1))
      for (; submitted < count; submitted++) {
        if (submitted - from >= window) yield* joinNext
        live.push(yield* tasks.submit(submitted))
      }
      while (live.length > 0) yield* joinNext
      at.push({ count, memory: yield* memory, peak: memoryOf([process.pid]).peak })
    }
    yield* counted.all
    return { at } satisfies Growth
  })

export interface Flood {
  /** MB a second, of each time. */
  readonly rates: ReadonlyArray<number>
  readonly before: Memory
  readonly peak: Memory
  readonly after: Memory
}

interface FloodOptions {
  readonly file: string
  readonly hash: string
  readonly size: number
  readonly times: number
  readonly warm: number
}

/** The output of one task: the bytes of a file. */
const flood = ({ file, hash, size, times, warm }: FloodOptions) =>
  Effect.gen(function* () {
    const Cat = Task.executable("Cat", {
      payload: { file: Schema.String },
      success: Schema.Uint8ArrayFromSelf,
      command: ({ file }) => ({ executable: "cat", args: [file] })
    })
    yield* runAll("/bin/true", warm)
    const before = yield* memory
    // in a scope of its own: nothing holds the output when memory is measured
    const one = Effect.gen(function* () {
      gc()
      const start = performance.now()
      const bytes = yield* ExecutionBackend.execute(Cat.make({ file }))
      const rate = size / 1000 / (performance.now() - start)
      const same = createHash("sha256").update(bytes).digest("hex") === hash
      return same ? rate : yield* Effect.dieMessage("its output is not what was in the file")
    })
    const rates = yield* Effect.replicateEffect(one, times)
    const peak = { orchestrator: memoryOf([process.pid]).peak, agents: memoryOf(agents()).peak }
    yield* runAll("/bin/true", warm) // the last output is held until something else comes
    return { rates, before, peak, after: yield* memory } satisfies Flood
  })

export interface Cancels {
  /** Milliseconds from the call to the moment at which cancel has returned and no process is left. */
  readonly values: ReadonlyArray<number>
  /** How often a process was left when cancel returned. */
  readonly late: number
}

const sleeps = 5

/** Cancels trees of six processes that all obey TERM. */
const cancels = ({ count, warm }: { readonly count: number; readonly warm: number }) =>
  Effect.gen(function* () {
    const Tree = Task.executable("Tree", {
      command: () => ({ executable: "sh", args: ["-c", `${"sleep 600 & ".repeat(sleeps)}wait`] })
    })
    const tree = Effect.suspend(() => {
      const found = descendants().filter((process) => !isAgent(process))
      const asleep = found.filter(({ command }) => command[0] === "sleep")
      return asleep.length === sleeps && found.length === sleeps + 1
        ? Effect.succeed(found.map(({ pid }) => pid))
        : Effect.fail("not yet")
    }).pipe(Effect.retry(Schedule.spaced("1 millis")))
    yield* runAll("/bin/true", warm)
    const values: Array<number> = []
    let late = 0
    for (let i = 0; i < count; i++) {
      const fiber = yield* ExecutionBackend.submit(Tree.make())
      const pids = yield* tree
      const start = performance.now()
      const live = yield* ExecutionBackend.cancel(fiber)
      if (pids.some(isThere)) late++
      while (pids.some(isThere)) yield* Effect.sleep("1 millis")
      values.push(performance.now() - start)
      const ended = yield* Effect.flip(Fiber.join(fiber))
      if (!live || ended.reason !== "Canceled") return yield* Effect.dieMessage(`${live}, ${ended.message}`)
    }
    return { values, late } satisfies Cancels
  })

const modes = { rate, latency, growth, flood, cancels }
export type Mode = keyof typeof modes

const [mode = "rate", options = "{}"] = process.argv.slice(2)
// nothing is measured any more when the bench is gone
process.stdin.resume().on("end", () => process.exit(1))
const run: (
  options: any
) => Effect.Effect<unknown, unknown, Scope.Scope | ExecutionBackend.ExecutionBackend<"executable">> =
  modes[mode as Mode]
const measured = run(JSON.parse(options)).pipe(Effect.scoped, Effect.provide(ConcurrentBackend.layer()))
process.stdout.write(`${JSON.stringify(await Effect.runPromise(measured))}\n`)
process.exit(0)
