/** A backend has a name, which distinguishes two of a type. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Metric, Schema, Stream, Tracer } from "effect"
import { Backend, ExecutionBackend, Task } from "effect-rhapsody"
import * as Errors from "effect-rhapsody/Errors"
import { executables, functions, isChange, ok, Program } from "../support.js"

const failure = () =>
  new Errors.BackendError({ backendType: "fake", reason: "Unavailable", details: { message: "no node" } })

/** Each way in which an error of a backend reaches a program. */
const ways: Record<string, (options: Backend.Options) => Effect.Effect<unknown, unknown>> = {
  "an attempt that its driver failed": (options) =>
    Effect.provide(
      ExecutionBackend.execute(Program.make()),
      executables(() => Effect.fail(failure()), {}, options)
    ),
  "a submission that its driver refused": (options) =>
    Effect.provide(
      ExecutionBackend.submit(Program.make()),
      executables(() => ok, { check: () => Effect.fail(failure()) }, options)
    ),
  "the loss of its engine": (options) =>
    Effect.gen(function* () {
      const lost = yield* Deferred.make<Errors.BackendError>()
      return yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Program.make())
        yield* Deferred.succeed(lost, failure())
        return yield* Fiber.join(fiber)
      }).pipe(Effect.provide(executables(() => Effect.never, { lost: Deferred.await(lost) }, options)))
    }),
  "a cancel that is not supported": (options) =>
    Effect.gen(function* () {
      const started = yield* Deferred.make<void>()
      const run = Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)
      return yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Program.make())
        yield* Deferred.await(started)
        return yield* ExecutionBackend.cancel(fiber.uid)
      }).pipe(
        Effect.provide(executables(() => run, { cancelable: false, stopTimeout: 0 }, { ...options, stopTimeout: 0 }))
      )
    }),
  "a wait that took too long": (options) =>
    Effect.gen(function* () {
      yield* ExecutionBackend.submit(Program.make())
      return yield* ExecutionBackend.awaitAll({ timeout: 0 })
    }).pipe(Effect.provide(executables(() => Effect.never, {}, options))),
  "a driver that could not be made": (options) =>
    Effect.provide(
      ExecutionBackend.state,
      Backend.layer<"executable", Errors.BackendError>(Effect.fail(failure()), options)
    )
}

describe("the name of a backend", () => {
  for (const [what, way] of Object.entries(ways)) {
    it.live(`is in its errors, of ${what}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(way({ name: "gpu" }))
        assert.isTrue(Errors.isBackendError(error))
        const { backendName, backendType, message } = error as Errors.BackendError
        assert.deepStrictEqual([backendType, backendName], ["fake", "gpu"])
        assert.include(message, "backend gpu (fake) ")
        const wire = yield* Schema.encode(Errors.BackendError)(error as Errors.BackendError)
        assert.strictEqual(wire.backendName, "gpu")
        const plain = (yield* Effect.flip(way({}))) as Errors.BackendError
        assert.deepStrictEqual([plain.backendType, plain.backendName], ["fake", undefined])
        assert.include(plain.message, "backend fake ")
      })
    )
  }

  it.effect("is its own where the error of another backend passes through it", () =>
    Effect.gen(function* () {
      const other = new Errors.BackendError({ backendType: "other", reason: "Closed", details: {} })
      const inner = new Errors.BackendError({
        backendType: "fake",
        backendName: "inner",
        reason: "Closed",
        details: {}
      })
      for (const error of [other, inner]) {
        const run = ExecutionBackend.execute(Program.make())
        const layer = executables(() => Effect.fail(error), {}, { name: "gpu" })
        assert.strictEqual(yield* Effect.flip(Effect.provide(run, layer)), error)
      }
    })
  )

  it.effect("is in events, the state, the service and automatic uids; without one it is the type", () =>
    Effect.forEach(
      [
        ["gpu", "gpu.000001"],
        [undefined, "task.000001"]
      ] as const,
      ([name, uid]) =>
        Effect.gen(function* () {
          const events = yield* ExecutionBackend.events
          const fiber = yield* ExecutionBackend.submit(Program.make())
          yield* Fiber.join(fiber)
          assert.strictEqual(fiber.uid, uid)
          const changes = yield* events.pipe(Stream.filter(isChange), Stream.take(4), Stream.runCollect)
          assert.deepStrictEqual(
            [...changes].map(({ backend }) => backend),
            Array(4).fill(name ?? "fake")
          )
          const { name: inState, type } = yield* ExecutionBackend.state
          const service = yield* ExecutionBackend.ExecutionBackend
          assert.deepStrictEqual([type, inState, service.name], ["fake", name ?? "fake", name ?? "fake"])
        }).pipe(Effect.scoped, Effect.provide(executables(() => ok, {}, { name })))
    )
  )

  it.effect("is in metrics and spans", () =>
    Effect.gen(function* () {
      const spans: Array<Tracer.Span> = []
      const F = Task.function("F")
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        context: (f) => f(),
        span: (...args) => {
          const span = native.span(...args)
          spans.push(span)
          return span
        }
      })
      yield* ExecutionBackend.execute(F.make()).pipe(
        Effect.provide([functions(1, { name: "left" }), F.toLayer(() => Effect.void)]),
        Effect.withTracer(tracer)
      )
      const task = spans.find(({ name }) => name === "task F")!
      assert.strictEqual(task.attributes.get("task.backend"), "left")
      const tagged = (yield* Metric.snapshot).filter(({ metricKey }) =>
        metricKey.tags.some(({ key, value }) => key === "backend" && value === "left")
      )
      const names = tagged.map(({ metricKey }) => metricKey.name)
      for (const name of ["tasks", "queued", "active", "wait_seconds", "run_seconds"]) {
        assert.include(names, `effect_rhapsody_${name}`)
      }
    })
  )
})
