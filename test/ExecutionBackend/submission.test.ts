import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Context,
  DateTime,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Redacted,
  Schema
} from "effect"
import type { Backend } from "effect-rhapsody"
import { Defaults, Driver, ExecutionBackend, Task } from "effect-rhapsody"
import { BackendError, ConfigurationError, TaskError } from "effect-rhapsody/Errors"
import { executables, functions, held, idle, nothingLeft, ok, Program } from "../support.js"

/** The refusal of a submission, after checking that it left nothing behind. */
const refusal = (instance: Task.Instance<any, any, any>) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(ExecutionBackend.submit(instance))
    assert.isTrue(error instanceof ConfigurationError)
    const { active, queued, waiting } = yield* idle
    assert.deepStrictEqual([active, queued, waiting], [0, 0, 0])
    return error as ConfigurationError
  })

describe("what is refused at submission leaves nothing behind", () => {
  const cases: Record<string, readonly [Task.Options<any>, key: string, reason: string]> = {
    "empty uid": [{ uid: "" }, "uid", "InvalidOption"],
    "uid with a slash": [{ uid: "a/b" }, "uid", "InvalidOption"],
    "uid of two dots": [{ uid: ".." }, "uid", "InvalidOption"],
    "uid with a control character": [{ uid: "a\nb" }, "uid", "InvalidOption"],
    "uid that is no string": [{ uid: 7 as any }, "uid", "InvalidOption"],
    "negative timeout": [{ timeout: -1 }, "timeout", "InvalidOption"],
    "unreadable timeout": [{ timeout: "soon" as any }, "timeout", "InvalidOption"],
    "negative retries": [{ retry: { times: -1 } }, "retry.times", "InvalidOption"],
    "half a retry": [{ retry: { times: 0.5 } }, "retry.times", "InvalidOption"],
    "priority that is not a number": [{ priority: Number.NaN }, "priority", "InvalidOption"],
    "negative cores": [{ resources: { cores: -1 } }, "resources.cores", "InvalidOption"],
    "unreadable walltime": [{ resources: { walltime: "x" as any } }, "resources.walltime", "InvalidOption"],
    "negative capture limit": [{ capture: { limit: -1 } }, "capture.limit", "InvalidOption"],
    "merged and a file for stderr": [
      { capture: { mergeStderr: true, stderr: "f" } },
      "capture.stderr",
      "InvalidOption"
    ],
    "variable name with =": [{ env: { "A=B": "1" } }, "env.A=B", "InvalidOption"],
    "variable with NUL": [{ env: { A: "a\0b" } }, "env.A", "InvalidPayload"],
    "secret variable with NUL": [{ env: { A: Redacted.make("a\0b") } }, "env.A", "InvalidPayload"],
    "variable that is a number": [{ env: { A: 1 as any } }, "env.A", "InvalidPayload"],
    "cwd with NUL": [{ cwd: "a\0b" }, "cwd", "InvalidPayload"],
    "settings of another backend": [{ settings: other({ queue: "q" }) }, "settings", "WrongSettings"]
  }
  for (const [name, [options, key, reason]] of Object.entries(cases)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        const error = yield* refusal(Program.make(undefined, options))
        assert.deepStrictEqual([error.configKey, error.reason], [key, reason])
        assert.include(error.message, key)
      }).pipe(Effect.provide(executables(() => ok)))
    )
  }

  const command = (command: unknown) => Task.executable("Odd", { command: () => command as Task.Command }).make()
  const commands: Record<string, readonly [Task.Instance<any, any, any>, key: string]> = {
    "empty executable": [command({ executable: "" }), "executable"],
    "executable that is a number": [command({ executable: 3 }), "executable"],
    "argument that is a number": [command({ executable: "x", args: ["a", 2] }), "args[1]"],
    "argument with NUL": [command({ executable: "x", args: ["a\0"] }), "args[0]"],
    "argument with half a surrogate pair": [command({ executable: "x", args: ["\ud800"] }), "args[0]"],
    "stdin that is an object": [command({ executable: "x", stdin: {} }), "stdin"],
    "command's own variable": [command({ executable: "x", env: { "": "1" } }), "env."],
    "command that throws": [
      Task.executable("Odd", {
        command: () => {
          throw new Error("boom")
        }
      }).make(),
      "command"
    ]
  }
  for (const [name, [instance, key]] of Object.entries(commands)) {
    it.effect(name, () =>
      Effect.map(refusal(instance), (error) => assert.strictEqual(error.configKey, key)).pipe(
        Effect.provide(executables(() => ok))
      )
    )
  }

  it.effect("a payload that cannot be encoded names its field; make itself never throws", () =>
    Effect.gen(function* () {
      const Typed = Task.executable("Typed", {
        payload: { n: Schema.Number, deep: Schema.Struct({ at: Schema.DateFromSelf }) },
        command: () => ({ executable: "x" })
      })
      const wrong = yield* refusal(Typed.make({ n: "1", deep: { at: epoch } } as any))
      assert.deepStrictEqual([wrong.configKey, wrong.reason], ["n", "InvalidPayload"])
      assert.strictEqual((yield* refusal(Typed.make({ n: 1, deep: { at: 1 } } as any))).configKey, "deep.at")
      assert.strictEqual((yield* refusal(Typed.make(null as any))).configKey, "n")
      assert.strictEqual((yield* refusal(Typed.make("text" as any))).configKey, "payload")
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.effect("a constructor default fills in what is left out", () => {
    const seen: Array<unknown> = []
    const Defaulted = Task.executable("Defaulted", {
      payload: {
        n: Schema.Number.pipe(
          Schema.propertySignature,
          Schema.withConstructorDefault(() => 7)
        )
      },
      command: ({ n }) => ({ executable: "x", args: [`${n}`] })
    })
    return Effect.gen(function* () {
      yield* ExecutionBackend.execute(Defaulted.make({}))
      assert.deepStrictEqual(seen, [{ n: 7 }, ["7"]])
    }).pipe(
      Effect.provide(
        executables(({ payload, work }) => {
          seen.push(payload, work._tag === "executable" ? work.args : undefined)
          return ok
        })
      )
    )
  })

  it.effect("a task of another kind, or no task at all", () =>
    Effect.gen(function* () {
      const worker = Task.worker("W", { module: new URL("file:///w.js"), export: "w" }).make()
      const python = Task.python("P", { callable: "m:f" }).make()
      const service = Task.service("S", { command: () => ({ executable: "s" }), ready: /r/ }).make() as any
      for (const instance of [worker, python, service, Task.function("F").make()]) {
        const error = yield* refusal(instance)
        assert.deepStrictEqual([error.configKey, error.reason], ["kind", "UnsupportedKind"])
        assert.include(error.message, "backend fake runs executable")
      }
      for (const thing of [{}, undefined, null, 1]) {
        assert.strictEqual((yield* refusal(thing as any)).reason, "NotATask")
      }
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.effect("a function without its handler, or with the handler of a namesake", () =>
    Effect.gen(function* () {
      const Mean = Task.function("Mean", { success: Schema.Number })
      const Other = Task.function("Mean", { success: Schema.Number })
      const none = yield* refusal(Mean.make())
      assert.deepStrictEqual([none.configKey, none.reason], ["handler", "WrongHandler"])
      assert.include(none.message, "toLayer")
      const wrong = yield* refusal(Mean.make()).pipe(Effect.provide(Other.toLayer(() => Effect.succeed(1))))
      assert.strictEqual(wrong.reason, "WrongHandler")
      assert.include(wrong.message, "another definition")
    }).pipe(Effect.provide(functions(1)))
  )

  it.effect("what the driver's own check refuses", () =>
    Effect.gen(function* () {
      const error = yield* refusal(Program.make(undefined, { resources: { gpus: 3 } }))
      assert.strictEqual(error.configKey, "resources.gpus")
      yield* ExecutionBackend.execute(Program.make())
    }).pipe(
      Effect.provide(
        executables(() => ok, {
          check: ({ resources }) =>
            resources.gpus === undefined
              ? Effect.void
              : new ConfigurationError({
                  configKey: "resources.gpus",
                  reason: "InvalidOption",
                  details: { message: "there are none" }
                })
        })
      )
    )
  )
})

const epoch = DateTime.toDateUtc(DateTime.unsafeMake(0))
const other = Task.settings("other", Schema.Struct({ queue: Schema.String }))

describe("uids", () => {
  it.effect("automatic ones are numbered and skip those that are taken", () =>
    Effect.gen(function* () {
      const uids = yield* Effect.forEach([undefined, "task.000002", undefined, "mine"], (uid) =>
        Effect.map(ExecutionBackend.submit(Program.make(undefined, uid === undefined ? {} : { uid })), (_) => _.uid)
      )
      assert.deepStrictEqual(uids, ["task.000001", "task.000002", "task.000003", "mine"])
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.effect("a uid is refused while it lives and while it is remembered", () =>
    Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { uid: "a" }))
      const again = Effect.flip(ExecutionBackend.submit(Program.make(undefined, { uid: "a" })))
      assert.strictEqual((yield* again)._tag, "ConfigurationError")
      yield* fiber
      const error = yield* again
      assert.isTrue(error instanceof ConfigurationError && error.reason === "DuplicateUid")
      assert.strictEqual(Option.getOrNull(yield* ExecutionBackend.taskState("a")), "COMPLETED")
      // the history holds two: the third that ends pushes the first out
      yield* ExecutionBackend.execute(Program.make(undefined, { uid: "b" }))
      yield* ExecutionBackend.execute(Program.make(undefined, { uid: "c" }))
      assert.isTrue(Option.isNone(yield* ExecutionBackend.taskState("a")))
      assert.strictEqual(yield* ExecutionBackend.execute(Program.make(undefined, { uid: "a" })), "ok")
    }).pipe(Effect.provide(executables(() => ok, {}, { historySize: 2 })))
  )

  it.effect("of two submissions of one uid that both wait to be admitted, one is refused", () =>
    Effect.gen(function* () {
      const first = yield* held
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.submit(Program.make())
        yield* first.started
        const same = ExecutionBackend.execute(Program.make(undefined, { uid: "same" }))
        const both = yield* Effect.all([Effect.fork(same), Effect.fork(same)])
        yield* Effect.yieldNow()
        yield* first.release
        const exits = yield* Fiber.awaitAll(both)
        assert.deepStrictEqual(
          [...exits]
            .map((exit) => (Exit.isFailure(exit) ? (Cause.squash(exit.cause) as ConfigurationError).reason : "ok"))
            .sort(),
          ["DuplicateUid", "ok"]
        )
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(executables(() => first.run, {}, { maxActiveTasks: 1, historySize: 10 })))
    })
  )
})

describe("maxActiveTasks", () => {
  it.effect("submit waits beyond the limit and goes on when a task ends", () =>
    Effect.gen(function* () {
      const first = yield* held
      yield* Effect.gen(function* () {
        const a = yield* ExecutionBackend.submit(Program.make())
        const b = yield* ExecutionBackend.submit(Program.make())
        const waiting = yield* Effect.fork(ExecutionBackend.submit(Program.make()))
        yield* first.started
        yield* Effect.yieldNow()
        assert.isTrue(Option.isNone(yield* Fiber.poll(waiting)))
        yield* first.release
        const c = yield* Fiber.join(waiting)
        assert.deepStrictEqual([...(yield* Fiber.joinAll([a, b, c]))], ["ok", "ok", "ok"])
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(executables(() => first.run, { concurrency: 1 }, { maxActiveTasks: 2 })))
    })
  )

  it.effect("a submission that is interrupted while it waits leaves no trace, nor one just let in", () =>
    Effect.gen(function* () {
      const first = yield* held
      yield* Effect.gen(function* () {
        const a = yield* ExecutionBackend.submit(Program.make())
        yield* first.started
        const given = yield* Effect.fork(ExecutionBackend.submit(Program.make(undefined, { uid: "given" })))
        const left = yield* Effect.fork(ExecutionBackend.submit(Program.make(undefined, { uid: "left" })))
        yield* Effect.yieldNow()
        yield* Fiber.interrupt(left)
        // `given` is let in by the very step that ends `a`, and interrupted before it goes on
        a.addObserver(() => given.unsafeInterruptAsFork(given.id()))
        yield* first.release
        assert.isTrue(Exit.isInterrupted(yield* Fiber.await(given)))
        assert.isTrue(Option.isNone(yield* ExecutionBackend.taskState("given")))
        assert.isTrue(Option.isNone(yield* ExecutionBackend.taskState("left")))
        // both places are free again: with a limit of one, two tasks one after the other
        assert.strictEqual(yield* ExecutionBackend.execute(Program.make()), "ok")
        assert.strictEqual(yield* ExecutionBackend.execute(Program.make()), "ok")
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(executables(() => first.run, {}, { maxActiveTasks: 1 })))
    })
  )

  it.effect("tasks start by priority, then in order of submission", () =>
    Effect.gen(function* () {
      const first = yield* held
      const order: Array<string> = []
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.submit(Program.make())
        yield* first.started
        const submit = (uid: string, priority: number) =>
          ExecutionBackend.submit(Program.make(undefined, { uid, priority }))
        const fibers = yield* Effect.all([
          submit("low1", -1),
          submit("a", 0),
          submit("high1", 5),
          submit("b", 0),
          submit("low2", -1),
          submit("high2", 5)
        ])
        yield* first.release
        yield* Fiber.joinAll(fibers)
        assert.deepStrictEqual(order.slice(1), ["high1", "high2", "a", "b", "low1", "low2"])
      }).pipe(
        Effect.provide(
          executables(({ uid }) =>
            Effect.suspend(() => {
              order.push(uid)
              return first.run
            })
          )
        )
      )
    })
  )
})

describe("two layers of disjoint kinds serve one program", () => {
  const F = Task.function("F", { success: Schema.String })
  const program = Effect.all([ExecutionBackend.execute(F.make()), ExecutionBackend.execute(Program.make())])
  const handler = F.toLayer(() => Effect.succeed("function"))

  it.effect("merged, in either order", () =>
    Effect.gen(function* () {
      for (const layer of [
        Layer.merge(
          functions(1),
          executables(() => ok)
        ),
        Layer.merge(
          executables(() => ok),
          functions(1)
        )
      ]) {
        assert.deepStrictEqual(yield* program.pipe(Effect.provide([layer, handler])), ["function", "ok"])
      }
    })
  )

  it.effect("nested, in either order", () =>
    Effect.gen(function* () {
      const run = executables(() => ok)
      // one layer around the other is what is tested: each kind must find its own
      const inner = Effect.provide(Effect.provide(program, functions(1)), run)
      const outer = Effect.provide(Effect.provide(program, run), functions(1))
      assert.deepStrictEqual(yield* Effect.provide(inner, handler), ["function", "ok"])
      assert.deepStrictEqual(yield* Effect.provide(outer, handler), ["function", "ok"])
    })
  )

  it.effect("cancel of a fiber finds the backend that runs it", () =>
    Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(Program.make())
      yield* Effect.yieldNow()
      // the plain key is that of the layer merged last, which does not know this task
      assert.isFalse(yield* ExecutionBackend.cancel(fiber.uid))
      assert.isTrue(yield* ExecutionBackend.cancel(fiber))
    }).pipe(
      Effect.provide(
        Layer.merge(
          executables(() => Effect.never),
          functions(1)
        )
      )
    )
  )

  it.effect("a layer that claims a kind it has no key for refuses typed through the plain key", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(functions(1))
      const dynamic = Context.make(
        ExecutionBackend.ExecutionBackend,
        Context.get(context, ExecutionBackend.ExecutionBackend)
      ) as Context.Context<any>
      const error = yield* Effect.flip(ExecutionBackend.execute(Program.make()).pipe(Effect.provide(dynamic)))
      assert.isTrue(error instanceof ConfigurationError && error.reason === "UnsupportedKind")
    }).pipe(Effect.scoped)
  )
})

