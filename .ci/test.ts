/**
 * Everything that is asked of a change: the scripts of the package that check it, each counted as one test, then
 * vitest. All of them run, whatever fails before. They have a temporary directory of their own: leaving something there
 * is a failure, and it is removed. The last line of the output is `N passed, N failed, N skipped`.
 *
 * Works in the current directory, so that it can be tested on a small project. Arguments go to vitest.
 */
import { spawnSync } from "node:child_process"
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Counts } from "./reporter.js"

const inCI = !["", "0", "false"].includes(process.env["CI"] ?? "")

const own = mkdtempSync(join(tmpdir(), "test-"))
const temporary = join(own, "tmp")
mkdirSync(temporary)
// as the system's own: some programs of the tests run as other users
chmodSync(own, 0o755)
chmodSync(temporary, 0o1777)

const succeeds = (command: string, args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}): boolean =>
  spawnSync(command, args, { stdio: "inherit", env: { ...process.env, TMPDIR: temporary, ...env } }).status === 0

const check = (script: string): Counts => {
  const passed = succeeds("npm", ["run", "--silent", script])
  console.log(`${passed ? "passed" : "FAILED"}: npm run ${script}\n`)
  return { passed: passed ? 1 : 0, failed: passed ? 0 : 1, skipped: [] }
}

const vitest = (args: ReadonlyArray<string>): Counts => {
  const file = join(own, "counts.json")
  const executable = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url))
  const reporter = fileURLToPath(new URL("reporter.ts", import.meta.url))
  const passed = succeeds(
    process.execPath,
    [executable, "run", "--reporter=default", `--reporter=${reporter}`, ...args],
    { TEST_COUNTS: file }
  )
  const counts: Counts = existsSync(file)
    ? JSON.parse(readFileSync(file, "utf8"))
    : { passed: 0, failed: 0, skipped: [] }
  // Vitest can end badly for a reason that no test has: a crash, a wrong option, no file found.
  return !passed && counts.failed === 0 ? { ...counts, failed: 1 } : counts
}

/** The caches of tsx and of Node's compiler belong to them. */
const isCache = (name: string): boolean => /^(tsx-\d+|node-compile-cache)$/.test(name)

/** Removes the temporary directory. Something left in it is a failure. */
const cleanUp = (): Counts => {
  const left = readdirSync(temporary).filter((name) => !isCache(name))
  rmSync(own, { recursive: true, force: true })
  if (left.length > 0) console.log(`FAILED: left in the temporary directory, and removed: ${left.join(", ")}`)
  return { passed: 0, failed: left.length > 0 ? 1 : 0, skipped: [] }
}

const { scripts = {} } = JSON.parse(readFileSync("package.json", "utf8")) as { scripts?: Record<string, string> }
const checks = Object.keys(scripts).filter((name) => /^(check|lint)(:|$)/.test(name))
const results = [...checks.map(check), vitest(process.argv.slice(2)), cleanUp()]
const skipped = results.flatMap((counts) => counts.skipped)
const passed = results.reduce((sum, counts) => sum + counts.passed, 0)
const failed = results.reduce((sum, counts) => sum + counts.failed, 0) + (inCI ? skipped.length : 0)

for (const name of skipped) console.log(inCI ? `FAILED, as it was skipped in CI: ${name}` : `SKIPPED: ${name}`)
console.log(`${passed} passed, ${failed} failed, ${inCI ? 0 : skipped.length} skipped`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0
