// What the author of a backend does: a driver of a few lines, and the suite over it.
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Stream } from "effect"
import { Backend, ConcurrentBackend, Driver } from "effect-rhapsody"
import { Conformance } from "effect-rhapsody/testing"

const sandboxes = path.join(os.tmpdir(), `rhapsody-stranger-${process.pid}`)
afterAll(() => fs.rmSync(sandboxes, { recursive: true, force: true }))

const quick: Conformance.Subject = {
  name: "stranger's",
  kinds: ["executable"],
  programs: true,
  slots: 4,
  layer: (options) =>
    Backend.layer(
      Effect.map(
        ConcurrentBackend.driver({
          kinds: ["executable"],
          forceKillAfter: "200 millis",
          launcher: "node",
          sandboxRoot: sandboxes
        }),
        (inner) => ({
          ...inner,
          type: "stranger's"
        })
      ),
      options
    ),
  work: Conformance.ExecutableWork.make,
  waivers: {
    "process-bytes": { reason: "as the backend it wraps" },
    "process-escape": { reason: "as the backend it wraps" },
    "process-orchestrator-killed": { reason: "needs a script to kill" },
    "process-orchestrator-killed-escape": { reason: "as the backend it wraps" },
    "process-sigterm": { reason: "as the backend it wraps" }
  }
}

/** Answers without looking, and so breaks the contract. */
const careless: Conformance.Subject = {
  ...quick,
  name: "careless",
  programs: false,
  layer: (options) =>
    Backend.layer(
      {
        type: "careless",
        kinds: ["executable"],
        concurrency: 4,
        run: () => Effect.succeed(Driver.Outcome.exited({ exitCode: 0, stdout: '{"value":7}' }))
      },
      options
    )
}

const words = (lines: ReadonlyArray<string>) => [...new Set(lines.map((line) => line.split(" ")[0]))].sort()

describe("a backend of another author", () => {
  it.live("of a few lines passes, and reports what it waives", () =>
    Effect.gen(function* () {
      const lines = yield* Conformance.report(quick)
      assert.deepStrictEqual(words(lines), ["pass", "waived"], lines.join("\n"))
      assert.deepStrictEqual(
        lines.filter((line) => line.startsWith("waived")).map((line) => line.replace(/: .* \(/, " (")),
        [
          "waived service (waived: runs no services)",
          "waived lost (waived: has no engine but this process)",
          "waived process-bytes (waived: as the backend it wraps)",
          "waived process-escape (waived: as the backend it wraps)",
          "waived process-orchestrator-killed (waived: needs a script to kill)",
          "waived process-orchestrator-killed-escape (waived: as the backend it wraps)",
          "waived process-sigterm (waived: as the backend it wraps)"
        ]
      )
    })
  )

  it.live("is reported line by line, as its cases end", () =>
    Effect.gen(function* () {
      let built = 0
      const counted: Conformance.Subject = {
        ...careless,
        layer: (options) =>
          Layer.unwrapEffect(
            Effect.sync(() => {
              built++
              return careless.layer(options)
            })
          )
      }
      const line = yield* Stream.runHead(Conformance.lines(counted))
      assert.match(Option.getOrThrow(line), /^pass submit: /)
      assert.strictEqual(built, 1)
    })
  )

  it.live("that breaks the contract fails the cases of what it breaks", () =>
    Effect.gen(function* () {
      // cases that wait for what such a backend never does take long: some that end at once are enough
      const ids = ["own-error", "invalid-result", "retries-spent", "user-defect", "submit"]
      const chosen = Conformance.cases(careless).filter(({ id }) => ids.includes(id))
      const failed: Array<string> = []
      for (const one of chosen) if ((yield* Effect.exit(one.run))._tag === "Failure") failed.push(one.id)
      assert.deepStrictEqual(failed.sort(), ["invalid-result", "own-error", "retries-spent", "user-defect"])
    })
  )
})
