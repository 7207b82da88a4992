// Every example in a doc comment or in the README compiles, and the README's promises name tests that exist.

import { execFileSync, spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "vitest"

const root = path.resolve(import.meta.dirname, "../..")
const readme = fs.readFileSync(path.join(root, "README.md"), "utf8")
const filesUnder = (folder: string, extension: string): ReadonlyArray<string> =>
  fs
    .readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(extension) && !name.includes("fixtures"))
    .map((name) => path.join(root, folder, name))

const blocks = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/^[ *]*```ts\n([\s\S]*?)^[ *]*```$/gm)].map((match) => match[1]!.replace(/^ *\* ?/gm, ""))

const examples = [
  ...blocks(readme).map((code, i) => ({ name: `README-${i + 1}`, code })),
  ...filesUnder("src", ".ts").flatMap((file) =>
    blocks(fs.readFileSync(file, "utf8")).map((code, i) => ({ name: `${path.basename(file, ".ts")}-${i + 1}`, code }))
  )
]

// Inside the package, so that its own name resolves as it does for a user.
const inFolder = <A>(use: (folder: string) => A): A => {
  const folder = fs.mkdtempSync(path.join(root, ".docs-"))
  try {
    return use(folder)
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

const typeCheck = (programs: ReadonlyArray<{ readonly name: string; readonly code: string }>) =>
  inFolder((folder) => {
    for (const { code, name } of programs) fs.writeFileSync(path.join(folder, `${name}.ts`), code)
    fs.writeFileSync(path.join(folder, "tsconfig.json"), '{ "extends": "../tsconfig.json", "include": ["*.ts"] }')
    const tsc = path.join(root, "node_modules/typescript/bin/tsc")
    const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" })
    return { status, stdout }
  })

describe("documentation", () => {
  it("has an example in each public module that users call", () => {
    const names = examples.map(({ name }) => name.replace(/-\d+$/, ""))
    for (const module of [
      "README",
      "Task",
      "ExecutionBackend",
      "ConcurrentBackend",
      "Driver",
      "Errors",
      "Defaults",
      "NoopBackend",
      "TestBackend",
      "BackendRegistry",
      "TaskDictionary",
      "Conformance"
    ]) {
      expect(names).toContain(module)
    }
  })

  it("its examples type-check as users' code does", () => {
    const { status, stdout } = typeCheck(examples)
    expect(stdout).toBe("")
    expect(status).toBe(0)
  })

  it("an example that does not type-check would be seen", () => {
    const { status, stdout } = typeCheck([
      {
        name: "wrong",
        code: 'import { Task } from "effect-rhapsody"\nexport const n: number = Task.function("F").name\n'
      }
    ])
    expect(status).not.toBe(0)
    expect(stdout).toContain("wrong.ts(2,")
  })

  it("the README's first program has at most 25 lines and prints what the README says", () => {
    const [first] = blocks(readme)
    expect(first!.trimEnd().split("\n").length).toBeLessThanOrEqual(25)
    const output = inFolder((folder) => {
      const file = path.join(folder, "first.ts")
      fs.writeFileSync(file, first!)
      const flags = ["--conditions=effect-rhapsody-source", "--import", "tsx"]
      return execFileSync(process.execPath, [...flags, file], { cwd: root, encoding: "utf8" })
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
