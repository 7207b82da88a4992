// Functions share the interpreter of their worker: what they change there ends or alters no task but their own.
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, FastCheck as fc, Schema } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { base, call, content, failure, file, missing, until, untilRuns } from "./support.js"

const { execute, submit } = ExecutionBackend

const hostile = (name: string, payload: Record<string, unknown> = {}, options: Task.Options<any> = {}) =>
  call(name, payload, { callable: `hostile:${name}` }, options)

const Echo = Task.executable("Echo", { command: () => ({ executable: "echo", args: ["echo"] }) })

/** The worker does its work, of both kinds. */
const works = Effect.gen(function* () {
  assert.deepStrictEqual(yield* execute(call("f", { a: 1 })), [1, 1])
  assert.strictEqual(yield* execute(Echo.make()), "echo\n")
})

const OneWorker = DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 2 })

describe.skipIf(missing)("A function on Dask that", () => {
  layer(OneWorker, { excludeTestServices: true })((it) => {
    it.effect("replaces all of the module json changes no result, and lets none pass that is not JSON", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* execute(hostile("json_module")), { value: 1 })
        yield* works
        const error = yield* failure(hostile("not_json"))
        assert.deepStrictEqual([error.reason, error.details["message"]].slice(0, 1), ["InvalidResult"])
        assert.include(error.message, "result is a builtins.set")
      })
    )

    it.effect("replaces what builtins and modules have, has its result all the same", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* execute(hostile("foreign_builtins")), [1, { a: [2] }])
        yield* works
        const error = yield* failure(hostile("names_of_modules"))
        assert.deepStrictEqual([error.details["type"], error.reason], ["ValueError", "Defect"])
        assert.include(error.message, "after that")
        yield* works
      })
    )

    it.effect("takes this library's module from sys.modules leaves a worker that works", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* execute(hostile("removes_module")), 1)
        yield* works
      })
    )

    it.effect("replaces the policy for event loops fails where one is needed, and nowhere else", () =>
      Effect.gen(function* () {
        yield* execute(hostile("policy"))
        yield* works
        yield* execute(hostile("no_policy"))
        assert.strictEqual(yield* execute(call("asynchronous", { value: 1 })), 1)
      })
    )

    it.effect("changes the log, the locale or what numbers may be written, changes no result", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* execute(hostile("logs")), 1)
        assert.deepStrictEqual(yield* execute(hostile("localised")), [1.5, 1e15])
        const error = yield* failure(call("beyond", { bits: 9000 }, { callable: "attacks:beyond" }))
        assert.strictEqual(error.reason, "InvalidResult")
        yield* works
      })
    )

    it.effect("moves its process, moves no program, no file and no module of another task", () =>
      Effect.gen(function* () {
        const directory = path.dirname(yield* file)
        const Where = Task.executable("Where", {
          command: () => ({ executable: "sh", args: ["-c", `pwd; umask; echo "$WANDERED"`], env: { LC_ALL: "C" } })
        })
        const Writes = Task.executable("Writes", {
          command: () => ({ executable: "echo", args: ["text"] }),
          capture: { stdout: "wandering.out" }
        })
        const home = String(yield* execute(hostile("where")))
        yield* execute(hostile("wanders", { path: directory }))
        assert.strictEqual(yield* execute(hostile("where")), directory)
        const umask = `0${process.umask().toString(8).padStart(3, "0")}`
        assert.strictEqual(yield* execute(Where.make()), `${home}\n${umask}\n\n`)
        yield* Effect.addFinalizer(() =>
          Effect.sync(() => fs.rmSync(path.join(home, "wandering.out"), { force: true }))
        )
        assert.strictEqual(yield* execute(Writes.make()), "text\n")
        assert.strictEqual(content(path.join(home, "wandering.out")), "text\n")
        assert.deepStrictEqual(fs.readdirSync(directory), [])
        const modules = path.dirname(yield* file)
        fs.writeFileSync(path.join(modules, "late.py"), "def f(): return 'late'")
        const late = call("f", {}, { callable: "late:f", path: [path.relative(home, modules)] })
        assert.strictEqual(yield* execute(late), "late")
      }).pipe(Effect.scoped)
    )

    it.effect("closes the standard streams, or fills them, harms no other task", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* execute(hostile("floods", { bytes: 20_000_000 })), 1)
        assert.deepStrictEqual(yield* execute(hostile("closes", { fds: [0, 1, 2] })), [1])
        yield* works
        assert.strictEqual(yield* execute(call("prints")), yield* execute(call("pid")))
      })
    )

    it.effect("forks comes back once", () =>
      Effect.gen(function* () {
        for (let i = 0; i < 5; i++) assert.strictEqual(yield* execute(hostile("forks")), "parent")
        yield* works
      })
    )

    it.effect("leaves by another thread, or recurses without end, ends as it does in Python", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* execute(hostile("leaves_thread")), 1)
        assert.strictEqual((yield* failure(hostile("deep"))).details["type"], "RecursionError")
        yield* works
      })
    )

    it.effect("raises what cannot be described, or is longer than a message, fails alone", () =>
      Effect.gen(function* () {
        const beside = yield* submit(call("sleeps", { path: "/dev/null", seconds: 0.5 }))
        assert.strictEqual((yield* failure(hostile("nameless"))).reason, "Defect")
        for (const size of [100_000, 80_000_000]) {
          const error = yield* failure(hostile("long_name", { size }))
          assert.strictEqual(error.reason, "Defect")
          assert.isBelow(error.message.length, 70_000)
          const key = yield* failure(hostile("long_key", { size }))
          assert.strictEqual(key.reason, "InvalidResult")
          assert.isBelow(key.message.length, 70_000)
        }
        assert.strictEqual(yield* Fiber.join(beside), "slept")
      })
    )

    it.effect("raises a cancellation that no caller asked for has failed", () =>
      Effect.gen(function* () {
        const error = yield* failure(hostile("swallows"))
        assert.deepStrictEqual([error.reason, error.details["type"]], ["Defect", "CancelledError"])
      })
    )
  })

  layer(OneWorker, { excludeTestServices: true })((it) => {
    it.effect("ruins what this library has in its worker is the end of tasks there, and of no backend", () =>
      Effect.gen(function* () {
        const error = yield* failure(hostile("ruins_module"))
        assert.strictEqual(error.reason, "Defect")
        assert.include(error.message, "its worker sent a message that cannot be read")
        assert.strictEqual((yield* failure(call("f", { a: 1 }))).reason, "Defect")
      })
    )
  })

  layer(DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 2, processes: false }), {
    excludeTestServices: true,
    timeout: 60_000
  })((it) => {
    it.effect("replaces all of the module json in the bridge's own process is no loss of that either", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* execute(hostile("json_module")), { value: 1 })
        yield* works
        assert.strictEqual((yield* failure(hostile("not_json"))).reason, "InvalidResult")
        const placed = DaskBackend.settings({ workers: ["0"] })
        assert.deepStrictEqual(yield* execute(call("f", { a: 2 }, {}, { settings: placed })), [2, 1])
      })
    )
  })

  layer(DaskBackend.layer({ ...base, workers: 2, threadsPerWorker: 1 }), {
    excludeTestServices: true,
    timeout: 60_000
  })((it) => {
    it.effect("kills its whole group kills its own worker", () =>
      Effect.gen(function* () {
        const error = yield* failure(hostile("kills_group"))
        assert.strictEqual(error.reason, "Lost")
        yield* works
      })
    )
  })
})

