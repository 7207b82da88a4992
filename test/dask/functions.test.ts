// Python functions on a real Dask: how values, failures and asynchronous functions cross.
import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Effect, Schema } from "effect"
import { DaskBackend, ExecutionBackend, Task, TaskDictionary } from "effect-rhapsody"
import { base, call, failure, missing } from "./support.js"

const { execute } = ExecutionBackend
const Backend = DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 2, resultLimit: 1_000_000 })

describe.skipIf(missing)("Python functions on Dask", () => {
  layer(Backend, { excludeTestServices: true })((it) => {
    it.effect("run as they are, by keyword, by position, with one object, with both", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* execute(call("f", { a: 5 })), [5, 1])
        assert.deepStrictEqual(yield* execute(call("f", { b: "two", a: null })), [null, "two"])
        assert.deepStrictEqual(yield* execute(call("positional", { x: 1, y: [2] }, { call: "args" })), [1, [2]])
        const payload = { text: 'é "\n\u0000', list: [1.5, true, null], nested: { a: {} } }
        assert.deepStrictEqual(yield* execute(call("whole", payload, { call: "object" })), payload)
        const task = yield* TaskDictionary.decode({ function: "functions:both", args: [1], kwargs: { k: "v" } })
        assert.deepStrictEqual(yield* execute(task), [[1], { k: "v" }])
        assert.strictEqual(yield* execute(call("f", { value: 4 }, { callable: "functions:Scale.twice" })), 8)
      })
    )

    it.effect("take and give what the schemas say", () =>
      Effect.gen(function* () {
        const Later = Task.python("Later", {
          callable: "functions:asynchronous",
          payload: { value: Schema.DateTimeUtc, delay: Schema.optional(Schema.Number) },
          success: Schema.DateTimeUtc
        })
        const value = DateTime.unsafeMake(86_400_000)
        assert.deepStrictEqual(yield* execute(Later.make({ value })), value)
        const Nothing = Task.python("Nothing", { callable: "functions:nothing" })
        assert.strictEqual(yield* execute(Nothing.make()), undefined)
        const Wrong = Task.python("Wrong", { callable: "functions:pid", success: Schema.String })
        assert.strictEqual((yield* failure(Wrong.make())).reason, "InvalidResult")
      })
    )

    it.effect("may be asynchronous, and run beside others", () =>
      Effect.gen(function* () {
        const fibers = yield* Effect.forEach([1, 2, 3], (value) =>
          ExecutionBackend.submit(call("asynchronous", { value, delay: 0.01 }))
        )
        assert.deepStrictEqual(yield* Effect.forEach(fibers, (fiber) => fiber), [1, 2, 3])
      })
    )

    it.effect("fail with their exception: type, message and traceback", () =>
      Effect.gen(function* () {
        const error = yield* failure(call("fails", { why: "bad value" }))
        assert.deepStrictEqual([error.reason, error.details["type"]], ["Defect", "ValueError"])
        assert.include(error.message, "ValueError: bad value")
        assert.include(error.details["traceback"], "functions.py")
        assert.notInclude(error.details["traceback"], "effect_rhapsody")
        for (const [name, type] of [
          ["unprintable", "Unprintable"],
          ["interrupts", "KeyboardInterrupt"]
        ] as const) {
          assert.deepStrictEqual((yield* failure(call(name))).details["type"], type)
        }
        const left = yield* failure(call("leaves", { code: 3 }))
        assert.deepStrictEqual([left.reason, left.details["type"]], ["Defect", "SystemExit"])
      })
    )

    it.effect("fail with an error of the task's own where `failure` recognises it", () =>
      Effect.gen(function* () {
        class Refused extends Schema.TaggedError<Refused>()("Refused", { code: Schema.Number }) {}
        const Own = Task.python("Own", {
          callable: "functions:refuses",
          error: Refused,
          failure: ({ args, message, module, type }) =>
            type === "Refused" && module === "functions" && message !== ""
              ? new Refused({ code: Number(args?.[0]) })
              : undefined
        })
        assert.deepStrictEqual(yield* Effect.flip(execute(Own.make())), new Refused({ code: 7 }))
      })
    )

    it.effect("that cannot be had are failed launches that say why", () =>
      Effect.gen(function* () {
        for (const [callable, text] of [
          ["no_such_module:f", "module no_such_module is not found"],
          ["functions:no_such_function", "module functions has no no_such_function"],
          ["functions:Refused.__module__", "a str, and cannot be called"],
          ["broken_syntax:f", "module broken_syntax does not load: SyntaxError"],
          ["broken_import:f", "No module named 'no_such_module_anywhere'"],
          ["broken_exit:f", "module broken_exit does not load: SystemExit"]
        ] as const) {
          const error = yield* failure(call("f", {}, { callable }))
          assert.deepStrictEqual([callable, error.reason], [callable, "LaunchFailed"])
          assert.include(error.message, text)
        }
        const error = yield* failure(call("f", {}, { callable: "broken_syntax:f" }))
        assert.include(error.details["traceback"], "broken_syntax.py")
      })
    )

    it.effect("refuse a payload that does not fit their parameters", () =>
      Effect.gen(function* () {
        const error = yield* failure(call("f", { c: 1 }))
        assert.strictEqual(error.reason, "InvalidPayload")
        assert.include(error.message, "missing a required argument: 'a'")
        const own = yield* failure(call("argument_error"))
        assert.deepStrictEqual([own.reason, own.details["type"]], ["Defect", "TypeError"])
      })
    )

    it.effect("whose result is no JSON fail with the place and the type", () =>
      Effect.gen(function* () {
        for (const [name, text] of [
          ["nan", "result.ok[1] is nan"],
          ["unencodable", "result.bad[1] is a builtins.set"],
          ["bad_key", "a key of result is a tuple"],
          ["endless", "contains itself"]
        ] as const) {
          const error = yield* failure(call(name))
          assert.strictEqual(error.reason, "InvalidResult")
          assert.include(error.message, text)
        }
      })
    )

    it.effect("give results up to the limit, which a longer one names", () =>
      Effect.gen(function* () {
        for (const size of [10, 40_000, 999_000]) {
          assert.strictEqual((yield* execute(call("long", { size }))).length, size)
        }
        const error = yield* failure(call("long", { size: 1_000_000 }))
        assert.deepStrictEqual([error.reason, error.details["limit"]], ["OutputLimit", 1_000_000])
        assert.include(error.message, "resultLimit")
      })
    )

    it.effect("may print what they like", () =>
      Effect.gen(function* () {
        const pids = yield* Effect.forEach([1, 2, 3], () => execute(call("prints")))
        assert.strictEqual(new Set(pids).size, 1)
      })
    )

    it.effect("get no payload that JSON would change", () =>
      Effect.gen(function* () {
        for (const [value, key] of [
          [Number.NaN, "a"],
          [new Uint8Array(1), "a"],
          [10n, "a"],
          [[1, { deep: Infinity }], "a[1].deep"]
        ] as const) {
          const error: any = yield* Effect.flip(execute(call("f", { a: value })))
          assert.deepStrictEqual(
            [error._tag, error.reason, error.configKey],
            ["ConfigurationError", "InvalidPayload", key]
          )
        }
      })
    )
  })
})
