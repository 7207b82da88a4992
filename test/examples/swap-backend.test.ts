// One program on two backends, as the example says.

import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")
const file = path.join(root, "examples/swap-backend.ts")

it("swap-backend: the same program on processes and on stubs", () => {
  const flags = ["--conditions=effect-rhapsody-source", "--import", "tsx"]
  expect(execFileSync(process.execPath, [...flags, file], { cwd: root, encoding: "utf8" })).toBe(
    ["production: -9", `test: -3, of {"seed":1} {"seed":2} {"seed":3} {"seed":4}`, ""].join("\n")
  )
  expect(fs.readFileSync(file, "utf8").trimEnd().split("\n").length).toBeLessThan(40)
})
