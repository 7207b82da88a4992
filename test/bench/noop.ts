// What the contract itself costs: 100,000 tasks on the Noop backend, beside as many bare fibers forked and joined.
// Payload of three fields and success decoded, uids checked, every event counted by a subscriber; with and without a
// tracer. RHAPSODY's own noop runs beside it where it can be installed.
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { Effect, Fiber, Option, Schema, Stream, Tracer } from "effect"
import { ExecutionBackend, NoopBackend, Task } from "effect-rhapsody"
import { rhapsodyPython } from "./peers/rhapsody.js"
import type { Report } from "./report.js"
import { median, round } from "./report.js"

const count = 100_000
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 7)

const Fields = { seed: Schema.Int, name: Schema.String, scale: Schema.Number }
const Noop = Task.function("Noop", { payload: Fields, success: Schema.Struct(Fields) })
const numbers = Array.from({ length: count }, (_, i) => i)

const timed = <E>(run: Effect.Effect<void, E>) =>
  Effect.gen(function* () {
    ;(globalThis as { gc?: () => void }).gc?.()
    const start = performance.now()
    yield* run
    return (count / (performance.now() - start)) * 1000
  })

const bare = Effect.gen(function* () {
  const fibers = yield* Effect.forEach(numbers, (i) => Effect.fork(Effect.succeed(i)))
  yield* Effect.forEach(fibers, Fiber.join, { discard: true })
})

const tasks = Effect.gen(function* () {
  let seen = 0
  const events = yield* ExecutionBackend.events
  const counting = yield* Effect.fork(
    Stream.runForEachChunk(Stream.take(events, 4 * count), (chunk) => Effect.sync(() => (seen += chunk.length)))
  )
  const fibers = yield* Effect.forEach(numbers, (i) =>
    ExecutionBackend.submit(Noop.make({ seed: i, name: "noop", scale: 0.5 }))
  )
  yield* Effect.forEach(fibers, Fiber.join, { discard: true })
  yield* Fiber.join(counting)
  if (seen !== 4 * count) return yield* Effect.dieMessage(`${seen} events seen`)
}).pipe(Effect.scoped, Effect.provide(NoopBackend.layer({ eventBuffer: 4 * count })))

/** The cheapest tracer there is: what is left is the library's own. */
const tracer = Tracer.make({
  span: (name, parent, context, links, startTime, kind) => ({
    _tag: "Span",
    name,
    spanId: "s",
    traceId: "t",
    parent,
    context,
    status: { _tag: "Started", startTime },
    attributes: new Map(),
    links,
    sampled: true,
    kind,
    end: () => {},
    attribute: () => {},
    event: () => {},
    addLinks: () => {}
  }),
  context: (run) => run()
})

export const bench = async (): Promise<Report> => {
  const python = rhapsodyPython()
  if (Option.isNone(python)) console.log("RHAPSODY could not be installed: its figure is missing")
  const script = join(import.meta.dirname, "peers/rhapsody_noop.py")
  const values = {
    bare: [] as Array<number>,
    noop: [] as Array<number>,
    traced: [] as Array<number>,
    rhapsody: [] as Array<number>
  }
  for (let i = 0; i <= rounds; i++) {
    const measured = {
      bare: await Effect.runPromise(timed(bare)),
      noop: await Effect.runPromise(timed(tasks)),
      traced: await Effect.runPromise(timed(Effect.withTracer(tasks, tracer))),
      rhapsody: Option.map(python, (python) => Number(execFileSync(python, [script, "50000"], { encoding: "utf8" })))
    }
    if (i === 0) continue // warm-up
    values.bare.push(measured.bare)
    values.noop.push(measured.noop)
    values.traced.push(measured.traced)
    if (Option.isSome(measured.rhapsody)) values.rhapsody.push(measured.rhapsody.value)
  }
  const ratio = (a: ReadonlyArray<number>, b: ReadonlyArray<number>) => round(median(a) / median(b))
  const unit = "tasks/s"
  return {
    samples: [
      { name: "fork and join, bare", unit, values: values.bare },
      { name: "Noop backend", unit, values: values.noop },
      { name: "Noop backend, with a tracer", unit, values: values.traced },
      ...(values.rhapsody.length > 0 ? [{ name: "RHAPSODY noop", unit, values: values.rhapsody }] : [])
    ],
    ratios: {
      forkJoin: ratio(values.noop, values.bare),
      tracedForkJoin: ratio(values.traced, values.bare),
      ...(values.rhapsody.length > 0 ? { rhapsody: ratio(values.noop, values.rhapsody) } : {})
    }
  }
}
