// The guide explains what the compiler prints for a program that lacks a backend, a kind or a handler.

import assert from "node:assert"
import { before, describe, it } from "node:test"
import { page, typeCheck } from "../project/documentation.js"

const program = (task: string, runs: string) => `import { NodeRuntime } from "@effect/platform-node"
import { Effect } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
export const local = ConcurrentBackend.layer()
const task = ${task}
ExecutionBackend.execute(task.make()).pipe(Effect.asVoid, ${runs}NodeRuntime.runMain)
`
const onConcurrent = "Effect.provide(local), "

const cases = [
  {
    name: "backend",
    code: program('Task.executable("Hello", { command: () => ({ executable: "echo" }) })', ""),
    missing: 'ExecutionBackend<"executable">'
  },
  {
    name: "kind",
    code: program('Task.python("Train", { callable: "model:train" })', onConcurrent),
    missing: 'ExecutionBackend<"python">'
  },
  { name: "handler", code: program('Task.function("Sum")', onConcurrent), missing: 'Handler<"Sum">' }
]

describe("the compile errors that the guide explains", () => {
  let lines: ReadonlyArray<string> = []
  before(async () => {
    lines = (await typeCheck(cases)).output.split("\n")
  })

  /** What the compiler prints about one file: its lines with the file's name, and the indented ones that follow each. */
  const about = (name: string): ReadonlyArray<string> => {
    let here = false
    return lines.filter((line) => {
      if (!line.startsWith(" ")) here = line.includes(`${name}.ts(`)
      return here
    })
  }

  for (const { missing, name } of cases)
    it(`a missing ${name} is printed as the guide has it`, () => {
      const line = `Type '${missing}' is not assignable to type 'never'.`
      const printed = about(name).map((each) => each.trim())
      assert.ok(printed.includes(line), lines.join("\n"))
      assert.strictEqual(printed.at(-1), line)
      assert.ok(
        page("examples/README.md").includes(`\`\`\`text\n${line}\n\`\`\`\n`),
        `the guide does not have: ${line}`
      )
    })
})
