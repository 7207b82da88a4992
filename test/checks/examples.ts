// Every example in a doc comment or in a page of the documentation compiles, as users' code does.

import assert from "node:assert"
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, it } from "node:test"
import type { Program } from "../project/documentation.js"
import { blocks, filesUnder, pages, typeCheck } from "../project/documentation.js"

const examples: ReadonlyArray<Program> = [
  ...pages.flatMap((page) => {
    const name = page.path.replaceAll("/", "-").replace(/\.md$/, "")
    return blocks(page.text).map((code, i) => ({ name: `${name}-${i + 1}`, code }))
  }),
  ...filesUnder("src", ".ts").flatMap((file) =>
    blocks(fs.readFileSync(file, "utf8")).map((code, i) => ({ name: `${path.basename(file, ".ts")}-${i + 1}`, code }))
  )
]

describe("the examples of the documentation", () => {
  it("are there for each public module that users call", () => {
    const names = new Set(examples.map(({ name }) => name.replace(/-\d+$/, "")))
    const modules = [
      "README",
      "Task",
      "ExecutionBackend",
      "ConcurrentBackend",
      "DaskBackend",
      "Driver",
      "Errors",
      "Defaults",
      "NoopBackend",
      "TestBackend",
      "BackendRegistry",
      "TaskDictionary",
      "Conformance"
    ]
    assert.deepStrictEqual(
      modules.filter((module) => !names.has(module)),
      []
    )
  })

  it("type-check as users' code does", async () => {
    const { code, output } = await typeCheck(examples)
    assert.deepStrictEqual({ code, output }, { code: 0, output: "" })
  })

  it("would be seen if one did not", async () => {
    const wrong = 'import { Task } from "effect-rhapsody"\nexport const n: number = Task.function("F").name\n'
    const { code, output } = await typeCheck([{ name: "wrong", code: wrong }])
    assert.ok(output.includes("wrong.ts(2,"), output)
    assert.notStrictEqual(code, 0)
  })
})
