// A secret given to a task is in no log of the cluster and in no error, however the task and the engine end.
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted, Schema } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { outline } from "../../src/internal/bridge/traceback.js"
import { cluster } from "../engines/dask.js"
import { base, bridges, call, missing, python, until, untilRuns } from "./support.js"

const { execute, submit } = ExecutionBackend

const secret = "hunter2-hunter2"

/** All ways in which someone may print an error. */
const printed = (error: unknown): string =>
  [String(error), JSON.stringify(error), inspect(error, { depth: 8, showHidden: true })].join("\n")

const Program = Task.executable("P", {
  payload: { script: Schema.String },
  command: ({ script }) => ({ executable: "sh", args: ["-c", script], env: { TOKEN: Redacted.make(secret) } })
})

describe.skipIf(missing)("A secret", () => {
  it.scopedLive("of a program that Dask tries again is in no log, whatever its key is", () =>
    Effect.gen(function* () {
      const { address, scheduler, worker } = yield* cluster(python)
      const { output } = yield* worker("--nthreads", "2")
      yield* Effect.gen(function* () {
        for (const key of ["k", "a-key-that-is-longer-than-any-that-dask-cuts-off", undefined]) {
          const settings = DaskBackend.settings({ retries: 1, ...(key === undefined ? {} : { key }) })
          const error = yield* Effect.flip(execute(Program.make({ script: "exit 3" }, { settings })))
          assert.strictEqual((error as any).exitCode, 3)
          assert.notInclude(printed(error), secret)
        }
        // a function's payload may be one as well
        const settings = DaskBackend.settings({ retries: 1, key: "f" })
        yield* Effect.flip(execute(call("fails", { why: secret }, {}, { settings })))
        yield* until(() => output().split("Compute Failed").length > 4, "the worker to log the failures")
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, address })))
      const logs = output() + scheduler.output()
      assert.notInclude(logs, secret)
      assert.notInclude(logs, "TOKEN")
    })
  )

  it.scopedLive("that a function prints is in no error when its engine is killed", () =>
    Effect.gen(function* () {
      yield* execute(call("says", { text: `Traceback (most recent call last):\n  ${secret}\nError: ${secret}` }))
      const settings = DaskBackend.settings({ retries: 1, key: "k" })
      const fiber = yield* submit(Program.make({ script: "sleep 3600" }, { settings }))
      yield* untilRuns(fiber.uid)
      process.kill(bridges()[0]!.bridge, "SIGKILL")
      const error: any = yield* Effect.flip(Fiber.join(fiber))
      assert.deepStrictEqual([error._tag, error.reason], ["BackendError", "Lost"])
      assert.notInclude(printed(error), secret)
    }).pipe(Effect.provide(DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 1 })))
  )
})

describe("Of an engine's standard error", () => {
  it("an error has the places of tracebacks and the types of exceptions", () => {
    const text = [
      `distributed.worker - WARNING - Compute Failed: ${secret}`,
      "Traceback (most recent call last):",
      '  File "<string>", line 8, in <module>',
      `    raise ValueError("${secret}")`,
      `ValueError: ${secret}`,
      secret,
      "",
      "During handling of the above exception, another exception occurred:",
      "Traceback (most recent call last):",
      '  File "effect-rhapsody launch agent", line 12, in run',
      "KeyboardInterrupt",
      `${secret}: x`
    ]
    assert.deepStrictEqual(outline(text.join("\n")).split("\n"), [text[1], text[2], "ValueError", ...text.slice(8, 11)])
  })
})