describe.skipIf(missing)("What a function on Dask gives", () => {
  layer(OneWorker, { excludeTestServices: true })((it) => {
    for (const name of [
      ...["decorated", "undeclared", "instance", "method", "gives_coroutine", "gives_awaitable"],
      ...["by_generator", "gives_future"]
    ]) {
      it.effect(`is awaited where it can be: ${name}`, () =>
        Effect.map(execute(hostile(name, { value: 7 })), (value) => assert.strictEqual(value, 7))
      )
    }

    it.effect("is awaited where it can be: partial", () =>
      Effect.map(execute(hostile("partial")), (value) => assert.strictEqual(value, 7))
    )

    it.effect("is refused where it is a generator, which is named", () =>
      Effect.gen(function* () {
        for (const name of ["generates", "gives_generator"]) {
          const error = yield* failure(hostile(name))
          assert.strictEqual(error.reason, "InvalidResult")
          assert.include(error.message, "result is a builtins.async_generator")
        }
      })
    )

    it.effect("is canceled as an asynchronous function is", () =>
      Effect.gen(function* () {
        const trace = yield* file
        const fiber = yield* submit(hostile("gives_long", { path: trace }))
        yield* until(() => content(trace) === "started\n", "the coroutine to run")
        yield* untilRuns(fiber.uid)
        assert.strictEqual(yield* ExecutionBackend.cancel(fiber), true)
        assert.strictEqual(content(trace), "started\nstopped\n")
      }).pipe(Effect.scoped)
    )
  })
})