describe("defaults", () => {
  it.effect("of a layer reach every task that says nothing", () => {
    let attempts = 0
    return Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(Program.make())
      const error = yield* Effect.flip(fiber)
      assert.isTrue(error instanceof TaskError && error.reason === "Exit")
      assert.strictEqual(attempts, 3)
    }).pipe(
      Effect.provide(
        executables(() =>
          Effect.sync(() => {
            attempts++
            return Driver.Outcome.exited({ exitCode: 1 })
          })
        ).pipe(Layer.provide(Defaults.layer({ retryAttempts: 2, retryDelay: Duration.zero })))
      )
    )
  })

  it.effect("definition and instance options: the instance wins, env is merged", () => {
    const seen: Array<Driver.Spec> = []
    const Both = Task.executable("Both", {
      env: { A: "definition", B: "definition", C: "definition" },
      cwd: "/definition",
      priority: 1,
      command: () => ({ executable: "x", cwd: "/command", env: { C: "command", D: "command" } })
    })
    return Effect.gen(function* () {
      yield* ExecutionBackend.execute(Both.make(undefined, { env: { B: "instance", E: undefined }, priority: 2 }))
      const program = seen[0]!.work as Driver.Executable
      assert.deepStrictEqual(program.env, {
        A: "definition",
        B: "instance",
        C: "definition",
        D: "command",
        E: undefined
      })
      assert.strictEqual(program.cwd, "/definition")
      assert.strictEqual(seen[0]!.priority, 2)
    }).pipe(
      Effect.provide(
        executables((spec) => {
          seen.push(spec)
          return ok
        })
      )
    )
  })
})

