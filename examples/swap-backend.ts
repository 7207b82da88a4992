// A program does not know its backend: a test provides another layer and starts no process.
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Fiber, Schema } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { TestBackend } from "effect-rhapsody/testing"

const Simulate = Task.executable("Simulate", {
  payload: { seed: Schema.Int },
  success: Schema.NumberFromString,
  command: ({ seed }) => ({ executable: "sh", args: ["-c", `echo $((${seed} * ${seed} - 6 * ${seed}))`] })
})

/** The lowest energy that these seeds lead to; a seed whose simulation fails is left out. */
const lowest = (seeds: ReadonlyArray<number>) =>
  Effect.gen(function* () {
    const fibers = yield* Effect.forEach(seeds, (seed) => ExecutionBackend.submit(Simulate.make({ seed })))
    const energies = yield* Effect.allSuccesses(fibers.map(Fiber.join))
    return Math.min(...energies)
  })

const production = lowest([1, 2, 3, 4]).pipe(Effect.provide(ConcurrentBackend.layer()))

// In a test with TestClock, as in `it.effect` of @effect/vitest, stubs may sleep for hours.
const Fake = TestBackend.layer(TestBackend.stub(Simulate, ({ seed }) => Effect.succeed(-seed)))
const test = Effect.gen(function* () {
  yield* TestBackend.failNext({ uid: "task.000004" }, { exitCode: 137 })
  const energy = yield* lowest([1, 2, 3, 4])
  const ran = yield* TestBackend.submissions
  return `${energy}, of ${ran.map(({ payload }) => JSON.stringify(payload)).join(" ")}`
}).pipe(Effect.provide(Fake))

const program = Effect.gen(function* () {
  yield* Console.log(`production: ${yield* production}`)
  yield* Console.log(`test: ${yield* test}`)
})

program.pipe(NodeRuntime.runMain)
