// What it costs to import the library: the time of an import in a fresh process, beside that of the modules of Effect
// which it needs. Without what Node itself needs to start.
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import type { Report } from "./report.js"
import { median, round } from "./report.js"

const rounds = 9
const directory = join(import.meta.dirname, "../..")

const specifiers = {
  effect: "effect/Schema",
  task: "effect-rhapsody/Task",
  executionBackend: "effect-rhapsody/ExecutionBackend",
  all: "effect-rhapsody",
  testing: "effect-rhapsody/testing"
} as const

const millis = (specifier: string): number => {
  const script = `const start = performance.now()
await import(${JSON.stringify(specifier)})
console.log(performance.now() - start)`
  return Number(execFileSync(process.execPath, ["--input-type=module", "-e", script], { cwd: directory }).toString())
}

export const bench = async (): Promise<Report> => {
  const keys = Object.keys(specifiers) as Array<keyof typeof specifiers>
  const values = Object.fromEntries(keys.map((key) => [key, [] as Array<number>]))
  for (let i = 0; i <= rounds; i++) {
    for (const key of keys) {
      const time = millis(specifiers[key])
      if (i > 0) values[key]!.push(time) // the first fills the caches of the disk
    }
  }
  return {
    samples: keys.map((key) => ({ name: specifiers[key], unit: "ms", values: values[key]! })),
    ratios: Object.fromEntries(
      keys.slice(1).map((key) => [key, round(median(values[key]!) / median(values["effect"]!))])
    )
  }
}
