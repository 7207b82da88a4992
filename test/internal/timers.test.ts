import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, FastCheck as fc, TestClock } from "effect"
import * as Timers from "../../src/internal/engine/timers.js"

describe("timers", () => {
  it.scoped("come in the order of time, each once; what is cancelled leaves at once", () =>
    Effect.gen(function* () {
      for (const plan of fc.sample(
        fc.array(fc.record({ at: fc.integer({ min: 0, max: 50 }), cancel: fc.boolean() }), { maxLength: 40 }),
        30
      )) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const timers = yield* Timers.make
            const seen: Array<number> = []
            const added = plan.map(({ at }) => timers.add(at, () => seen.push(at)))
            plan.forEach(({ cancel }, i) => {
              if (cancel) timers.cancel(added[i]!)
              if (cancel) timers.cancel(added[i]!)
            })
            const kept = plan.filter(({ cancel }) => !cancel).map(({ at }) => at)
            assert.strictEqual(timers.size(), kept.length)
            yield* TestClock.adjust(25)
            assert.deepStrictEqual(
              seen,
              kept.filter((at) => at <= 25).sort((a, b) => a - b)
            )
            yield* TestClock.adjust(25)
            assert.deepStrictEqual(
              seen,
              kept.sort((a, b) => a - b)
            )
            assert.strictEqual(timers.size(), 0)
          })
        )
      }
    })
  )

  it.scoped("a nearer one added later comes first, and one so far that no timer reaches it comes too", () =>
    Effect.gen(function* () {
      const timers = yield* Timers.make
      const seen: Array<string> = []
      timers.add(90 * 24 * 3_600_000, () => seen.push("far"))
      yield* Effect.yieldNow().pipe(Effect.repeatN(10))
      timers.add(1_000, () => seen.push("near"))
      yield* Effect.yieldNow().pipe(Effect.repeatN(10))
      timers.add(500, () => seen.push("nearer"))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(seen, ["nearer", "near"])
      yield* TestClock.adjust("90 days")
      assert.deepStrictEqual(seen, ["nearer", "near", "far"])
    })
  )

  it.scoped("an interrupted sleep leaves nothing behind", () =>
    Effect.gen(function* () {
      const timers = yield* Timers.make
      const sleeper = yield* Effect.fork(timers.sleep(1_000))
      yield* Effect.yieldNow()
      assert.strictEqual(timers.size(), 1)
      yield* Fiber.interrupt(sleeper)
      assert.strictEqual(timers.size(), 0)
    })
  )
})
