import { describe, expect, it } from "vitest"
import { runOver } from "./support.js"

describe("npm run lint", () => {
  const a = 'import { b } from "./b.js"\n\nexport const a = (): number => b()\n'

  it.each([
    {
      problem: "noImportCycles",
      good: { "src/a.ts": a, "src/b.ts": 'import type { a } from "./a.js"\n\nexport const b: typeof a = () => 1\n' },
      bad: { "src/a.ts": a, "src/b.ts": 'import { a } from "./a.js"\n\nexport const b = (): number => a()\n' }
    },
    {
      problem: "format",
      good: { "src/a.ts": 'export const a = "a"\n' },
      bad: { "src/a.ts": "export const a = 'a';\n" }
    },
    {
      problem: "organizeImports",
      good: { "src/a.ts": 'import { b } from "b"\nimport { c } from "c"\n\nexport const a = [b, c]\n' },
      bad: { "src/a.ts": 'import { c } from "c"\nimport { b } from "b"\n\nexport const a = [b, c]\n' }
    },
    {
      problem: "noUnusedVariables",
      good: { "src/a.ts": "export const f = () => {\n  const a = 1\n  return a\n}\n" },
      bad: { "src/a.ts": "export const f = () => {\n  const a = 1\n  return 2\n}\n" }
    },
    {
      problem: "noConsole",
      good: { "examples/a.ts": 'console.log("a")\n' },
      bad: { "src/a.ts": 'console.log("a")\n' }
    }
  ])("fails on $problem", async ({ bad, good, problem }) => {
    const passed = await runOver("lint", good)
    expect(passed.code, passed.output).toBe(0)
    const result = await runOver("lint", bad)
    expect(result.output).toContain(problem)
    expect(result.code).not.toBe(0)
  })
})
