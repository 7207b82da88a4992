// The type check sees what it is there for. Outside vitest, as all type checks: a busy machine takes its time for them.

import assert from "node:assert"
import { describe, it } from "node:test"
import { runOver } from "../project/support.js"

describe("npm run check", () => {
  const passes = async (files: Record<string, string>) => {
    const { code, output } = await runOver("check", files)
    assert.deepStrictEqual({ code, output }, { code: 0, output: "" })
  }
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
    await passes(good)
  })

  // One for each way a diagnostic is on: an error, a warning, a suggestion that we made an error, off by default.
  const bad = [
    ["floatingEffect", 'Effect.log("a")'],
    ["globalErrorInEffectFailure", 'yield* Effect.fail(new Error("a")).pipe(Effect.ignore)'],
    ["effectMapVoid", "yield* Effect.succeed(1).pipe(Effect.map(() => undefined))"],
    ["globalDateInEffect", "yield* Effect.log(Date.now())"]
  ] as const
  for (const [diagnostic, line] of bad) {
    it(`fails on ${diagnostic}`, async () => {
      const { code, output } = await runOver("check", program(line))
      assert.ok(output.includes(`effect(${diagnostic})`), output)
      assert.notStrictEqual(code, 0)
    })
  }

  it("fails on an import that Node does not resolve", async () => {
    const sources = (specifier: string) => ({
      "src/a.ts": "export const a = 1\n",
      "src/b.ts": `export * from "${specifier}"\n`
    })
    await passes(sources("./a.js"))
    const { code, output } = await runOver("check", sources("./a"))
    assert.ok(output.includes("TS2835"), output)
    assert.notStrictEqual(code, 0)
  })
})
