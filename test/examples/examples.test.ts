// Each example runs as the README says and prints what it should. The quickstart and those on Dask have their own files.

import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "vitest"
import { root, run as runIn } from "../project/support.js"

const flags = ["--conditions=effect-rhapsody-source", "--import", "tsx"]
const run = async (name: string) => {
  const { output } = await runIn(root, process.execPath, [...flags, path.join("examples", `${name}.ts`)])
  return output
}

describe("examples", () => {
  it("all have a test", () => {
    const all = fs.readdirSync(path.join(root, "examples")).filter((name) => name.endsWith(".ts"))
    expect(all.sort()).toEqual([
      "campaign.ts",
      "compose.ts",
      "custom-backend.ts",
      "dask-pipeline.ts",
      "error-handling.ts",
      "quickstart-dask.ts",
      "quickstart.ts",
      "registry.ts",
      "swap-backend.ts"
    ])
  })

  it("custom-backend: a backend in under 30 lines", async () => {
    const lines = fs.readFileSync(path.join(root, "examples/custom-backend.ts"), "utf8").trimEnd().split("\n")
    expect(lines.length).toBeLessThan(30)
    expect(await run("custom-backend")).toBe("logging: runs Echo as task.000001\nhello\n")
  })

  it("error-handling: every failure arrives as its type", async () => {
    expect((await run("error-handling")).trimEnd().split("\n")).toEqual([
      "completed: fine",
      "diverged at step 7",
      "task test_task failed: Exit, exit code 2, no input",
      "task task.000003 failed: Timeout, exit code undefined, undefined",
      "wrong retry.times: retry.times: must be an integer, 0 or more, not -1",
      expect.stringMatching(/^task Simulate \(task\.000004\) was killed by SIGKILL after \d+/),
      "command: sh -c 'kill -9 $$'",
      `directory: ${root.replace(/\/$/, "")}`
    ])
  })

  it("campaign: a handler fails with what the tasks that it runs fail with, or with its own error", async () => {
    expect((await run("campaign")).trimEnd().split("\n").sort()).toEqual([
      "[3,2,1] 1",
      "[5,4] Failed: Simulate exited with code 9",
      "[] Empty"
    ])
  })

  it("registry: what is known by name, and what is wrong is named", async () => {
    const [concurrent, dask, ...rest] = (await run("registry")).trimEnd().split("\n")
    expect(concurrent).toBe("concurrent is available")
    // as the Python of this machine has it or not
    expect(dask).toMatch(/^dask is (available|not available: .*pip install)/)
    expect(rest).toEqual([
      "noop is available",
      "the default: hello",
      "log: runs test_task",
      "logging: hello",
      'refused: logging.prefx: is unexpected, expected: "prefix"',
      "refused: concurrent.maxWorkers: must be an integer, 1 or more, not 0",
      "refused: backend: nowhere is not registered; known: concurrent, dask, noop, logging"
    ])
  })

  it("compose: a part of a larger program", async () => {
    expect((await run("compose")).trimEnd().split("\n")).toEqual([
      "ran 20 tasks, 2 at a time; 3 diverged",
      "mean energy 9.2"
    ])
  })
})
