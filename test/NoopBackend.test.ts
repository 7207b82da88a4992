/** A backend that answers at once and runs nothing. */
// Room for @ts-expect-error.
// @effect-diagnostics missingEffectContext:off
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Either, Fiber, Layer, Schema, TestClock } from "effect"
import type { Driver } from "effect-rhapsody"
import { Backend, ConcurrentBackend, ExecutionBackend, NoopBackend, Task } from "effect-rhapsody"
import { ConfigurationError, TaskError } from "effect-rhapsody/Errors"
import { idle, nothingLeft, Program, statesOf } from "./support.js"

const fields = { at: Schema.Date, n: Schema.NumberFromString }
const later = new Date(1000)
const value = { at: new Date(0), n: 7 }
const Same = Schema.Struct(fields)
const Echo = Task.function("Echo", { payload: fields, success: Same })
const Worker = Task.worker("Worker", {
  payload: fields,
  success: Same,
  module: new URL("file:///nowhere.js"),
  export: "none"
})
const Python = Task.python("Python", { payload: fields, success: Same, callable: "no.module:none" })
const Other = Task.function("Other", { success: Schema.Number })
const Typed = <A>(success: Schema.Schema<A, string> | Schema.Schema<A, Uint8Array>) =>
  Task.executable("Typed", { success, command: () => ({ executable: "/nowhere" }) }).make()
const Missing = Task.executable("Missing", {
  success: Task.Output,
  payload: { n: Schema.NumberFromString },
  command: () => ({ executable: "/nowhere" })
})

const reasonOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => (error instanceof TaskError ? error.reason : error))

describe("without an answer", () => {
  it.effect("an executable exits with 0 and prints nothing; no program is looked for", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ExecutionBackend.execute(Program.make()), "")
      const output = yield* ExecutionBackend.execute(Missing.make({ n: 1 }))
      assert.deepStrictEqual([output.exitCode, output.stdout, output.stderr], [0, "", ""])
    }).pipe(Effect.provide(NoopBackend.layer()))
  )

  it.effect("a function, a worker and a Python task get their payload back, and no handler is asked", () =>
    Effect.gen(function* () {
      for (const task of [Echo.make(value), Worker.make(value), Python.make(value)]) {
        assert.deepStrictEqual(yield* ExecutionBackend.execute(task), value)
      }
      const handler = Echo.toLayer(() => Effect.die("was asked"))
      assert.deepStrictEqual(yield* Effect.provide(ExecutionBackend.execute(Echo.make(value)), handler), value)
    }).pipe(Effect.provide(NoopBackend.layer()))
  )

  it.effect("what the success schema refuses is InvalidResult", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* reasonOf(ExecutionBackend.execute(Other.make())), "InvalidResult")
      const number = Typed(Schema.parseJson(Schema.Number))
      assert.strictEqual(yield* reasonOf(ExecutionBackend.execute(number)), "InvalidResult")
    }).pipe(Effect.provide(NoopBackend.layer()))
  )
})

describe("an answer", () => {
  const answering = (answer: NoopBackend.Options["answer"]) => NoopBackend.layer({ answer: answer! })

  it.effect("sees the attempt, and is decoded", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const layer = answering(({ attempt, name, payload, uid }) => {
        seen.push([uid, name, attempt, payload])
        return name === "Other" ? 3 : name === "Echo" ? { at: "1970-01-01T00:00:01.000Z", n: "8" } : "out"
      })
      const results = yield* Effect.all([
        ExecutionBackend.execute(Other.make(undefined, { uid: "other" })),
        ExecutionBackend.execute(Echo.make(value, { uid: "echo" })),
        ExecutionBackend.execute(Missing.make({ n: 1 }, { uid: "missing" })).pipe(Effect.map(({ stdout }) => stdout))
      ]).pipe(Effect.provide(layer))
      assert.deepStrictEqual(results, [3, { at: later, n: 8 }, "out"])
      assert.deepStrictEqual(seen, [
        ["other", "Other", 1, {}],
        ["echo", "Echo", 1, { at: "1970-01-01T00:00:00.000Z", n: "7" }],
        ["missing", "Missing", 1, { n: "1" }]
      ])
    })
  )

  it.effect("of an executable is text or bytes; of anything, what its schema takes; and may throw", () =>
    Effect.gen(function* () {
      const text = ExecutionBackend.execute(Typed(Schema.NumberFromString))
      const bytes = ExecutionBackend.execute(Typed(Schema.Uint8ArrayFromSelf))
      const raw = Uint8Array.of(0xff, 0x37)
      assert.strictEqual(
        yield* Effect.provide(
          text,
          answering(() => "7")
        ),
        7
      )
      assert.strictEqual(
        yield* Effect.provide(
          text,
          answering(() => Uint8Array.of(0x37))
        ),
        7
      )
      assert.deepStrictEqual(
        yield* Effect.provide(
          bytes,
          answering(() => raw)
        ),
        raw
      )
      for (const wrong of [7, undefined, { stdout: "7" }, "seven"]) {
        assert.strictEqual(
          yield* reasonOf(
            Effect.provide(
              text,
              answering(() => wrong)
            )
          ),
          "InvalidResult"
        )
      }
      const throws = answering(() => {
        throw new Error("boom")
      })
      assert.strictEqual(yield* reasonOf(Effect.provide(text, throws)), "Defect")
    })
  )
})

