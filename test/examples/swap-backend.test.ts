// One program on two backends, as the example says.

import * as fs from "node:fs"
import * as path from "node:path"
import { expect, it } from "vitest"
import { root, run } from "../project/support.js"

const file = path.join(root, "examples/swap-backend.ts")

it("swap-backend: the same program on processes and on stubs", async () => {
  const { output } = await run(root, process.execPath, ["--conditions=effect-rhapsody-source", "--import", "tsx", file])
  expect(output).toBe(["production: -9", `test: -3, of {"seed":1} {"seed":2} {"seed":3} {"seed":4}`, ""].join("\n"))
  expect(fs.readFileSync(file, "utf8").trimEnd().split("\n").length).toBeLessThan(40)
})
