// What breaks under the Dask backend: each is reported to every waiting fiber, typed, and leaves no process behind.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Option, Schema } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { BackendError } from "effect-rhapsody/Errors"
import { cluster } from "../engines/dask.js"
import {
  allGone,
  base,
  below,
  bridges,
  call,
  content,
  failure,
  file,
  lives,
  missing,
  python,
  Sleep,
  sleepers,
  until,
  untilRuns
} from "./support.js"

const { execute, submit } = ExecutionBackend

const one = (options: DaskBackend.Options = {}) =>
  DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 4, forceKillAfter: "200 millis", ...options })

const errorOf = <A, E>(exit: Exit.Exit<A, E>): E | undefined =>
  Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined

const Appends = Task.executable("Appends", {
  payload: { trace: Schema.String },
  command: ({ trace }) => ({ executable: "sh", args: ["-c", 'echo >> "$0"', trace] })
})

/** A function, a program and one that waits for a place, all of which end with the loss of their engine. */
const lost = (kill: Effect.Effect<unknown>) =>
  Effect.gen(function* () {
    const trace = yield* file
    const fibers = [yield* submit(Sleep.make()), yield* submit(call("waits", { path: trace }))]
    for (const { uid } of fibers) yield* untilRuns(uid)
    fibers.push(...(yield* Effect.replicateEffect(submit(Sleep.make()), 10)))
    yield* kill
    for (const fiber of fibers) {
      const error: unknown = errorOf(yield* Effect.timeout(Fiber.await(fiber), "10 seconds"))
      assert(error instanceof BackendError, `${error}`)
      assert.strictEqual(error.reason, "Lost")
    }
    const later: unknown = yield* Effect.flip(execute(Sleep.make()))
    assert(later instanceof BackendError && later.reason === "Lost")
    assert.strictEqual((yield* ExecutionBackend.state).status, "FAILED")
  })

describe.skipIf(missing)("Faults on Dask", () => {
  it.scopedLive("a bridge that is killed is the loss of all, and of its managed cluster nothing is left", () =>
    Effect.gen(function* () {
      const kill = Effect.suspend(() => {
        const [{ bridge, keeper }] = bridges() as [{ keeper: number; bridge: number }]
        const all = below(keeper)
        assert.isAtLeast(all.length, 4)
        process.kill(bridge, "SIGKILL")
        return allGone([keeper, ...all])
      })
      yield* Effect.provide(lost(kill), one())
    })
  )

  it.scopedLive("so it is on a joined cluster, where nothing of ours is left either", () =>
    Effect.gen(function* () {
      const { address, worker } = yield* cluster(python)
      const { pid } = yield* worker("--nthreads", "4")
      const before = below(pid).length
      const kill = Effect.sync(() => process.kill(bridges()[0]!.bridge, "SIGKILL"))
      yield* Effect.provide(lost(kill), DaskBackend.layer({ ...base, address }))
      yield* until(() => sleepers(pid).length === 0 && below(pid).length <= before, "programs and agents to end")
      yield* Effect.provide(
        Effect.map(execute(call("f", { a: 1 })), (value) => assert.deepStrictEqual(value, [1, 1])),
        DaskBackend.layer({ ...base, address })
      )
    })
  )

  it.scopedLive("a scheduler that is killed is the loss of all", () =>
    Effect.gen(function* () {
      const { address, scheduler, worker } = yield* cluster(python)
      const { pid } = yield* worker("--nthreads", "4")
      yield* Effect.provide(lost(scheduler.kill), DaskBackend.layer({ ...base, address }))
      yield* until(() => sleepers(pid).length === 0, "programs to end")
    })
  )

  it.scopedLive("a worker that dies has its tasks run again, and those that kill every worker end as Lost", () =>
    Effect.gen(function* () {
      const trace = yield* file
      assert.strictEqual(yield* execute(call("dies", { path: trace, times: 1 })), 2)
      const error = yield* failure(call("dies", { path: trace, times: 100 }))
      assert.deepStrictEqual([error.reason, error.details["type"]], ["Lost", "KilledWorker"])
      assert.deepStrictEqual(yield* execute(call("f", { a: 1 })), [1, 1])
    }).pipe(Effect.provide(one()))
  )

  it.scopedLive("what has ended does not run again when its worker dies at once", () =>
    Effect.gen(function* () {
      const { address, worker } = yield* cluster(python)
      yield* worker("--nthreads", "1", "--no-nanny")
      yield* Effect.gen(function* () {
        const trace = yield* file
        for (const run of [1, 2, 3]) {
          const name = `short-lived-${run}`
          const { kill } = yield* worker("--nthreads", "1", "--no-nanny", "--name", name)
          const settings = DaskBackend.settings({ workers: [name], allowOtherWorkers: true })
          yield* run === 2
            ? execute(call("touch", { path: trace, text: "x\n" }, {}, { settings }))
            : execute(Appends.make({ trace }, { settings }))
          yield* kill
          // what ran again would be before these, on the worker that is left
          for (let a = 0; a < 5; a++) assert.deepStrictEqual(yield* execute(call("f", { a })), [a, 1])
          assert.strictEqual(content(trace).split("\n").length - 1, run)
        }
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, address })))
    })
  )

  it.scopedLive("a function that needs more memory than its worker has ends as Lost", () =>
    Effect.gen(function* () {
      const error = yield* failure(call("hungry", { size: 1_000_000_000 }))
      assert.deepStrictEqual([error.reason, error.details["type"]], ["Lost", "KilledWorker"])
      assert.deepStrictEqual(yield* execute(call("f", { a: 1 })), [1, 1])
    }).pipe(Effect.provide(one({ memoryLimit: 500_000_000, threadsPerWorker: 1 })))
  )

  it.scopedLive("a function that never returns ends by its timeout, and is reported as not stopped", () =>
    Effect.gen(function* () {
      const trace = yield* file
      const error = yield* failure(call("sleeps", { path: trace }, {}, { timeout: "200 millis" }))
      assert.deepStrictEqual([error.reason, error.details["stopped"]], ["Timeout", false])
    }).pipe(Effect.provide(one({ stopTimeout: "300 millis" })))
  )
})

