// One attempt is data: a driver that prints its specs as JSON, and runs what it reads from that, passes the suite.
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import type { Driver } from "effect-rhapsody"
import { Backend, ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { Conformance } from "effect-rhapsody/testing"
import * as replay from "./replay.js"

const sandboxRoot = path.join(os.tmpdir(), `rhapsody-replay-${process.pid}`)
afterAll(() => fs.rmSync(sandboxRoot, { recursive: true, force: true }))

const given = { maxWorkers: 4, forceKillAfter: "200 millis", launcher: "agent", sandboxRoot } as const
const { ExecutableWork, FunctionWork, FunctionWorkLive } = Conformance

const subjects: ReadonlyArray<Conformance.Subject> = [
  {
    name: "programs",
    kinds: ["executable", "function"],
    programs: true,
    slots: 4,
    layer: (options) => replay.layer(given, { stopTimeout: "2 seconds", ...options }),
    work: ExecutableWork.make,
    orchestrator: [
      process.execPath,
      "--conditions=effect-rhapsody-source",
      "--import",
      "tsx",
      path.join(import.meta.dirname, "orchestrator.ts"),
      "agent",
      "replay"
    ]
  },
  {
    name: "functions",
    kinds: ["function"],
    slots: 4,
    layer: (options) => Layer.merge(replay.layer({ ...given, kinds: ["function"] }, options), FunctionWorkLive),
    work: FunctionWork.make
  }
]

describe("a driver that prints its specs as JSON and runs what it reads", () => {
  for (const subject of subjects) {
    describe(subject.name, () => {
      for (const one of Conformance.cases(subject)) it.live(`${one.id}: ${one.title}`, () => one.run)
    })
  }
})

describe("a printed spec", () => {
  it.live("has secret variables by name, and their values nowhere", () =>
    Effect.gen(function* () {
      const printed: Array<string> = []
      const layer = Backend.layer(
        Effect.map(ConcurrentBackend.driver(given), (driver) =>
          replay.replaying(driver, (text) => {
            printed.push(text)
          })
        )
      )
      const Show = Task.executable("Show", {
        command: () => ({ executable: "sh", args: ["-c", 'echo "$TOKEN"'], env: { TOKEN: Redacted.make("hunter2") } })
      })
      const shown = yield* Effect.provide(ExecutionBackend.execute(Show.make()), layer)
      assert.strictEqual(shown, "hunter2\n")
      assert.strictEqual(printed.length, 1)
      assert.include(printed[0], "TOKEN")
      assert.notInclude(printed[0], "hunter2")
    })
  )

  it.live("without the values of its secrets fails with the name of the variable", () =>
    Effect.gen(function* () {
      const layer = Backend.layer(
        Effect.map(
          ConcurrentBackend.driver({ ...given, kinds: ["executable"] }),
          (driver): Driver.SlotDriver<"executable"> => ({
            ...driver,
            run: (spec, hooks) => driver.run(spec, { ...hooks, secrets: new Map() })
          })
        )
      )
      const Show = Task.executable("Show", {
        command: () => ({ executable: "true", env: { TOKEN: Redacted.make("hunter2") } })
      })
      const error = yield* Effect.flip(Effect.provide(ExecutionBackend.execute(Show.make()), layer))
      assert(error._tag === "TaskError")
      assert.strictEqual(error.reason, "LaunchFailed")
      assert.match(error.message, /variable TOKEN is secret/)
    })
  )
})
