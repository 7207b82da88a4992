// A task is validated and resolved in two steps: the first needs no value of the payload, and runs nothing of the task's.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Either, Schema } from "effect"
import { Driver, Task } from "effect-rhapsody"
import { defaultsOf } from "../../src/internal/engine/submit/limits.js"
import { validate } from "../../src/internal/engine/submit/prepare.js"
import { resolve } from "../../src/internal/engine/submit/resolve.js"
import { ok } from "../support.js"

const driver: Driver.SlotDriver<"executable"> = {
  type: "fake",
  kinds: ["executable"],
  concurrency: 1,
  honours: Driver.everyOption,
  check: () => Effect.sync(() => void calls.push("check")),
  run: () => ok
}
let calls: Array<string> = []

const Later = Schema.transform(Schema.String, Schema.Number, {
  strict: true,
  decode: Number,
  encode: (value) => {
    calls.push("encode")
    return String(value)
  }
})
const Program = Task.executable("Program", {
  payload: { value: Later },
  command: ({ value }) => {
    calls.push("command")
    return { executable: "program", args: [`${value}`] }
  }
})

describe("a task", () => {
  it.effect("is validated without its payload, and resolved with it", () =>
    Effect.gen(function* () {
      calls = []
      const defaults = yield* defaultsOf
      const valid = yield* validate(driver, defaults, Program.make({ value: 7 }, { priority: 2 }), false)
      assert.deepStrictEqual(calls, [])
      const { spec } = yield* resolve(driver, valid, Context.empty())
      assert.deepStrictEqual(calls, ["encode", "command", "check"])
      assert.deepStrictEqual([spec.payload, spec.priority], [{ value: "7" }, 2])
      assert.deepStrictEqual(spec.work._tag === "executable" && spec.work.args, ["7"])
      // once more, as before another attempt, with another payload
      const other = yield* resolve(driver, { ...valid, payload: { value: 8 } }, Context.empty())
      assert.deepStrictEqual(other.spec.payload, { value: "8" })
    })
  )

  it.effect("that is not valid is refused by the first step: its options and its kind", () =>
    Effect.gen(function* () {
      calls = []
      const defaults = yield* defaultsOf
      const Python = Task.python("Python", { callable: "m:f" })
      for (const [instance, field] of [
        [Program.make({ value: 7 }, { priority: Number.NaN }), "priority"],
        [Python.make(), "kind"]
      ] as const) {
        const refused = validate(driver, defaults, instance, false)
        assert.strictEqual(Either.isLeft(refused) && refused.left.configKey, field)
      }
      assert.deepStrictEqual(calls, [])
    })
  )
})
