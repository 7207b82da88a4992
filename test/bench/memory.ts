// A stream of a million no-op tasks: memory is bounded by limits, not by the number of tasks ever seen.
// By module: the barrel of effect alone takes some 100 MB, which would be measured too.
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as ExecutionBackend from "effect-rhapsody/ExecutionBackend"
import * as NoopBackend from "effect-rhapsody/NoopBackend"
import * as Task from "effect-rhapsody/Task"
import type { Report } from "./report.js"
import { round } from "./report.js"

const count = 1_000_000
const settled = 100_000

const Noop = Task.function("Noop", { payload: { n: Schema.Int }, success: Schema.Struct({ n: Schema.Int }) })
const rss = () => process.memoryUsage.rss() / 1e6

export const bench = async (): Promise<Report> => {
  let done = 0
  let peak = 0
  let at = { settled: 0, end: 0 }
  const tasks = Stream.map(Stream.range(1, count), (n) => Noop.make({ n }))
  const start = performance.now()
  await Effect.runPromise(
    Stream.runForEach(ExecutionBackend.submitAll(tasks), ({ exit }) =>
      Effect.sync(() => {
        if (Exit.isFailure(exit)) throw new Error(String(exit.cause))
        done++
        if (done % 1000 === 0) peak = Math.max(peak, rss())
        if (done === settled) at = { ...at, settled: peak }
      })
    ).pipe(Effect.provide(NoopBackend.layer()))
  )
  const rate = (count / (performance.now() - start)) * 1000
  at = { ...at, end: peak }
  if (done !== count) throw new Error(`${done} ended`)
  return {
    samples: [
      { name: "submitAll", unit: "tasks/s", values: [rate] },
      { name: "peak RSS", unit: "MB", values: [peak] }
    ],
    ratios: { rssMb: round(peak), rssGrowthMb: round(at.end - at.settled) }
  }
}
