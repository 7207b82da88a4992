// Secret variables: a driver makes errors from specs, which do not have their values; the library takes them out.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { Driver, ExecutionBackend, Task } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import type { FakeEngine } from "../engines/fakeEngine.js"
import { fakeEngine } from "../engines/fakeEngine.js"
import { executables } from "../support.js"

const secret = "hunter2-and-more"
const Program = Task.executable("Program", {
  command: () => ({
    executable: "program",
    args: [`--token=${secret}`, `${"x".repeat(4080)}${secret}${"y".repeat(100)}`],
    env: { TOKEN: Redacted.make(secret) },
    cwd: `/${secret}`
  })
})

const text = new TextEncoder()
/** Prints its secret whole, and cut at the edge of what an error shows. */
const exit: Driver.ProcessExit = {
  exitCode: 1,
  stdout: `token ${secret}\n`,
  stderr: text.encode(`${secret}${"e".repeat(4096 - 9)}`)
}
const details = {
  message: `${"m".repeat(1994)}${secret}${"m".repeat(4000)}`,
  path: `/run/${secret}`,
  errno: "ENOENT",
  count: 3
}

const hidden = (error: unknown) => {
  assert(error instanceof TaskError)
  const shown = JSON.stringify([error.details, error.message])
  for (let length = secret.length; length >= 5; length--) {
    assert.notInclude(shown, secret.slice(0, length))
    assert.notInclude(shown, secret.slice(-length))
  }
  assert.strictEqual(error.details["path"], "/run/<redacted>")
  assert.strictEqual(error.details["cwd"], "/<redacted>")
  assert.strictEqual((error.details["command"] as ReadonlyArray<string>)[1], "--token=<redacted>")
  assert.deepStrictEqual([error.details["errno"], error.details["count"]], ["ENOENT", 3])
  assert.include(error.details["stdout"], "token <redacted>")
}

describe("the error that a driver makes of a program with a secret variable", () => {
  it.effect("shows no part of it, from a driver with slots", () =>
    Effect.gen(function* () {
      const run = (spec: Driver.Spec<"executable">) =>
        Effect.fail(Driver.taskError(spec, "LaunchFailed", { exit, details, cause: new Error("as it is") }))
      const error = yield* Effect.flip(Effect.provide(ExecutionBackend.execute(Program.make()), executables(run)))
      hidden(error)
      assert.strictEqual((error as TaskError).reason, "LaunchFailed")
      assert.strictEqual(((error as TaskError).cause as Error).message, "as it is")
    })
  )

  it.effect("shows no part of it, from an engine with a queue", () =>
    Effect.gen(function* () {
      const engine: FakeEngine = yield* fakeEngine({
        submit: (attempts) =>
          Effect.forEach(
            attempts,
            ({ spec }) =>
              engine.say(spec.uid, { _tag: "Failed", error: Driver.taskError(spec, "Failed", { exit, details }) }),
            { discard: true }
          )
      })
      hidden(yield* Effect.flip(Effect.provide(ExecutionBackend.execute(Program.make()), engine.layer())))
    })
  )
})
