import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { describe, expect, it, onTestFinished } from "vitest"
import { makeDirectory, removeDirectory, root, run } from "./support.js"

/** Runs one of our scripts, as package.json and the configurations have it, over other sources. */
const runOver = (script: string, files: Record<string, string>) => {
  const directory = makeDirectory()
  onTestFinished(() => removeDirectory(directory))
  for (const name of ["package.json", "tsconfig.json", ".config", ".biome.json"]) {
    cpSync(join(root, name), join(directory, name), { recursive: true })
  }
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  return run(directory, "npm", ["run", "--silent", script])
}

// The first patch of TypeScript by the language service takes its time.
describe("npm run check", { timeout: 120_000 }, () => {
  const program = (...body: ReadonlyArray<string>) => ({
    "src/program.ts": `import * as Effect from "effect/Effect"

export const program = Effect.gen(function* () {
  ${body.join("\n  ")}
  yield* Effect.log("end")
})
`
  })

  it("passes on good code", async () => {
    const good = program(
      'yield* Effect.log("a")',
      'yield* Effect.fail("a").pipe(Effect.ignore)',
      "yield* Effect.succeed(1).pipe(Effect.asVoid)",
      "yield* Effect.clockWith((clock) => clock.currentTimeMillis)"
    )
    expect(await runOver("check", good)).toMatchObject({ code: 0, output: "" })
  })

  // One for each way a diagnostic is on: an error, a warning, a suggestion that we made an error, off by default.
  it.each([
    ["floatingEffect", 'Effect.log("a")'],
    ["globalErrorInEffectFailure", 'yield* Effect.fail(new Error("a")).pipe(Effect.ignore)'],
    ["effectMapVoid", "yield* Effect.succeed(1).pipe(Effect.map(() => undefined))"],
    ["globalDateInEffect", "yield* Effect.log(Date.now())"]
  ])("fails on %s", async (diagnostic, bad) => {
    const result = await runOver("check", program(bad))
    expect(result.output).toContain(`effect(${diagnostic})`)
    expect(result.code).not.toBe(0)
  })

  it("fails on an import that Node does not resolve", async () => {
    const sources = (specifier: string) => ({
      "src/a.ts": "export const a = 1\n",
      "src/b.ts": `export * from "${specifier}"\n`
    })
    expect(await runOver("check", sources("./a.js"))).toMatchObject({ code: 0, output: "" })
    const result = await runOver("check", sources("./a"))
    expect(result.output).toContain("TS2835")
    expect(result.code).not.toBe(0)
  })
})

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
