import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Schedule, Schema, Stream } from "effect"
import { ExecutionBackend, NoopBackend, Task } from "effect-rhapsody"
import { functions, idle, nothingLeft } from "../support.js"

const Plain = Task.function("Plain", {})
const make = () => Plain.make()

/** Timers and immediates, each of which sets the next one when it fires. */
const watched = () => {
  const fired = { timers: 0, immediates: 0, open: true }
  const timer = () => {
    fired.timers++
    if (fired.open) setTimeout(timer, 0)
  }
  const immediate = () => {
    fired.immediates++
    if (fired.open) setImmediate(immediate)
  }
  timer()
  immediate()
  return fired
}
const eventLoop = Effect.acquireRelease(Effect.sync(watched), (fired) =>
  Effect.sync(() => {
    fired.open = false
  })
)

/** More than enough: a loop that never lets the event loop turn ends here. */
const most = 50_000

const backend = Layer.provideMerge(
  Plain.toLayer(() => Effect.void),
  functions(1)
)

const loops: Record<
  string,
  Effect.Effect<unknown, unknown, ExecutionBackend.ExecutionBackend<"function"> | Task.Handler<"Plain">>
> = {
  "that are executed one after the other": ExecutionBackend.execute(make()),
  "that are submitted and joined": Effect.flatMap(ExecutionBackend.submit(make()), Fiber.join),
  "that are submitted many at a time": Effect.flatMap(
    ExecutionBackend.submitMany(Array.from({ length: 100 }, make)),
    (fibers) => Effect.flatMap(Effect.all(fibers), Fiber.joinAll)
  ),
  "that are submitted all or none": Effect.flatMap(
    ExecutionBackend.submitMany(Array.from({ length: 100 }, make), { atomic: true }),
    Fiber.joinAll
  ),
  "of a stream": Stream.runDrain(ExecutionBackend.submitAll(Stream.repeatValue(make()).pipe(Stream.take(100)))),
  "at the same time": Effect.forEach(Array.from({ length: 100 }, make), ExecutionBackend.execute, {
    concurrency: "unbounded"
  })
}

describe("timers and immediates fire during tasks without end", () => {
  for (const [name, layer] of Object.entries({ "one slot": backend, "no limit": NoopBackend.layer() })) {
    for (const [how, some] of Object.entries(loops)) {
      it.scopedLive(`${how}, with ${name}`, () =>
        Effect.gen(function* () {
          const fired = yield* eventLoop
          let done = 0
          yield* Effect.repeat(
            Effect.tap(some, () => done++),
            { while: () => Math.min(fired.timers, fired.immediates) < 4 && done < most }
          )
          assert.isAtLeast(Math.min(fired.timers, fired.immediates), 4)
          assert.deepStrictEqual(yield* idle, nothingLeft)
        }).pipe(Effect.provide(layer))
      )
    }
  }

  const Failing = Task.function("Failing", { error: Schema.String })
  for (const delay of ["0 seconds", "1 nanos"] as const) {
    it.scopedLive(`and during retries with a delay of ${delay}, at each of them`, () =>
      Effect.gen(function* () {
        const fired = yield* eventLoop
        let attempts = 0
        const failing = Failing.toLayer(() =>
          Effect.suspend(() => (++attempts < 200 ? Effect.fail("no") : Effect.void))
        )
        const schedule = Schedule.spaced(Duration.decode(delay))
        yield* Effect.provide(
          ExecutionBackend.execute(Failing.make(undefined, { retry: { times: 1_000, schedule } })),
          Layer.provideMerge(failing, functions(1))
        )
        assert.strictEqual(attempts, 200)
        assert.isAtLeast(fired.immediates, 200)
        assert.isAtLeast(fired.timers, 2)
      })
    )
  }

  it.scopedLive("also when a handler computes for long, again and again", () =>
    Effect.gen(function* () {
      const fired = yield* eventLoop
      const Busy = Task.function("Busy", {})
      const busy = Busy.toLayer(() =>
        Effect.sync(() => {
          const until = performance.now() + 11
          while (performance.now() < until);
        })
      )
      yield* Effect.gen(function* () {
        const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(Busy.make()), 40)
        yield* Fiber.joinAll(fibers)
        // every few of them
        assert.isAtLeast(fired.immediates, 4)
      }).pipe(Effect.provide(Layer.provideMerge(busy, functions(1))))
    })
  )

  it.live("and those that wait for a turn can be interrupted and cancelled", () =>
    Effect.gen(function* () {
      // of so many, some are always queued for the one slot
      const endless = Effect.forever(ExecutionBackend.execute(make()))
      const fiber = yield* Effect.fork(Effect.all(Effect.replicate(endless, 100), { concurrency: "unbounded" }))
      const some = Effect.zipRight(Effect.sleep(1), ExecutionBackend.cancelAll)
      yield* Effect.repeat(some, { until: (cancelled) => cancelled > 0 })
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
      const forked = yield* Effect.forEach(Array.from({ length: 2_000 }, make), (task) =>
        Effect.fork(ExecutionBackend.execute(task))
      )
      yield* Fiber.interruptAll(forked)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(backend))
  )
})
