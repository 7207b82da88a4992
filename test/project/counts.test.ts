import { join } from "node:path"
import { expect, it } from "vitest"
import { root, run } from "./support.js"

// The fixture's `check` fails and its `lint` passes. Of its tests three pass, one fails, one is skipped; one file does
// not import, one hook throws (and its test is skipped), one rejection has no handler, and one leaves a file behind.
const runFixture = (env: Record<string, string>, ...args: ReadonlyArray<string>) =>
  run(
    join(root, "test/project/fixtures/counts"),
    process.execPath,
    ["--import", "tsx", join(root, ".ci/test.ts"), ...args],
    env
  )

const lastLine = (text: string) => text.trimEnd().split("\n").at(-1)

it("counts every way to pass, fail and be skipped", async () => {
  const result = await runFixture({})
  expect(lastLine(result.stdout)).toBe("4 passed, 6 failed, 2 skipped")
  expect(result.code).toBe(1)
  expect(result.stdout).toContain("FAILED: npm run check")
  expect(result.stdout).toContain("passed: npm run lint")
  expect(result.stdout).toContain("SKIPPED: test/states.test.ts > group > is skipped")
  expect(result.stdout).toContain("left in the temporary directory, and removed: left-behind")
})

it("counts a skipped test as failed in CI", async () => {
  const result = await runFixture({ CI: "true" })
  expect(lastLine(result.stdout)).toBe("4 passed, 8 failed, 0 skipped")
  expect(result.code).toBe(1)
  expect(result.stdout).toContain("FAILED, as it was skipped in CI: test/states.test.ts > group > is skipped")
})

it("passes arguments to vitest, and counts a run without tests as failed", async () => {
  const one = await runFixture({}, "states")
  expect(lastLine(one.stdout)).toBe("2 passed, 2 failed, 1 skipped")
  const none = await runFixture({}, "no-such-file")
  expect(lastLine(none.stdout)).toBe("1 passed, 2 failed, 0 skipped")
})
