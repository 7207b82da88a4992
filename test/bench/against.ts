// One bench in two checkouts of the project, in turn, so that what the machine does besides hits both alike.
import { execFileSync } from "node:child_process"
import { join, resolve } from "node:path"
import { median, round } from "./report.js"

const pairs = Number(process.env["BENCH_PAIRS"] ?? 3)
const here = join(import.meta.dirname, "../..")

interface Result {
  readonly rows: ReadonlyArray<{ readonly name: string; readonly unit: string; readonly median: number }>
  readonly ratios: Readonly<Record<string, number | null>>
}

const run = (directory: string, name: string): Result => {
  const args = ["--expose-gc", "--import", "tsx", "test/bench/run.ts", name, "--json"]
  const output = execFileSync(process.execPath, args, { cwd: directory, encoding: "utf8", maxBuffer: 2 ** 28 })
  return JSON.parse(output.trimEnd().split("\n").at(-1)!)
}

/** The medians of each sample and ratio here, there, and here as a part of there. Both checkouts are installed. */
export const compare = (name: string, other: string): string => {
  const there = resolve(process.env["INIT_CWD"] ?? ".", other)
  execFileSync("npm", ["run", "--silent", "build"], { cwd: there, stdio: "inherit" })
  const results: Array<readonly [Result, Result]> = []
  // the first of a pair has a machine that is as warm as the second's: each is first as often as the other
  for (let i = 0; i < pairs; i++) {
    const mine = i % 2 === 0 ? run(here, name) : undefined
    const theirs = run(there, name)
    results.push([mine ?? run(here, name), theirs])
  }
  const line = (what: string, of: (result: Result) => number | null | undefined) => {
    const values = results.map(([mine, theirs]) => [of(mine), of(theirs)] as const)
    const known = values.filter((pair): pair is [number, number] => pair.every((value) => typeof value === "number"))
    if (known.length === 0) return `${what}: not measured in both`
    const [mine, theirs] = [0, 1].map((side) => round(median(known.map((pair) => pair[side]!))))
    return `${what}: ${mine} here, ${theirs} there: ${round(median(known.map(([mine, theirs]) => mine / theirs)))}`
  }
  const [first] = results
  return [
    `${name}, ${pairs} runs of each, in turn; medians, and here divided by there`,
    ...(first === undefined ? [] : first[0].rows).map(({ name, unit }) =>
      line(`${name} (${unit})`, ({ rows }) => rows.find((row) => row.name === name)?.median)
    ),
    ...Object.keys(first?.[0].ratios ?? {}).map((key) => line(key, ({ ratios }) => ratios[key]))
  ].join("\n")
}