describe("a closed backend", () => {
  it.effect("refuses submission with BackendError Closed, and a waiting submission gets the same", () =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const layer = executables(
        () => Effect.zipRight(Deferred.succeed(started, undefined), Effect.never),
        {},
        { maxActiveTasks: 1 }
      )
      const [context, waiting] = yield* Effect.scoped(
        Effect.gen(function* () {
          const context = yield* Layer.build(layer)
          yield* Effect.provide(ExecutionBackend.submit(Program.make()), context)
          yield* Deferred.await(started)
          const waiting = yield* Effect.forkDaemon(Effect.provide(ExecutionBackend.submit(Program.make()), context))
          yield* Effect.yieldNow()
          return [context, waiting] as const
        })
      )
      for (const error of [
        yield* Effect.flip(Fiber.join(waiting)),
        yield* Effect.flip(Effect.provide(ExecutionBackend.submit(Program.make()), context)),
        yield* Effect.flip(Effect.provide(ExecutionBackend.execute(Program.make()), context))
      ]) {
        assert.isTrue(error instanceof BackendError && error.reason === "Closed" && error.backendType === "fake")
      }
      assert.deepStrictEqual(yield* Effect.provide(idle, context), { ...nothingLeft, status: "SHUTDOWN" as any })
    })
  )
})

describe("limits of a backend", () => {
  const cases: ReadonlyArray<readonly [key: string, Backend.Options, Partial<Driver.SlotDriver<"executable">>]> = [
    ["name", { name: "" }, {}],
    ["name", { name: "a/b" }, {}],
    ["name", { name: 7 as any }, {}],
    ["maxActiveTasks", { maxActiveTasks: 0 }, {}],
    ["maxActiveTasks", { maxActiveTasks: Number.NaN }, {}],
    ["maxNestedTasks", { maxNestedTasks: 1.5 }, {}],
    ["eventBuffer", { eventBuffer: 0 }, {}],
    ["historySize", { historySize: -1 }, {}],
    ["stopTimeout", { stopTimeout: "forever" as any }, {}],
    ["stopTimeout", { stopTimeout: Duration.infinity }, {}],
    ["concurrency", {}, { concurrency: 0 }],
    ["kinds", {}, { kinds: [] }]
  ]
  it.effect("with a value that cannot be honoured are refused, named, when the layer is built", () =>
    Effect.forEach(cases, ([key, options, driver]) =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(executables(() => ok, driver, options))))
        assert.deepStrictEqual([error.configKey, error.reason], [key, "InvalidOption"])
      })
    )
  )
})