describe.skipIf(missing)("A running function that is to stop", () => {
  it.scopedLive("goes on by default: cancel is refused, and it ends as it does", () =>
    Effect.gen(function* () {
      const trace = yield* file
      const fiber = yield* submit(call("sleeps", { path: trace, seconds: 1 }))
      yield* untilRuns(fiber.uid)
      const error = yield* Effect.flip(ExecutionBackend.cancel(fiber))
      assert.strictEqual(error.reason, "CancelUnsupported")
      assert.strictEqual(yield* ExecutionBackend.cancelAll, 0)
      assert.strictEqual(yield* Fiber.join(fiber), "slept")
    }).pipe(Effect.provide(one()))
  )

  it.scopedLive("is stopped when it is asynchronous", () =>
    Effect.gen(function* () {
      const trace = yield* file
      const fiber = yield* submit(call("waits", { path: trace }))
      yield* until(() => content(trace) === "started\n", "it to start")
      yield* untilRuns(fiber.uid)
      assert.strictEqual(yield* ExecutionBackend.cancel(fiber), true)
      assert.strictEqual(content(trace), "started\nstopped\n")
    }).pipe(Effect.provide(one()))
  )

  it.scopedLive("that waits for a place never runs", () =>
    Effect.gen(function* () {
      const [busy, trace] = [yield* file, yield* file]
      const first = yield* submit(call("sleeps", { path: busy, seconds: 1 }))
      yield* untilRuns(first.uid)
      const second = yield* submit(call("sleeps", { path: trace, seconds: 0 }))
      assert.strictEqual(yield* ExecutionBackend.cancel(second), true)
      yield* Fiber.join(first)
      yield* execute(call("f", { a: 1 }))
      assert.strictEqual(content(trace), "")
    }).pipe(Effect.provide(one({ threadsPerWorker: 1 })))
  )

  it.scopedLive("is given up where that is asked for, at once, and reported as not stopped", () =>
    Effect.gen(function* () {
      const trace = yield* file
      const fiber = yield* submit(call("sleeps", { path: trace, seconds: 1 }))
      yield* untilRuns(fiber.uid)
      assert.strictEqual(yield* ExecutionBackend.cancel(fiber), true)
      const error: any = errorOf(yield* Fiber.await(fiber))
      assert.deepStrictEqual([error.reason, error.details.stopped], ["Canceled", false])
      assert.notInclude(content(trace), "ended")
      yield* until(() => content(trace).includes("ended"), "it to go on to its end")
    }).pipe(Effect.provide(one({ onUncancellable: "abandon" })))
  )

  it.scopedLive("is stopped with its worker where that is asked for, and what else was there runs again", () =>
    Effect.gen(function* () {
      const [trace, beside] = [yield* file, yield* file]
      const fiber = yield* submit(call("sleeps", { path: trace }))
      const other = yield* submit(call("sleeps", { path: beside, seconds: 2 }))
      yield* untilRuns(fiber.uid)
      yield* untilRuns(other.uid)
      const pid = Number(/started (\d+)/.exec(content(trace))![1])
      assert.strictEqual(yield* ExecutionBackend.cancel(fiber), true)
      assert.isFalse(lives(pid))
      const error: any = errorOf(yield* Fiber.await(fiber))
      assert.deepStrictEqual([error.reason, error.details.stopped], ["Canceled", undefined])
      assert.strictEqual(yield* Fiber.join(other), "slept")
      assert.strictEqual(content(beside).match(/started/g)?.length, 2)
    }).pipe(Effect.provide(one({ onUncancellable: "restart", stopTimeout: "20 seconds" })))
  )

  it.scopedLive("and is asked to at any moment leaves no task without an end and no place taken", () =>
    Effect.gen(function* () {
      const hold = yield* file
      const tasks = Array.from({ length: 30 }, (_, i) =>
        i % 3 === 0 ? Sleep.make() : i % 3 === 1 ? call("waits", { path: hold }) : call("f", { a: i })
      )
      for (let round = 0; round < 15; round++) {
        const fibers = yield* Effect.forEach(tasks, submit)
        yield* Effect.sleep(4 * round)
        yield* ExecutionBackend.cancelAll
        for (const fiber of fibers) yield* Effect.timeout(Fiber.await(fiber), "10 seconds")
      }
      yield* Effect.forEach([1, 2, 3, 4], (a) => execute(call("f", { a })))
      assert.strictEqual(sleepers(bridges()[0]!.keeper).length, 0)
    }).pipe(Effect.provide(one()))
  )
})
