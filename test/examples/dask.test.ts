// The examples on a real Dask. Where there is none, or no numpy, that is printed and they are skipped, which fails in CI.

import { existsSync, readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { describe, expect, it } from "vitest"
import { missing, python } from "../dask/support.js"
import { numpy } from "../engines/numpy.js"
import { makeDirectory, removeDirectory, root, run } from "../project/support.js"

const { resolve } = createRequire(import.meta.url)
const loader = ["--conditions=effect-rhapsody-source", `--import=${pathToFileURL(resolve("tsx"))}`]
const example = (name: string) => [...loader, join(root, `examples/${name}.ts`)]
const env = { RHAPSODY_DASK_PYTHON: python }

const arrays = missing ? { missing: "there is no Dask" } : await numpy(python)
if ("missing" in arrays) console.error(`\nNO NUMPY, and the example with it is skipped: ${arrays.missing}\n`)

const inDirectory = async (use: (directory: string) => Promise<void>) => {
  const directory = makeDirectory()
  try {
    await use(directory)
  } finally {
    removeDirectory(directory)
  }
}

describe.skipIf(missing)("the quickstart on Dask", () => {
  it("comes to the same as on this machine alone", () =>
    inDirectory(async (directory) => {
      const { code, output } = await run(directory, process.execPath, example("quickstart-dask"), env)
      expect(code, output).toBe(0)
      expect(output).toContain("part-07: attempt 1 failed")
      expect(output).toMatch(/^05:00 +2,597 +−2\.9 min +6 %$/m)
      expect(output).toMatch(/^tasks: +18 ran, 1 retried, in \d+\.\d s$/m)
      expect(output).toMatch(/^check: +ok, all 144 numbers recomputed from 200000 flights$/m)
      expect(existsSync(join(directory, ".rhapsody/quickstart/delays.svg"))).toBe(true)
    }))

  it("differs from the quickstart in its layers alone", () => {
    const code = (name: string) =>
      readFileSync(join(root, `examples/${name}.ts`), "utf8").replace(/\/\*\*[\s\S]*?\*\//g, "")
    const [local, dask] = [code("quickstart"), code("quickstart-dask")]
    const used = /from "\.\/quickstart\/\w+\.js"/g
    expect(dask.match(used)).toEqual(local.match(used))
    // the last line of both puts layers and workflow together
    expect(dask.trimEnd().split("\n").at(-1)).toBe(local.trimEnd().split("\n").at(-1))
  })

  it("says how to install what is missing", () =>
    inDirectory(async (directory) => {
      const { code, output } = await run(directory, process.execPath, example("quickstart-dask"), {
        RHAPSODY_DASK_PYTHON: join(directory, "python")
      })
      expect(code, output).toBe(1)
      expect(output).toMatch(/^failed: .*python/m)
      expect(output).toContain("-m pip install dask distributed")
      expect(output).not.toMatch(/^ +at /m)
    }))
})

/** The same in plain loops and without numpy: what the table must say. */
const tableOf = (rates: ReadonlyArray<number>, count: number, steps: number) => {
  const cell = (value: number, digits: number) => value.toFixed(digits).padStart(9)
  const row = (rate: number) => {
    let points = Array.from({ length: count }, (_, i) => (i + 1) / (count + 3))
    let parted = 0
    for (let step = 1; step <= steps; step++) {
      for (const x of points) parted += Math.log(Math.abs(rate * (1 - 2 * x))) / steps / count
      points = points.map((x) => rate * x * (1 - x))
      const outside = points.filter((x) => x < 0 || x > 1).length
      if (outside > 0) return `${cell(rate, 2)}   ${outside} of ${count} points escape in step ${step}`
    }
    const mean = points.reduce((a, b) => a + b) / count
    const spread = Math.sqrt(points.reduce((sum, x) => sum + (x - mean) ** 2, 0) / count)
    const places = new Set(points.map((x) => x.toFixed(6))).size
    return cell(rate, 2) + cell(places, 0) + cell(mean, 3) + cell(spread, 3) + cell(parted, 3)
  }
  return rates.map(row)
}

describe.skipIf("missing" in arrays)("the pipeline of Python functions on Dask", () => {
  it("prints what other code comes to", () =>
    inDirectory(async (directory) => {
      const RHAPSODY_DASK_PYTHON = "python" in arrays ? arrays.python : ""
      const program = example("dask-pipeline")
      const { code, output, stdout } = await run(directory, process.execPath, program, { RHAPSODY_DASK_PYTHON })
      expect(code, output).toBe(0)
      const [head, ...rows] = stdout.trimEnd().split("\n")
      expect(head).toBe("     rate   places     mean   spread exponent")
      expect(rows.slice(0, -1)).toEqual(tableOf([2.8, 3.2, 3.5, 3.56, 3.6, 3.7, 3.9, 4.1], 64, 2000))
      // what textbooks say: one place, at 1 - 1 / rate, then two, four and eight; order ends at 3.57
      expect(rows.slice(0, 4).map((row) => Number(row.trim().split(/ +/)[1]))).toEqual([1, 2, 4, 8])
      expect(rows[0]).toContain((1 - 1 / 2.8).toFixed(3))
      expect(rows.at(-1)).toBe("order ends near 3.57")
    }))
})
