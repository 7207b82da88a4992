// Every example in a doc comment or in the README compiles, as users' code does.

import assert from "node:assert"
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, it } from "node:test"
import { blocks, filesUnder, inFolder, readme } from "../project/documentation.js"
import { root, run } from "../project/support.js"

interface Program {
  readonly name: string
  readonly code: string
}

const examples: ReadonlyArray<Program> = [
  ...blocks(readme).map((code, i) => ({ name: `README-${i + 1}`, code })),
  ...filesUnder("src", ".ts").flatMap((file) =>
    blocks(fs.readFileSync(file, "utf8")).map((code, i) => ({ name: `${path.basename(file, ".ts")}-${i + 1}`, code }))
  )
]

const typeCheck = (programs: ReadonlyArray<Program>) =>
  inFolder((folder) => {
    for (const { code, name } of programs) fs.writeFileSync(path.join(folder, `${name}.ts`), code)
    fs.writeFileSync(path.join(folder, "tsconfig.json"), '{ "extends": "../tsconfig.json", "include": ["*.ts"] }')
    return run(root, process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-p", folder])
  })

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
