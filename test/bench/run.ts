// npm run bench -- NAME [--json] [--against DIR]: prints what was measured; with --json the last line of stdout is the
// result as JSON. --against runs the bench here and in another checkout in turn, and prints the ratios of their medians.
import { readdirSync } from "node:fs"
import { compare } from "./against.js"
import type { Report } from "./report.js"
import { median, table } from "./report.js"

const [name, ...flags] = process.argv.slice(2)
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".ts") && !["run.ts", "report.ts", "against.ts"].includes(file))
  .map((file) => file.slice(0, -".ts".length))

if (name === undefined || !names.includes(name)) {
  console.error(`usage: npm run bench -- NAME [--json] [--against DIR], with NAME one of ${names.join(", ")}`)
  process.exit(2)
}

const other = flags.includes("--against") ? flags[flags.indexOf("--against") + 1] : undefined
if (other !== undefined) {
  console.log(compare(name, other))
  process.exit()
}

const { bench }: { readonly bench: () => Promise<Report> } = await import(`./${name}.ts`)
const { ratios, samples } = await bench()
const rows = samples.map(({ name, unit, values }) => ({
  name,
  unit,
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values)
}))

console.log(table(rows))
for (const [key, value] of Object.entries(ratios)) {
  console.log(value === null ? `!!! ${key}: NOT REACHED, for its peer is absent` : `${key}: ${value}`)
}
if (flags.includes("--json")) console.log(JSON.stringify({ bench: name, rows, ratios }))