describe("is a backend like others", () => {
  it.scoped("in its states", () =>
    Effect.gen(function* () {
      const follow = yield* statesOf
      const fiber = yield* ExecutionBackend.submit(Program.make())
      const states = (yield* follow(fiber.uid)).map(({ state }) => state)
      assert.deepStrictEqual(states, ["NEW", "READY", "EXECUTING", "COMPLETED"])
    }).pipe(Effect.provide(NoopBackend.layer()))
  )

  it.effect("in what it refuses, leaving nothing behind", () =>
    Effect.gen(function* () {
      const refused = (task: Task.Instance<any, any, ExecutionBackend.ExecutionBackend<"executable">>) =>
        Effect.map(Effect.flip(ExecutionBackend.submit(task)), ({ reason }) => reason)
      yield* ExecutionBackend.execute(Program.make(undefined, { uid: "one" }))
      assert.strictEqual(yield* refused(Program.make(undefined, { uid: "one" })), "DuplicateUid")
      assert.strictEqual(yield* refused(Missing.make({ n: "1" as any })), "InvalidPayload")
      assert.strictEqual(yield* refused(Program.make(undefined, { retry: { times: -1 } })), "InvalidOption")
      const settings = ConcurrentBackend.settings({})
      assert.strictEqual(yield* refused(Program.make(undefined, { settings })), "WrongSettings")
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(NoopBackend.layer()))
  )

  it.effect("in that a handler of another definition of the name is refused", () =>
    Effect.gen(function* () {
      const namesake = Task.function("Other").toLayer(() => Effect.void)
      const error = yield* Effect.flip(Effect.provide(ExecutionBackend.submit(Other.make()), namesake))
      assert.strictEqual(error.reason, "WrongHandler")
    }).pipe(Effect.provide(NoopBackend.layer()))
  )

  it.effect("with any number of tasks at once", () =>
    Effect.gen(function* () {
      const fibers = yield* Effect.forEach(
        Array.from({ length: 1_000 }, (_, n) => n),
        (n) => ExecutionBackend.submit(Echo.make({ at: value.at, n }))
      )
      const results = yield* Fiber.joinAll(fibers)
      assert.isTrue(results.every(({ n }, i) => n === i))
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(NoopBackend.layer()))
  )
})

describe("the layer", () => {
  it.effect("takes the settings of the backend that it stands for", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const answer = ({ settings }: Driver.Spec) => {
        seen.push(settings)
        return ""
      }
      const layer = NoopBackend.layer({ answer, settings: NoopSettings })
      yield* ExecutionBackend.execute(Program.make(undefined, { settings: NoopSettings({ n: "7" }) })).pipe(
        Effect.provide(layer)
      )
      assert.deepStrictEqual(seen, [{ n: 7 }])
    })
  )

  it.effect("reads options from Config", () =>
    Effect.gen(function* () {
      const built = (admission: string) =>
        Effect.either(
          Effect.scoped(Layer.build(NoopBackend.layerConfig({ maxActiveTasks: Config.integer("ADMISSION") })))
        ).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["ADMISSION", admission]]))))
      assert.isTrue(Either.isRight(yield* built("7")))
      const wrong = yield* built("0")
      assert(Either.isLeft(wrong) && wrong.left instanceof ConfigurationError)
      assert.strictEqual(wrong.left.configKey, "maxActiveTasks")
    })
  )

  it.effect("leaves function tasks to a layer merged after it", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ExecutionBackend.execute(Other.make()), 3)
      assert.strictEqual(yield* ExecutionBackend.execute(Program.make()), "")
    }).pipe(
      Effect.provide([
        Layer.merge(NoopBackend.layer(), ConcurrentBackend.layer({ kinds: ["function"] })),
        Other.toLayer(() => Effect.succeed(3))
      ])
    )
  )

  it.effect("has a driver to build on", () =>
    Effect.gen(function* () {
      const inner = NoopBackend.driver()
      const slow = Backend.layer({
        ...inner,
        run: (spec, hooks) => Effect.delay(inner.run(spec, hooks), "1 second")
      })
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Program.make())
        yield* TestClock.adjust("999 millis")
        assert.isNull(fiber.unsafePoll())
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* Fiber.join(fiber), "")
      }).pipe(Effect.provide(slow))
    })
  )

  it("claims neither services nor less than every handler", () => {
    const Service = Task.service("Service", { command: () => ({ executable: "serve" }), ready: /ready/ })
    const closed: Effect.Effect<unknown, unknown> = Effect.provide(
      ExecutionBackend.execute(Other.make()),
      NoopBackend.layer()
    )
    const started = Effect.scoped(Effect.provide(ExecutionBackend.start(Service.make()), NoopBackend.layer()))
    // @ts-expect-error no service is run
    const open: Effect.Effect<unknown, unknown> = started
    assert.isTrue(Effect.isEffect(closed) && Effect.isEffect(open))
  })
})

const NoopSettings = Task.settings("slurm", Schema.Struct({ n: Schema.NumberFromString }))
