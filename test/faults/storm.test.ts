/** I1 and I2 under cancel storms: whenever a task is cancelled, it ends once, and no process of it is left. */
import { assert } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Random } from "effect"
import type { TaskFiber } from "effect-rhapsody"
import { ExecutionBackend } from "effect-rhapsody"
import type { BackendError } from "effect-rhapsody/Errors"
import { idle, nothingLeft } from "../support.js"
import type { Launcher } from "./support.js"
import { bash, both, caught, fault, forest, over, reasonOf, reasons } from "./support.js"

/** What is cancelled: programs that end at once at TERM, that leave their session, that are deaf, that end anyway. */
const scripts = (leaf: string, launcher: Launcher) => [
  `exec ${leaf}`,
  `${leaf} & ${leaf}`,
  // over Node, who leaves the group is left: see tasks.test.ts
  ...(launcher === "agent" ? [`setsid ${leaf} & wait`, `(setsid ${leaf} &); exec ${leaf}`] : []),
  `trap '' TERM; ${leaf}`,
  "exit 3",
  ":"
]

/** When: waits from the moment of submission on. */
const moments = (fiber: TaskFiber.TaskFiber<unknown, unknown>, executing: Effect.Effect<unknown>) => [
  Effect.void,
  Effect.flatMap(Random.nextIntBetween(1, 30), (n) => Effect.yieldNow().pipe(Effect.repeatN(n))),
  Effect.flatMap(Random.nextIntBetween(0, 20), (millis) => Effect.sleep(millis)),
  // the moment of start, as the backend reports it, and a few steps later
  executing,
  Effect.zipRight(
    executing,
    Effect.flatMap(Random.nextIntBetween(0, 4), (millis) => Effect.sleep(millis))
  ),
  Effect.raceFirst(Effect.sleep("1 second"), Fiber.await(fiber))
]

/** In one of the ways: by its name, by its fiber, by two at once. */
const ways = (
  fiber: TaskFiber.TaskFiber<unknown, unknown>
): ReadonlyArray<Effect.Effect<unknown, BackendError, ExecutionBackend.Any>> => [
  ExecutionBackend.cancel(fiber),
  Fiber.interrupt(fiber),
  Effect.all([ExecutionBackend.cancel(fiber.uid), Fiber.interrupt(fiber)], { concurrency: 2 })
]

const any = <A>(choices: ReadonlyArray<A>) => Effect.map(Random.nextIntBetween(0, choices.length), (i) => choices[i]!)

const ends = ["Canceled", "Exit", "done", "interrupted"]

const storm = (launcher: Launcher, tasks: number, seed: number) =>
  Effect.gen(function* () {
    const { alive, env, leaf } = yield* forest
    const counts: Record<string, number> = {}
    const executing = new Map<string, Deferred.Deferred<void>>()
    yield* ExecutionBackend.onStateChange(({ state, uid }) => {
      const waiting = executing.get(uid)
      if (waiting !== undefined && state === "EXECUTING") Deferred.unsafeDone(waiting, Exit.void)
    })
    const one = (uid: string) =>
      Effect.gen(function* () {
        const starts = yield* Deferred.make<void>()
        executing.set(uid, starts)
        const script = yield* any(scripts(leaf("setsid"), launcher))
        const fiber = yield* ExecutionBackend.submit(bash(script, { uid, env }))
        yield* Effect.flatten(any(moments(fiber, Effect.raceFirst(Deferred.await(starts), Fiber.await(fiber)))))
        yield* Effect.flatten(any(ways(fiber)))
        const exit = yield* Fiber.await(fiber)
        const end = Exit.isSuccess(exit) ? "done" : Exit.isInterrupted(exit) ? "interrupted" : String(reasonOf(exit))
        counts[end] = (counts[end] ?? 0) + 1
      })
    yield* Effect.forEach(
      Array.from({ length: tasks }, (_, i) => `storm.${i}`),
      one,
      { concurrency: 100 }
    )
    assert.deepStrictEqual(yield* alive, [])
    const reported = `seed ${seed}: ${JSON.stringify(counts)}`
    // a cancelled task ends as Canceled, a quicker one as itself, and nothing else happens
    assert.sameMembers(Object.keys(counts), ends, reported)
    assert.strictEqual(
      ends.map((end) => counts[end]!).reduce((sum, n) => sum + n),
      tasks,
      reported
    )
    assert.deepStrictEqual(yield* idle, nothingLeft)
  }).pipe(Effect.withRandom(Random.make(seed)), over(launcher, { maxWorkers: 48, forceKillAfter: "100 millis" }))

fault(
  "a storm: 1,000 tasks cancelled at random moments, before, at and after their start",
  both(caught, "each ends once, as cancelled or as itself, and no process is left", (launcher) =>
    Effect.flatMap(Random.next, (seed) => storm(launcher, 1000, Math.floor(seed * 1e9)))
  )
)

fault(
  "a storm that ends with the backend",
  both(
    caught,
    "when its layer has closed no process is left, of the tasks that it had just accepted neither",
    (launcher) =>
      Effect.gen(function* () {
        const { alive, env, leaf } = yield* forest
        for (const millis of [0, 1, 5, 20, 50]) {
          const submit = Effect.flatMap(any(scripts(leaf("setsid"), launcher)), (script) =>
            ExecutionBackend.submit(bash(script, { env }))
          )
          const fibers = yield* Effect.replicateEffect(submit, 100).pipe(
            Effect.zipLeft(Effect.sleep(millis)),
            over(launcher, { maxWorkers: 24, forceKillAfter: "100 millis" })
          )
          assert.deepStrictEqual(yield* alive, [], `closed after ${millis} ms`)
          const reported = new Set(yield* reasons(fibers))
          assert.includeMembers(
            ["Canceled", "Exit", "done"],
            [...reported].map((end) => (typeof end === "string" ? end : "done"))
          )
        }
      })
  )
)
