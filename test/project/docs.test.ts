// The README's promises are kept: its first program prints what it says, and its guarantees name tests that exist.

import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "vitest"
import { blocks, inFolder, readme } from "./documentation.js"
import { root, run } from "./support.js"

describe("documentation", () => {
  it("the README's first program has at most 25 lines and prints what the README says", async () => {
    const [first] = blocks(readme)
    expect(first!.trimEnd().split("\n").length).toBeLessThanOrEqual(25)
    const { output } = await inFolder((folder) => {
      const file = path.join(folder, "first.ts")
      fs.writeFileSync(file, first!)
      const flags = ["--conditions=effect-rhapsody-source", "--import", "tsx"]
      return run(root, process.execPath, [...flags, file])
    })
    const said = /```text\n([\s\S]*?)```/.exec(readme)
    expect(output).toBe(said![1])
  })

  it("each guarantee names a test that exists", () => {
    const rows = [...readme.matchAll(/^\|.*\| `(test\/[^`]+)`: (.+?) \|$/gm)]
    expect(rows.length).toBeGreaterThan(8)
    for (const [, file, name] of rows) {
      const source = fs.readFileSync(path.join(root, file!), "utf8").replace(/\$\{\w+\}/g, "…")
      expect(source, `${file} has no test "${name}"`).toContain(name!)
    }
  })
})
