// npm run bench -- NAME [--json] [--write] [--against DIR]: prints what was measured. With --json the last line of stdout
// is the result as JSON; --write puts the figures into the section of the bench in README.md; --against runs the bench
// here and in another checkout in turn, and prints the ratios of their medians.
import { compare } from "./against.js"
import { benches, write } from "./figures.js"
import type { Report } from "./report.js"
import { median, table } from "./report.js"

const [name, ...flags] = process.argv.slice(2)
if (name === undefined || !benches.includes(name)) {
  const usage = "npm run bench -- NAME [--json] [--write] [--against DIR]"
  console.error(`usage: ${usage}, with NAME one of ${benches.join(", ")}`)
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
if (flags.includes("--write") && samples.length > 0) {
  write(name, { rows, ratios }, Math.max(...samples.map(({ values }) => values.length)))
}
