import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Schema, TestClock } from "effect"
import { ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import { BackendError } from "effect-rhapsody/Errors"
import { activity, functions, idle, nothingLeft, turns } from "../support.js"

/** Each level submits the next to the same backend and waits for it in the given way. */
const Level = Task.function("Level", {
  payload: { depth: Schema.Int, how: Schema.Literal("execute", "join", "timeout", "all") },
  success: Schema.Int
})
const LevelLive = Level.toLayer(({ depth, how }) =>
  Effect.gen(function* () {
    if (depth === 0) return 0
    const next = Level.make({ depth: depth - 1, how })
    switch (how) {
      case "execute":
        return (yield* ExecutionBackend.execute(next)) + 1
      case "join":
        return (yield* Effect.flatMap(ExecutionBackend.submit(next), Fiber.join)) + 1
      case "timeout":
        return (yield* Effect.timeout(ExecutionBackend.execute(next), "1 hour")) + 1
      case "all": {
        const both = Effect.all([ExecutionBackend.execute(next), ExecutionBackend.execute(next)], { concurrency: 2 })
        return Math.max(...(yield* both)) + 1
      }
    }
  }).pipe(Effect.orDie)
)

/** A parent's handler over that of its child, both over the backend. */
const over = <P, PR, C, CR, B, E>(
  parent: Layer.Layer<P, never, PR>,
  child: Layer.Layer<C, never, CR>,
  backend: Layer.Layer<B, E>
) => Layer.provideMerge(parent, Layer.provideMerge(child, backend))

describe("a task that waits for tasks of its own", () => {
  for (const how of ["execute", "join", "timeout", "all"] as const) {
    it.effect(`completes with one slot, four levels deep, through ${how}`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* ExecutionBackend.execute(Level.make({ depth: 4, how })), 4)
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(Layer.provideMerge(LevelLive, functions(1))))
    )
  }

  it.effect("1,000 at the top with one slot: each ends before the next starts, so that few are open at a time", () => {
    let open = 0
    let most = 0
    const Child = Task.function("Child", {})
    const Parent = Task.function("Parent", {})
    const parent = Parent.toLayer(() =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          most = Math.max(most, ++open)
        }),
        () => Effect.orDie(ExecutionBackend.execute(Child.make())),
        () => Effect.sync(() => open--)
      )
    )
    const child = Child.toLayer(() => Effect.yieldNow())
    return Effect.gen(function* () {
      const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(Parent.make()), 1_000)
      yield* Fiber.joinAll(fibers)
      assert.isAtMost(most, 2)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(over(parent, child, functions(1, { maxNestedTasks: 10 }))))
  })

  it.effect("does not count against the slots until they end, and counts again after", () => {
    const Child = Task.function("Child", { payload: { n: Schema.Int } })
    const Parent = Task.function("Parent", {})
    return Effect.gen(function* () {
      const gates = yield* Effect.replicateEffect(Deferred.make<void>(), 2)
      const after = yield* Deferred.make<void>()
      const child = Child.toLayer(({ n }) => Deferred.await(gates[n]!))
      const parent = Parent.toLayer(() =>
        Effect.zipRight(Effect.orDie(ExecutionBackend.execute(Child.make({ n: 0 }))), Deferred.await(after))
      )
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Parent.make())
        const other = yield* ExecutionBackend.submit(Child.make({ n: 1 }))
        yield* turns
        // the child has the slot, the other waits
        assert.deepStrictEqual(yield* activity, { status: "RUNNING", waiting: 0, queued: 1, active: 2 })
        yield* Deferred.succeed(gates[0]!, undefined)
        yield* turns
        // the parent runs again: the other still waits, although the child is gone
        assert.strictEqual(yield* TaskFiber.state(other), "READY")
        assert.strictEqual(yield* TaskFiber.state(fiber), "EXECUTING")
        yield* Deferred.succeed(after, undefined)
        yield* Deferred.succeed(gates[1]!, undefined)
        yield* Fiber.joinAll([fiber, other])
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(over(parent, child, functions(1))))
    })
  })

  it.effect("does not wait to be admitted, and is refused beyond the limit of its own", () => {
    const Child = Task.function("Child", {})
    const Parent = Task.function("Parent", { success: Schema.Int })
    const parent = Parent.toLayer(() =>
      Effect.gen(function* () {
        const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(Child.make()), 3)
        const refused = yield* Effect.flip(ExecutionBackend.submit(Child.make()))
        assert.isTrue(refused instanceof BackendError && refused.reason === "Rejected")
        yield* Fiber.interruptAll(fibers)
        yield* Effect.orDie(ExecutionBackend.submit(Child.make()))
        return fibers.length
      }).pipe(Effect.orDie)
    )
    return Effect.gen(function* () {
      assert.strictEqual(yield* ExecutionBackend.execute(Parent.make()), 3)
      yield* ExecutionBackend.cancelAll
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(
      Effect.provide(
        over(
          parent,
          Child.toLayer(() => Effect.never),
          functions(4, { maxActiveTasks: 1, maxNestedTasks: 3 })
        )
      )
    )
  })

  it.effect("cancelled, cancels what it executes; what it submitted goes on in the backend", () => {
    const Child = Task.function("Child", {})
    const Parent = Task.function("Parent", {})
    return Effect.gen(function* () {
      const submitted = yield* Deferred.make<TaskFiber.TaskFiber<void, unknown>>()
      const parent = Parent.toLayer(() =>
        Effect.gen(function* () {
          yield* Deferred.succeed(
            submitted,
            yield* ExecutionBackend.submit(Child.make(undefined, { uid: "submitted" }))
          )
          yield* ExecutionBackend.execute(Child.make(undefined, { uid: "executed" }))
        }).pipe(Effect.orDie)
      )
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Parent.make())
        yield* Deferred.await(submitted)
        while (Option.isNone(yield* ExecutionBackend.taskState("executed"))) yield* Effect.yieldNow()
        assert.isTrue(yield* ExecutionBackend.cancel(fiber))
        assert.strictEqual(Option.getOrNull(yield* ExecutionBackend.taskState("executed")), "CANCELED")
        const left = yield* Deferred.await(submitted)
        assert.isTrue(Option.isNone(yield* Fiber.poll(left)))
        assert.isTrue(yield* ExecutionBackend.cancel(left))
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(
        Effect.provide(
          over(
            parent,
            Child.toLayer(() => Effect.never),
            functions(1)
          )
        )
      )
    })
  })

  it.effect("that times out does not leave its child's slot taken", () =>
    Effect.gen(function* () {
      const Child = Task.function("Child", {})
      const Parent = Task.function("Parent", {})
      const parent = Parent.toLayer(() => Effect.orDie(ExecutionBackend.execute(Child.make())))
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Parent.make(undefined, { timeout: "1 second" }))
        yield* TestClock.adjust("1 second")
        assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(
        Effect.provide(
          over(
            parent,
            Child.toLayer(() => Effect.never),
            functions(1)
          )
        )
      )
    })
  )
})
