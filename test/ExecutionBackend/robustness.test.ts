import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, ExecutionStrategy, Exit, Fiber, Layer, Schema, Scope, TestClock } from "effect"
import { Backend, Driver, ExecutionBackend, Task } from "effect-rhapsody"
import { BackendError, ConfigurationError, TaskError } from "effect-rhapsody/Errors"
import { vi } from "vitest"
import { activity, executables, functions, idle, nothingLeft, ok, Program, turns } from "../support.js"

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

const Odd = Task.function("Odd", { payload: { how: Schema.String } })
const reasonOf = (error: unknown) => (error instanceof TaskError ? error.reason : error)

describe("a defect", () => {
  it.effect("that cannot be printed is a defect all the same", () =>
    Effect.gen(function* () {
      const unprintable: Record<string, () => unknown> = {
        bare: () => Object.create(null),
        toString: () => ({
          toString: () => {
            throw new Error("no")
          }
        }),
        message: () =>
          Object.defineProperty(new Error("x"), "message", {
            get: () => {
              throw new Error("no")
            }
          })
      }
      const handler = Odd.toLayer(({ how }) => Effect.die(unprintable[how]!()))
      yield* Effect.forEach(Object.keys(unprintable), (how) =>
        Effect.map(Effect.flip(ExecutionBackend.execute(Odd.make({ how }))), (error) =>
          assert.strictEqual(reasonOf(error), "Defect")
        )
      ).pipe(
        Effect.zipRight(Effect.map(idle, (left) => assert.deepStrictEqual(left, nothingLeft))),
        Effect.provide(Layer.merge(functions(1), handler))
      )
    })
  )

  it.effect("or a failure that interrupted what ran beside it is reported, not the interruption", () =>
    Effect.gen(function* () {
      const beside = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.all([effect, Effect.never], { concurrency: 2, discard: true })
      const handler = Odd.toLayer(() => beside(Effect.die(new Error("real"))))
      const defect = yield* Effect.flip(ExecutionBackend.execute(Odd.make({ how: "" }))).pipe(
        Effect.provide(Layer.merge(functions(1), handler))
      )
      assert.include(String(defect), "real")
      const lost = new BackendError({ backendType: "fake", reason: "Lost" })
      const failure = yield* Effect.flip(
        ExecutionBackend.execute(Program.make(undefined, { retry: { times: 3 } }))
      ).pipe(Effect.provide(executables(() => Effect.zipRight(beside(Effect.fail(lost)), ok))))
      assert.strictEqual(failure, lost)
    })
  )

  it.effect("of a user's code at submission is a refusal", () =>
    Effect.gen(function* () {
      const throws = (): never => {
        throw new Error("boom")
      }
      const Encoding = Task.executable("Encoding", {
        payload: { n: Schema.transform(Schema.Number, Schema.Number, { decode: (n) => n, encode: throws }) },
        command: () => ({ executable: "x" })
      })
      const instances: ReadonlyArray<Task.Instance<any, any, any>> = [
        Encoding.make({ n: 1 }),
        Encoding.make(Object.defineProperty({}, "n", { enumerable: true, get: throws }) as any),
        Task.executable("Nothing", { command: () => undefined as any }).make(),
        Task.executable("Args", { command: () => ({ executable: "x", args: "a b" as any }) }).make(),
        Program.make(undefined, { resources: null as any })
      ]
      for (const instance of instances) {
        const error = yield* Effect.flip(ExecutionBackend.submit(instance))
        assert.isTrue(error instanceof ConfigurationError, String(error))
      }
      assert.deepStrictEqual(yield* idle, { ...nothingLeft, status: "INITIALIZED" as any })
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.effect("of a retry policy, interruption too, leaves the task its own error", () =>
    Effect.gen(function* () {
      const failing = Effect.succeed(Driver.Outcome.exited({ exitCode: 1 }))
      for (const policy of [() => Effect.interrupt, () => Effect.die("no")]) {
        const error = yield* Effect.flip(
          ExecutionBackend.execute(Program.make(undefined, { retry: { times: 3, while: policy } }))
        ).pipe(Effect.provide(executables(() => failing)))
        assert.strictEqual(reasonOf(error), "Exit")
      }
    })
  )
})

describe("generations", () => {
  const Chain = Task.function("Chain", { payload: { n: Schema.Int } })

  it.live("a task that submits its successor leaves nothing of itself", () =>
    Effect.gen(function* () {
      const last = yield* Deferred.make<void>()
      const chain = Chain.toLayer(({ n }) =>
        n === 0
          ? Deferred.succeed(last, undefined)
          : Effect.orDie(Effect.asVoid(ExecutionBackend.submit(Chain.make({ n: n - 1 }))))
      )
      collect()
      const before = process.memoryUsage().heapUsed
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.submit(Chain.make({ n: 5_000 }))
        yield* Deferred.await(last)
        collect()
        // before this was mended, 5,000 generations held some 500 MB
        assert.isBelow(process.memoryUsage().heapUsed - before, 50e6)
      }).pipe(Effect.provide(Layer.provideMerge(chain, functions(1, { historySize: 10 }))))
    })
  )

  it.live("1,000 levels of tasks that wait for each other end, with one slot", () =>
    Effect.gen(function* () {
      const chain = Chain.toLayer(({ n }) =>
        n === 0 ? Effect.void : Effect.orDie(ExecutionBackend.execute(Chain.make({ n: n - 1 })))
      )
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.execute(Chain.make({ n: 1_000 }))
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(Layer.provideMerge(chain, functions(1))))
    })
  )

  it.effect("joining a nested task from outside makes no task its sibling", () => {
    const Parent = Task.function("Parent", {})
    return Effect.gen(function* () {
      const published = yield* Deferred.make<Fiber.Fiber<void, unknown>>()
      const parent = Parent.toLayer(() =>
        Effect.orDie(
          Effect.flatMap(ExecutionBackend.submit(Chain.make({ n: 0 })), (fiber) =>
            Effect.zipRight(Deferred.succeed(published, fiber), Effect.never)
          )
        )
      )
      yield* Effect.gen(function* () {
        yield* ExecutionBackend.submit(Parent.make())
        yield* Effect.flatMap(Deferred.await(published), Fiber.join)
        yield* ExecutionBackend.submit(Chain.make({ n: 0 }))
        yield* turns
        // a sibling would have been given a slot beside the parent
        assert.deepStrictEqual(yield* activity, { status: "RUNNING", waiting: 0, queued: 1, active: 1 })
      }).pipe(
        Effect.provide(
          Layer.provideMerge(
            parent,
            Layer.provideMerge(
              Chain.toLayer(() => Effect.void),
              functions(1)
            )
          )
        )
      )
    })
  })
})

describe("time and order", () => {
  it.live("a jump of the time of day delays no timeout", () =>
    Effect.gen(function* () {
      const real = Date.now
      const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { timeout: "50 millis" }))
      yield* Effect.yieldNow()
      yield* Effect.acquireUseRelease(
        Effect.sync(() => vi.spyOn(Date, "now").mockImplementation(() => real() - 3_600_000)),
        () => Effect.map(Effect.flip(fiber), (error) => assert.strictEqual(reasonOf(error), "Timeout")),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
    }).pipe(Effect.provide(executables(() => Effect.never)))
  )

  it.effect("make in a scope that closes in parallel closes as a layer does", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make(ExecutionStrategy.parallel)
      const driver: Driver.SlotDriver<"executable"> = {
        type: "fake",
        kinds: ["executable"],
        concurrency: 1,
        run: () => Effect.uninterruptible(Effect.never)
      }
      const backend = yield* Scope.extend(Backend.make(driver, { stopTimeout: "1 second" }), scope)
      const fiber = yield* Effect.provideService(backend.submit(Program.make()), Backend.forKind("executable"), backend)
      yield* Effect.yieldNow()
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.strictEqual(reasonOf(yield* Effect.flip(fiber)), "Canceled")
    })
  )
})
