import { writeFileSync } from "node:fs"
import { relative } from "node:path"
import type { SerializedError } from "vitest"
import type { Reporter, TestModule } from "vitest/node"

/** What a test run came to; the skipped by name. */
export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: ReadonlyArray<string>
}

/** Writes the counts of a run to the file that TEST_COUNTS names. */
export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, unhandledErrors: ReadonlyArray<SerializedError>): void {
    let passed = 0
    let failed = unhandledErrors.length
    const skipped: Array<string> = []
    for (const module of modules) {
      // A file that does not import and a hook that throws belong to no test: vitest's summary line omits them.
      failed += [module, ...module.children.allSuites()].filter((suite) => suite.errors().length > 0).length
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === "passed") passed++
        else if (state === "skipped") skipped.push(`${relative(process.cwd(), module.moduleId)} > ${test.fullName}`)
        else failed++
      }
    }
    const counts: Counts = { passed, failed, skipped }
    writeFileSync(process.env["TEST_COUNTS"]!, JSON.stringify(counts))
  }
}
