/** Variables of this process that the system starts nothing with: a cluster of the layer's own has them nevertheless. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { base, call, missing } from "./support.js"

const { execute } = ExecutionBackend

const withVariables = (variables: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => set(variables)),
    () => Effect.sync(() => unset(variables))
  )
const set = (variables: Readonly<Record<string, string>>) => void Object.assign(process.env, variables)
const unset = (variables: Readonly<Record<string, string>>) => {
  for (const name of Object.keys(variables)) delete process.env[name]
}

const many = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`RHAPSODY_TEST_${i}`, "x".repeat(100_000)]))
const inherited = {
  RHAPSODY_TEST_SHORT: "short",
  RHAPSODY_TEST_LONG: "x".repeat(200_000),
  DASK_RHAPSODY_TEST__LONG: "x".repeat(40_000)
}

const size = (env: Readonly<Record<string, string | undefined>>) =>
  Task.executable("Size", {
    success: Task.Output,
    command: () => ({
      executable: "sh",
      args: ["-c", `echo \${#RHAPSODY_TEST_SHORT} \${#DASK_RHAPSODY_TEST__LONG}`],
      env
    })
  }).make()

describe.skipIf(missing)("A variable that is too long for the system, and all of them together", () => {
  for (const processes of [true, false]) {
    const layer = DaskBackend.layer({ ...base, processes, workers: 1, threadsPerWorker: 1 })
    it.scopedLive(
      `reach functions and Dask, in ${processes ? "processes" : "threads"}; a program's error names it`,
      () =>
        Effect.gen(function* () {
          yield* withVariables({ ...inherited, ...many })
          yield* Effect.gen(function* () {
            const names = [...Object.keys(inherited), ...Object.keys(many)]
            const sizes = [5, 200_000, 40_000, ...Object.keys(many).map(() => 100_000), 40_000]
            assert.deepStrictEqual(yield* execute(call("variables", { names })), sizes)
            const error = yield* Effect.flip(execute(size({})))
            assert.match(String(error), /is the variable RHAPSODY_TEST_LONG, with 200019 bytes/)
            const less = Object.fromEntries(
              ["RHAPSODY_TEST_LONG", ...Object.keys(many)].map((name) => [name, undefined])
            )
            assert.strictEqual((yield* execute(size(less))).stdout, "5 40000\n")
          }).pipe(Effect.provide(layer))
        })
    )
  }
})
