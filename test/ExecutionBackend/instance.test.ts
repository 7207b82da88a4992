// From an end back to its input: what a fiber and a stream of ends say of the task that was submitted.
import { inspect } from "node:util"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Effect, Either, Exit, Fiber, Schema, Stream } from "effect"
import type { TaskFiber } from "effect-rhapsody"
import { ExecutionBackend, Task } from "effect-rhapsody"
import { functions } from "../support.js"

setFlagsFromString("--expose-gc")
const gc: () => void = runInNewContext("gc")

class Odd extends Schema.TaggedError<Odd>()("Odd", { n: Schema.Int }) {}
/** Odd ones fail, unless they have the time. */
const Halve = Task.function("Halve", {
  payload: {
    n: Schema.Int,
    unit: Schema.String.pipe(
      Schema.propertySignature,
      Schema.withConstructorDefault(() => "m")
    )
  },
  success: Schema.Number,
  error: Odd
})
let strict = true
const HalveLive = Halve.toLayer(({ n }) =>
  strict && n % 2 === 1 ? Effect.fail(new Odd({ n })) : Effect.succeed(n / 2)
)
const backend = Effect.provide([functions(4), HalveLive])

describe("an end leads back to its input", () => {
  it.effect("a fiber has the instance, also when its task has ended, and may be submitted again", () =>
    Effect.gen(function* () {
      strict = true
      const task = Halve.make({ n: 3 }, { uid: "three" })
      const fiber = yield* ExecutionBackend.submit(task)
      yield* Fiber.await(fiber)
      assert.strictEqual(fiber.instance, task)
      assert.strictEqual(fiber.instance.payload.n, 3)
      strict = false
      const taken = yield* Effect.flip(ExecutionBackend.submit(fiber.instance))
      assert.deepInclude(taken, { _tag: "ConfigurationError", reason: "DuplicateUid" })
      const again = yield* ExecutionBackend.submit(Task.again(fiber.instance))
      assert.notStrictEqual(again.uid, "three")
      assert.strictEqual(yield* Fiber.join(again), 1.5)
    }).pipe(backend)
  )

  it.effect("of 20,000 in a stream, those that fail are found and submitted again", () =>
    Effect.gen(function* () {
      strict = true
      const tasks = Stream.map(Stream.range(1, 20_000), (n) => Halve.make({ n }, { uid: `task ${n}` }))
      const failed = yield* ExecutionBackend.submitAll(tasks).pipe(
        Stream.filter(({ exit }) => Exit.isFailure(exit)),
        Stream.runCollect
      )
      assert.strictEqual(failed.length, 10_000)
      strict = false
      const second = yield* Stream.fromChunk(failed).pipe(
        Stream.map(({ instance }) => Task.again(instance, { uid: `${instance.options.uid} again` })),
        ExecutionBackend.submitAll,
        Stream.runCollect
      )
      const ends = Chunk.toReadonlyArray(second)
      assert.isTrue(
        ends.every(({ exit, instance }) => Exit.isSuccess(exit) && exit.value === instance.payload.n / 2),
        "each has its own payload"
      )
      assert.isTrue(ends.every(({ uid }) => uid?.endsWith("again")))
    }).pipe(backend)
  )

  it.effect("also of what was refused, and of those submitted together", () =>
    Effect.gen(function* () {
      strict = false
      const wrong = Halve.make({ n: 1.5 })
      const [end] = yield* Stream.runCollect(ExecutionBackend.submitAll(Stream.make(wrong)))
      assert.isTrue(Exit.isFailure(end!.exit))
      assert.strictEqual(end!.instance, wrong)
      const tasks = [1, 2].map((n) => Halve.make({ n }))
      const many = yield* ExecutionBackend.submitMany(tasks)
      assert.deepStrictEqual(
        many.map((answer) => Either.getOrThrow(answer).instance),
        tasks
      )
      const atomic = yield* ExecutionBackend.submitMany(tasks, { atomic: true })
      assert.deepStrictEqual(
        atomic.map((fiber) => fiber.instance),
        tasks
      )
    }).pipe(backend)
  )

  it("again keeps definition, payload and options, but for the uid, and merges variables", () => {
    const first = Halve.make({ n: 2 }, { uid: "u", priority: 3, env: { A: "1", B: "1" } })
    const again = Task.again(first, { env: { B: "2" }, timeout: "1 hour" })
    assert.isTrue(Task.isInstance(again))
    assert.strictEqual(again.task, Halve)
    assert.strictEqual(again.payload, first.payload)
    assert.deepStrictEqual(again.options, { priority: 3, env: { A: "1", B: "2" }, timeout: "1 hour" })
    assert.notProperty(Task.again(first).options, "uid")
    assert.strictEqual(first.options.uid, "u")
  })

  it.effect("nothing that prints a fiber prints the payload", () =>
    Effect.gen(function* () {
      strict = false
      const fiber = yield* ExecutionBackend.submit(Halve.make({ n: 4242, unit: "hunter2" }))
      yield* Fiber.await(fiber)
      for (const text of [JSON.stringify(fiber), inspect(fiber, { depth: 9 }), String(fiber)]) {
        assert.notInclude(text, "hunter2")
        assert.notInclude(text, "4242")
      }
    }).pipe(backend)
  )

  it.live("the backend forgets the payload when its task has ended: the fiber alone holds it", () =>
    Effect.gen(function* () {
      strict = false
      const held: Array<WeakRef<object>> = []
      const submit = Effect.gen(function* () {
        const task = Halve.make({ n: 2 })
        held.push(new WeakRef(task.payload))
        return yield* ExecutionBackend.submit(task)
      })
      let fiber: TaskFiber.TaskFiber<number, unknown> | undefined = yield* submit
      yield* Fiber.await(fiber)
      const collected = Effect.zipRight(
        Effect.sleep("1 millis"),
        Effect.sync(() => {
          gc()
          return held[0]!.deref() === undefined
        })
      )
      assert.isFalse(yield* collected)
      assert.isDefined(fiber.instance)
      fiber = undefined
      yield* Effect.repeat(collected, { until: (gone) => gone }).pipe(Effect.timeout("20 seconds"))
      assert.isTrue((yield* ExecutionBackend.taskStates).has("task.000001"))
    }).pipe(backend)
  )
})
