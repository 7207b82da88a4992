// The page of figures: README.md beside this file has a section for each bench, which that bench alone writes.
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { join } from "node:path"
import { written } from "../written.js"
import type { Row } from "./report.js"
import { round } from "./report.js"

const page = join(import.meta.dirname, "README.md")
const helpers = ["run.ts", "report.ts", "against.ts", "figures.ts"]

/** The benches, by the names that `npm run bench` takes. */
export const benches: ReadonlyArray<string> = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".ts") && !helpers.includes(file))
  .map((file) => file.slice(0, -".ts".length))

export interface Figures {
  /** How often, when and where it was measured, after the word "measured". */
  readonly measured: string
  /** Of what is measured once there is only the median. */
  readonly rows: ReadonlyArray<Omit<Row, "max" | "min"> & Partial<Row>>
  readonly ratios: Readonly<Record<string, number | null>>
}

const number = (value: number) => (Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : `${round(value)}`)
const range = ({ max, min }: Partial<Row>) =>
  min === undefined || max === undefined || min === max ? "" : `${number(min)} to ${number(max)}`

/** The section of a bench. */
export const section = ({ measured, ratios, rows }: Figures): string =>
  [
    `Measured ${measured}.`,
    "",
    "| what | median | range |",
    "|---|---|---|",
    ...rows.map((row) => `| ${row.name} | ${number(row.median)} ${row.unit} | ${range(row)} |`),
    "",
    "| ratio | |",
    "|---|---|",
    ...Object.entries(ratios).map(
      ([key, value]) =>
        `| \`${key}\` | ${value === null ? "not measured: what it is compared with is missing" : value} |`
    ),
    ""
  ].join("\n")

/** Writes the section of a bench from what it has just measured. */
export const write = (bench: string, figures: Omit<Figures, "measured">, rounds: number): void => {
  const date = new Date().toISOString().slice(0, 10)
  const [first] = cpus()
  const machine = `Node ${process.versions.node} on ${cpus().length} cores (${first?.model.trim() ?? "unknown"})`
  const measured = `in ${rounds} rounds on ${date}, with ${machine}`
  writeFileSync(page, written(readFileSync(page, "utf8"), `bench ${bench}`, section({ ...figures, measured })))
}
