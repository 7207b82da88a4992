// A process that does nothing: how late its timers are, from "begin" to "end" on stdin, p99 in microseconds.
import { monitorEventLoopDelay } from "node:perf_hooks"
import { createInterface } from "node:readline"

const histogram = monitorEventLoopDelay({ resolution: 1 })
console.log("ready")
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "begin") histogram.enable()
  if (line === "end") {
    histogram.disable()
    console.log(histogram.percentile(99) / 1000)
    break
  }
}
process.exit(0)
