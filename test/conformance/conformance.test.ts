// The suite over every backend; a case is a test. A full run keeps the table in test/README.md right: it writes it, and
// in CI it fails when the table differs.

import * as fs from "node:fs"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Conformance } from "effect-rhapsody/testing"
import { written } from "../written.js"
import { close, lacking, subjects } from "./subjects.js"

afterAll(close)

for (const subject of subjects) {
  describe.skipIf(lacking(subject))(subject.name, () => {
    for (const one of Conformance.cases(subject)) it.live(`${one.id}: ${one.title}`, () => one.run)
  })
}

describe("the suite itself", () => {
  it("has a name for each case, and waivers only for cases that are there", () => {
    for (const subject of subjects) {
      const ids = Conformance.cases(subject).map(({ id }) => id)
      assert.strictEqual(new Set(ids).size, ids.length)
      for (const id of Object.keys(subject.waivers ?? {})) assert.include(ids, id)
    }
  })

  it("the table in test/README.md is that of these cases and backends", () => {
    const file = new URL("../README.md", import.meta.url)
    const page = fs.readFileSync(file, "utf8")
    const right = written(page, "conformance", Conformance.table(subjects))
    if (process.env["CI"] === undefined) fs.writeFileSync(file, right)
    assert.strictEqual(process.env["CI"] === undefined ? right : page, right)
  })
})
