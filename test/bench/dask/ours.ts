// What is measured of this library, in a process of its own: node ours.js OPTIONS, as JSON those of the layer. It
// answers each line of stdin, a request as JSON, with a line of JSON. Every result is compared, every event counted.
import { createInterface } from "node:readline"
import { Effect, Fiber, Layer, Logger, LogLevel, Schema, Stream } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { cpuOf, descendants, memoryOf } from "../executables/processes.js"
import { countEvents, tasksOf } from "../executables/tasks.js"

const gc = () => (globalThis as { gc?: () => void }).gc?.()

/** The bridge and its keeper; not the workers of a cluster of its own, which are below them. */
const bridge = (): ReadonlyArray<number> =>
  descendants()
    .filter(({ command }) => command.includes("effect-rhapsody bridge to Dask"))
    .map(({ pid }) => pid)

// -------------------------------------------------------------------------------------------------------------- works

/** `submit` is called once for each task. */
const workOf = <F, E, E2, R>(
  submit: (number: number) => Effect.Effect<F, E, R>,
  join: (fiber: F, number: number) => Effect.Effect<void, E2>
) => ({
  /** All of them submitted before the first is waited for. */
  all: (count: number) =>
    Effect.gen(function* () {
      const fibers = yield* Effect.forEach(Array.from({ length: count }), (_, i) => submit(i))
      yield* Effect.forEach(fibers, join, { discard: true })
    }),
  one: (number: number) => Effect.flatMap(submit(number), (fiber) => join(fiber, number)),
  /** Of many, a thousand at most are live. */
  stream: (count: number) =>
    Effect.gen(function* () {
      const live: Array<F> = []
      let joined = 0
      const next = Effect.suspend(() => join(live.shift()!, joined++))
      for (let i = 0; i < count; i++) {
        if (live.length === 1000) yield* next
        live.push(yield* submit(i))
      }
      while (live.length > 0) yield* next
    })
})

const Identity = Task.python("identity", {
  callable: "dask_work:identity",
  payload: { x: Schema.Int },
  success: Schema.Int
})
const trues = tasksOf("/bin/true")

const works = {
  functions: workOf(
    (x) => ExecutionBackend.submit(Identity.make({ x })),
    (fiber, x) =>
      Effect.flatMap(Fiber.join(fiber), (value) =>
        value === x ? Effect.void : Effect.dieMessage(`${x} became ${value}`)
      )
  ),
  executables: workOf(trues.submit, trues.join)
}
export type Work = keyof typeof works

// -------------------------------------------------------------------------------------------------------------- modes

export interface Request {
  readonly mode: keyof typeof modes
  readonly work: Work
  readonly count: number
}

export interface Rate {
  readonly rate: number
  /** Of this process, microseconds per task. */
  readonly cpu: number
  /** Of the bridge and its keeper, microseconds per task. */
  readonly bridge: number
}

const rate = ({ count, work }: Request) =>
  Effect.gen(function* () {
    const counted = yield* countEvents(count)
    const pids = bridge()
    const [mine, theirs] = [process.cpuUsage(), cpuOf(pids)]
    const start = performance.now()
    yield* works[work].all(count)
    yield* counted.all
    const seconds = (performance.now() - start) / 1000
    const { system, user } = process.cpuUsage(mine)
    return {
      rate: count / seconds,
      cpu: (user + system) / count,
      bridge: (cpuOf(pids) - theirs) / count
    } satisfies Rate
  }).pipe(Effect.scoped)

/** Microseconds from the submission of a task to its outcome, one after the other. */
const latency = ({ count, work }: Request) =>
  Effect.forEach(Array.from({ length: count }), (_, i) =>
    Effect.gen(function* () {
      const start = performance.now()
      yield* works[work].one(i)
      return (performance.now() - start) * 1000
    })
  )

export interface Memory {
  /** MB, after a collection. */
  readonly orchestrator: number
  readonly bridge: number
}

/** After so many more tasks. What is given back to the system is so somewhat later. */
const memory = ({ count, work }: Request) =>
  Effect.gen(function* () {
    const counted = yield* countEvents(count)
    yield* works[work].stream(count)
    yield* counted.all
    gc()
    yield* Effect.sleep("500 millis")
    return { orchestrator: process.memoryUsage.rss() / 1e6, bridge: memoryOf(bridge()).rss } satisfies Memory
  }).pipe(Effect.scoped)

const modes = { rate, latency, memory }

const report = (answer: unknown) => Effect.sync(() => process.stdout.write(`${JSON.stringify(answer)}\n`))

// until no more is asked
const requests = Stream.fromAsyncIterable(createInterface({ input: process.stdin }), (cause) => cause)
const program = Effect.zipRight(
  report("ready"),
  Stream.runForEach(requests, (line) => {
    const request: Request = JSON.parse(line)
    const run: (
      request: Request
    ) => Effect.Effect<unknown, unknown, ExecutionBackend.ExecutionBackend<DaskBackend.Kinds>> = modes[request.mode]
    return Effect.flatMap(run(request), report)
  })
)
const options: DaskBackend.Options = JSON.parse(process.argv[2] ?? "{}")
// standard output is for answers
const quiet = Logger.minimumLogLevel(LogLevel.None)
await Effect.runPromise(Effect.provide(program, Layer.provideMerge(DaskBackend.layer(options), quiet)))
process.exit(0)