describe.skipIf(missing)("A value between here and Python", () => {
  layer(OneWorker, { excludeTestServices: true })((it) => {
    it.effect("is the same after it was there and came back", () =>
      Effect.gen(function* () {
        const number = fc.oneof(
          fc.double({ noNaN: true, noDefaultInfinity: true }),
          fc.integer(),
          fc.constantFrom(-0, 2 ** 68)
        )
        const leaf = fc.oneof(fc.string({ unit: "binary" }), number, fc.boolean(), fc.constant(null))
        const value = fc.oneof(leaf, fc.array(leaf), fc.dictionary(fc.string(), fc.array(leaf, { maxLength: 3 })))
        const values = { values: fc.sample(value, 300) }
        assert.deepStrictEqual(yield* execute(call("whole", values, { call: "object" })), values)
      })
    )

    it.effect("is what Python calls equal, where JSON has no word for its class", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* execute(hostile("keeps")), {
          ...{ tuple: [1, [2]], pair: [1, 2], ordered: { b: 1, a: 1 }, text: "a", a: { x: 1 }, float: 0.5, minus: -0 },
          ...{ large: 1e300, exact: 2 ** 53, surrogate: "a\ud800", bool: true }
        })
      })
    )

    it.effect("is refused where JSON would change it, with the path", () =>
      Effect.gen(function* () {
        for (const [which, text] of [
          ["twice", "a key of result.deep[0] is a int: 1"],
          ["none", "a key of result is a NoneType: None"],
          ["true", "a key of result.a is a bool: True"],
          ["float_key", "a key of result is a float: 1.5"],
          ["enum_key", "a key of result is a Number"],
          ["same_text", "result has two keys that are the text 'a'"],
          ["bytes", "result.a is a builtins.bytes"],
          ["bytes_key", "a key of result is a bytes"],
          ["set", "result[1] is a builtins.set"],
          ["frozenset", "result is a builtins.frozenset"],
          ["complex", "result[0] is a builtins.complex"],
          ["infinite", "result[1] is -inf"],
          ["beyond", "result.ids[1] is a number of 54 bits"],
          ["object", "result[0] is a builtins.object"],
          ["deep", "is nested too deeply"],
          ["view", "result is a builtins.dict_keys"],
          ["function", "result is a builtins.function"],
          ["path", "result is a pathlib"]
        ] as const) {
          const error = yield* failure(hostile("changed", { which }))
          assert.deepStrictEqual([which, error.reason], [which, "InvalidResult"])
          assert.include(error.message, text)
        }
      })
    )

    it.effect("is left out of what an exception is described by where JSON would change it", () =>
      Effect.gen(function* () {
        const { details } = yield* failure(hostile("raises_odd"))
        assert.deepStrictEqual([details["type"], details["args"]], ["Odd", undefined])
        assert.include(String(details["message"]), "1152921504606846976")
      })
    )

    it.effect("has the place that the schema gives it, or is refused", () =>
      Effect.gen(function* () {
        const Plot = Task.python("Plot", {
          callable: "functions:positional",
          call: "args",
          payload: {
            title: Schema.String,
            width: Schema.optional(Schema.Number),
            depth: Schema.optional(Schema.Number)
          },
          success: Schema.Unknown
        })
        assert.deepStrictEqual(yield* execute(Plot.make({ depth: 3, width: 2, title: "t" })), ["t", 2, 3])
        assert.deepStrictEqual(yield* execute(Plot.make({ title: "t", depth: undefined })), ["t"])
        const error: any = yield* Effect.flip(execute(Plot.make({ title: "t", depth: 3 })))
        assert.deepStrictEqual(
          [error._tag, error.reason, error.configKey],
          ["ConfigurationError", "InvalidPayload", "width"]
        )
        assert.include(error.message, "depth after it is given")
      })
    )
  })
})
