// The page of figures is written by the benches: each has a section of its own there, in the form that it writes.
import { describe, expect, it } from "vitest"
import { benches, section } from "../bench/figures.js"
import { written } from "../written.js"
import { page } from "./documentation.js"

const figures = page("test/bench/README.md")
const marks = [...figures.matchAll(/^<!-- bench (\w+) -->\n([\s\S]*?)^<!-- \/bench (\w+) -->$/gm)]

describe("test/bench/README.md", () => {
  it("has a section for each bench", () => {
    expect(marks.map(([, name, , end]) => [name, end])).toHaveLength(benches.length)
    for (const [, name, , end] of marks) expect(name).toBe(end)
    expect(marks.map(([, name]) => name!).sort()).toEqual([...benches].sort())
    for (const name of benches) expect(figures).toContain(`\n## ${name}\n`)
  })

  it.each(marks.map(([, name, text]) => [name!, text!] as const))(
    "has the section of %s as the bench writes it",
    (_, text) => {
      if (text.startsWith("Not measured yet: ")) return
      const [head, , header, line, ...rows] = text.split("\n")
      expect(head).toMatch(/^Measured in \d+ rounds? on \d{4}-\d\d-\d\d, with Node \d+.*\.$/)
      expect([header, line]).toEqual(["| what | median | range |", "|---|---|---|"])
      const [table, ratios] = [rows.slice(0, rows.indexOf("")), rows.slice(rows.indexOf("") + 1)]
      expect(table.length).toBeGreaterThan(0)
      for (const row of table) expect(row).toMatch(/^\| .+ \| -?[\d,.]+ .+ \| .*\|$/)
      expect(ratios.slice(0, 2)).toEqual(["| ratio | |", "|---|---|"])
      expect(ratios.at(-1)).toBe("")
      for (const row of ratios.slice(2, -1)) expect(row).toMatch(/^\| `\w+` \| .+ \|$/)
    }
  )
})

describe("a bench that writes its figures", () => {
  const sample = section({
    measured: "in 3 rounds on 2001-02-03, with Node 20",
    rows: [
      { name: "many", unit: "tasks/s", median: 12_345.6, min: 9_999.4, max: 23_456.7 },
      { name: "few", unit: "ms", median: 1.23456, min: 1.2, max: 1.5 },
      { name: "once", unit: "MB", median: 7, min: 7, max: 7 }
    ],
    ratios: { peer: 0.912, absent: null }
  })

  it("shows medians and ranges, and what could not be compared", () => {
    expect(sample.split("\n")).toEqual([
      "Measured in 3 rounds on 2001-02-03, with Node 20.",
      "",
      "| what | median | range |",
      "|---|---|---|",
      "| many | 12,346 tasks/s | 9,999 to 23,457 |",
      "| few | 1.23 ms | 1.2 to 1.5 |",
      "| once | 7 MB |  |",
      "",
      "| ratio | |",
      "|---|---|",
      "| `peer` | 0.912 |",
      "| `absent` | not measured: what it is compared with is missing |",
      ""
    ])
  })

  it("changes its own section and nothing else, and refuses a page that has none", () => {
    const others = (text: string) => text.replace(/(<!-- bench noop -->\n)[\s\S]*(<!-- \/bench noop -->)/, "$1$2")
    const after = written(figures, "bench noop", sample)
    expect(after).toContain(`<!-- bench noop -->\n${sample}<!-- /bench noop -->`)
    expect(others(after)).toBe(others(figures))
    expect(() => written(figures, "bench nothing", sample)).toThrow("<!-- bench nothing -->")
  })
})
