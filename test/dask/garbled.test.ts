// What a worker's launch agent says and the worker cannot use: the program that it is about ends, and no other.
import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { base, below, bridges, call, failure, file, missing, Sleep, sleepers, until, untilRuns } from "./support.js"

const { execute, submit } = ExecutionBackend

const Waits = Task.executable("Waits", {
  payload: { path: Schema.String },
  command: ({ path }) => ({
    executable: "sh",
    args: ["-c", 'until test -e "$0"; do sleep 0.01; done; echo ended', path]
  })
})

describe.skipIf(missing)("A message of a worker's launch agent", () => {
  for (const [what, message] of [
    ["of no type", {}],
    ["with a field that is none", { type: "output", stream: "x" }],
    ["that says that it could not do what was asked", { type: "garbled", message: "what was asked" }]
  ] as const) {
    it.scopedLive(`${what} ends the program that it is about, and no other`, () =>
      Effect.gen(function* () {
        const path = yield* file
        const bystander = yield* submit(Waits.make({ path }))
        yield* untilRuns(bystander.uid)
        const agents = () => below(bridges()[0]!.bridge).filter((pid) => isAgent(pid))
        const before = agents()
        assert.isNotEmpty(before)
        yield* execute(call("garbles_next_start", { message }, { callable: "hostile:garbles_next_start" }))
        const error = yield* failure(Sleep.make())
        assert.strictEqual(error.reason, "Lost")
        assert.include(error.message, "its launch agent")
        yield* until(() => sleepers(bridges()[0]!.bridge).every((pid) => !hour(pid)), "the program to be gone")
        fs.writeFileSync(path, "")
        assert.strictEqual(yield* Fiber.join(bystander), "ended\n")
        assert.deepStrictEqual(agents(), before)
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 3 })))
    )
  }
})

const words = (pid: number): string => {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "latin1")
  } catch {
    return "" // it ended
  }
}
const isAgent = (pid: number): boolean => words(pid).includes("effect-rhapsody launch agent")
const hour = (pid: number): boolean => words(pid).includes("3600")
