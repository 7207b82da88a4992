// The loss of an engine in the slot form; for the queue form, see queueDriver.test.ts.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Option, Schedule, Schema, Scope, Stream, TestClock } from "effect"
import { Backend, Driver, ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import { BackendError, TaskError } from "effect-rhapsody/Errors"
import type { StateChange } from "effect-rhapsody/TaskState"
import { isTerminal } from "effect-rhapsody/TaskState"
import { activity, isChange, nothingLeft, ok, Program, statesOf, turns } from "../support.js"

type Kinds = "executable" | "function" | "service"
type Run = Driver.SlotDriver<Kinds>["run"]
type Fibers = ReadonlyArray<Fiber.Fiber<unknown, unknown>>

const Child = Task.function("Child", {})
const Parent = Task.function("Parent", { payload: { how: Schema.String } })
const Server = Task.service("Server", { command: () => ({ executable: "server" }), ready: /x/ })

const error = new BackendError({ backendType: "engine", reason: "Lost", details: { message: "it burnt down" } })
const failing = Effect.succeed(Driver.Outcome.exited({ exitCode: 1 }))
const lostState = { ...nothingLeft, status: "FAILED" as const }

/** An engine with one slot that runs functions, programs as it is asked to, and a service; and how it is lost. */
const engine = (program: Run = () => Effect.never, driver: Partial<Driver.SlotDriver<Kinds>> = {}) =>
  Effect.map(Deferred.make<BackendError>(), (lost) => ({
    lose: Effect.zipRight(Deferred.succeed(lost, error), Effect.yieldNow()),
    layer: (options: Backend.Options = {}) =>
      Backend.layer<Kinds>(
        {
          type: "engine",
          kinds: ["executable", "function", "service"],
          concurrency: 1,
          run: (spec, hooks) => (spec.work._tag === "function" ? Driver.runHandler(spec, hooks) : program(spec, hooks)),
          serve: () => Effect.succeed({ info: undefined, exited: Effect.never }),
          lost: Deferred.await(lost),
          ...driver
        },
        options
      )
  }))

const submit = (uid: string, options: Task.Options = {}) =>
  ExecutionBackend.submit(Program.make(undefined, { ...options, uid }))

const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.zipRight(Effect.yieldNow(), until(condition))))
const untilState = (fiber: TaskFiber.TaskFiber<unknown, unknown>, state: string) =>
  until(() => fiber[TaskFiber.TypeId].state === state)
const failures = (fibers: Fibers) =>
  Effect.map(Fiber.awaitAll(fibers), (exits) =>
    exits.map((exit) => (Exit.isFailure(exit) ? Cause.squash(exit.cause) : exit.value))
  )
const reasonOf = (error: unknown) =>
  error instanceof TaskError || error instanceof BackendError ? error.reason : error

/** Subscribes, and answers with what collects how each of so many tasks ended: twice is too many. */
const endsOf = Effect.map(
  ExecutionBackend.events,
  (events) => (count: number) =>
    events.pipe(
      Stream.filter(isChange),
      Stream.filter(({ state }) => isTerminal(state)),
      Stream.take(count),
      Stream.runFold(new Map<string, StateChange>(), (ends, change) => {
        assert.isFalse(ends.has(change.uid), `${change.uid} ended twice`)
        return ends.set(change.uid, change)
      })
    )
)

describe("an engine that is lost", () => {
  const boundedStops: ReadonlyArray<ReadonlyArray<Kinds>> = [[], ["executable"]]
  for (const boundedStop of boundedStops) {
    it.effect(`ends what runs, is queued, waits, or was not admitted (bounded: ${boundedStop.length})`, () =>
      Effect.gen(function* () {
        let stopped = 0
        const { layer, lose } = yield* engine(
          ({ uid }) =>
            uid === "retried" ? failing : Effect.onInterrupt(Effect.never, () => Effect.sync(() => void stopped++)),
          { boundedStop }
        )
        yield* Effect.gen(function* () {
          const ends = yield* endsOf
          const retried = yield* submit("retried", { retry: { times: 3 } })
          yield* untilState(retried, "WAITING")
          const running = yield* submit("running", { retry: { times: 3 } })
          yield* untilState(running, "EXECUTING")
          const queued = yield* submit("queued", { retry: { times: 3 }, timeout: "1 hour" })
          const outside = yield* Effect.fork(submit("outside"))
          const executing = yield* Effect.fork(ExecutionBackend.execute(Program.make()))
          yield* Effect.yieldNow()
          yield* lose
          assert.deepStrictEqual(
            yield* failures([retried, running, queued, outside, executing]),
            Array.from({ length: 5 }, () => error)
          )
          assert.strictEqual(stopped, 1)
          assert.deepStrictEqual(yield* activity, lostState)
          for (const { reason, state, stopped } of (yield* ends(3)).values()) {
            assert.deepStrictEqual([state, reason, stopped], ["FAILED", "Lost", undefined])
          }
          assert.isTrue(Option.isNone(yield* ExecutionBackend.taskState("outside")))
          // nothing more gets in, whichever way
          const refusals: ReadonlyArray<unknown> = yield* Effect.all([
            Effect.flip(submit("later")),
            Effect.flip(ExecutionBackend.execute(Program.make())),
            Effect.flip(ExecutionBackend.submitMany([Program.make()], { atomic: true })),
            Effect.flip(ExecutionBackend.start(Server.make()))
          ])
          assert.deepStrictEqual(
            refusals,
            refusals.map(() => error)
          )
          // of those that were submitted, and ended before
          assert.sameMembers([...(yield* ExecutionBackend.awaitAll()).keys()], ["retried", "running", "queued"])
          assert.strictEqual(yield* ExecutionBackend.cancelAll, 0)
        }).pipe(Effect.scoped, Effect.provide(layer({ maxActiveTasks: 3, eventBuffer: 100 })))
      })
    )
  }

  it.effect("ends a task and those that it submitted, each once, whatever its handler makes of it", () =>
    Effect.gen(function* () {
      const { layer, lose } = yield* engine(undefined, { concurrency: 2 })
      const child = Child.toLayer(() => Effect.never)
      const own = Effect.orDie(ExecutionBackend.execute(Child.make()))
      const parent = Parent.toLayer(({ how }) => (how === "mask" ? Effect.uninterruptible(own) : own))
      yield* Effect.gen(function* () {
        const ends = yield* endsOf
        const parents = yield* Effect.forEach(["plain", "mask"], (how) => ExecutionBackend.submit(Parent.make({ how })))
        yield* until(() => parents.every((fiber) => fiber[TaskFiber.TypeId].state === "EXECUTING"))
        yield* turns
        assert.strictEqual((yield* ExecutionBackend.taskStates).size, 4)
        yield* lose
        assert.deepStrictEqual(yield* failures(parents), [error, error])
        for (const { reason, state } of (yield* ends(4)).values()) {
          assert.deepStrictEqual([state, reason], ["FAILED", "Lost"])
        }
        assert.deepStrictEqual(yield* activity, lostState)
      }).pipe(Effect.scoped, Effect.provide(Layer.provideMerge(parent, Layer.provideMerge(child, layer()))))
    })
  )

  it.scoped("ends a service", () =>
    Effect.gen(function* () {
      const { layer, lose } = yield* engine()
      yield* Effect.gen(function* () {
        const { exited } = yield* ExecutionBackend.start(Server.make())
        const starting = yield* Effect.fork(ExecutionBackend.start(Server.make()))
        yield* Effect.yieldNow()
        yield* lose
        assert.strictEqual(yield* Effect.flip(exited), error)
        assert.deepStrictEqual(yield* failures([starting]), [error])
        assert.deepStrictEqual(yield* activity, lostState)
      }).pipe(Effect.provide(layer()))
    })
  )

  it.effect("waits for what does not stop until the grace period is over, and reports it", () =>
    Effect.gen(function* () {
      const { layer, lose } = yield* engine(() => Effect.uninterruptible(Effect.never), { stopTimeout: "2 seconds" })
      yield* Effect.gen(function* () {
        const follow = yield* statesOf
        // the second loss of patience: it was asked to stop before
        const fiber = yield* submit("stuck", { timeout: "1 second" })
        yield* untilState(fiber, "EXECUTING")
        yield* TestClock.adjust("1500 millis")
        yield* lose
        assert.strictEqual((yield* ExecutionBackend.state).status, "FAILED")
        yield* TestClock.adjust("1999 millis")
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* failures([fiber]), [error])
        const { reason, state, stopped } = (yield* follow("stuck")).at(-1)!
        assert.deepStrictEqual([state, reason, stopped], ["FAILED", "Lost", false])
      }).pipe(Effect.scoped, Effect.provide(layer()))
    })
  )

  it.effect("leaves a result its result, and who was cancelled or interrupted before what it was", () =>
    Effect.gen(function* () {
      const slow = Effect.onInterrupt(Effect.never, () => Effect.sleep("1 second"))
      const { layer, lose } = yield* engine(({ uid }) => (uid === "done" ? ok : slow), { concurrency: 4 })
      yield* Effect.gen(function* () {
        const done = yield* submit("done")
        yield* done
        const [canceled, interrupted] = yield* Effect.all([submit("canceled"), submit("interrupted")])
        yield* untilState(interrupted, "EXECUTING")
        yield* Effect.yieldNow()
        const canceling = yield* Effect.fork(ExecutionBackend.cancel("canceled"))
        const interrupting = yield* Effect.fork(Fiber.interrupt(interrupted))
        yield* Effect.yieldNow()
        yield* lose
        yield* TestClock.adjust("1 second")
        assert.isTrue(yield* Fiber.join(canceling))
        assert.isTrue(Exit.isInterrupted(yield* Fiber.join(interrupting)))
        assert.strictEqual(reasonOf(yield* Effect.flip(canceled)), "Canceled")
        assert.strictEqual(yield* done, "ok")
        assert.deepStrictEqual(yield* activity, lostState)
      }).pipe(Effect.provide(layer()))
    })
  )

  it.effect("before the first submission refuses that", () =>
    Effect.gen(function* () {
      const { layer, lose } = yield* engine()
      yield* lose
      yield* Effect.gen(function* () {
        while ((yield* ExecutionBackend.state).status !== "FAILED") yield* Effect.yieldNow()
        assert.strictEqual(yield* Effect.flip(submit("a")), error)
      }).pipe(Effect.provide(layer()))
    })
  )

  const defects: Record<string, Effect.Effect<never>> = {
    "that dies": Effect.die(new Error("boom")),
    "that throws": Effect.suspend(() => {
      throw new Error("boom")
    }),
    "that interrupts itself": Effect.interrupt
  }
  for (const [what, defect] of Object.entries(defects)) {
    it.effect(`as is one whose \`lost\` is an effect ${what}`, () =>
      Effect.gen(function* () {
        const burn = yield* Deferred.make<void>()
        const { layer } = yield* engine(undefined, { lost: Effect.zipRight(Deferred.await(burn), defect) })
        yield* Effect.gen(function* () {
          const fiber = yield* submit("a")
          yield* untilState(fiber, "EXECUTING")
          yield* Deferred.succeed(burn, undefined)
          const [reported] = yield* failures([fiber])
          assert(reported instanceof BackendError, String(reported))
          assert.deepStrictEqual([reported.backendType, reported.reason], ["engine", "Lost"])
          if (what !== "that interrupts itself") assert.include(reported.message, "boom")
          assert.deepStrictEqual(yield* activity, lostState)
          assert.strictEqual(yield* Effect.flip(submit("b")), reported)
        }).pipe(Effect.provide(layer()))
      })
    )
  }
})

describe("a task that was lost and may still be running", () => {
  for (const [what, retry, attempts] of [
    ["is not tried again", { times: 3 }, 1],
    ["unless the task says so", { times: 3, while: () => true }, 4]
  ] as const) {
    it.effect(what, () =>
      Effect.gen(function* () {
        let ran = 0
        const { layer } = yield* engine((spec) =>
          Effect.suspend(() => {
            ran++
            return Effect.fail(Driver.taskError(spec, "Lost", { details: { stopped: false } }))
          })
        )
        const program = Program.make(undefined, { retry: { ...retry, schedule: Schedule.recurs(3) } })
        const error = yield* Effect.flip(Effect.provide(ExecutionBackend.execute(program), layer()))
        assert.strictEqual(reasonOf(error), "Lost")
        assert.strictEqual(ran, attempts)
      })
    )
  }
})

describe("the watch over an engine", () => {
  it.effect("is kept once, and ends with the backend, before what the driver built", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const say = (what: string) => Effect.sync(() => void log.push(what))
      const driver: Driver.SlotDriver<"executable"> = {
        type: "engine",
        kinds: ["executable"],
        concurrency: 1,
        run: () => Effect.onInterrupt(Effect.never, () => say("stopped")),
        lost: Effect.zipRight(
          say("watched"),
          Effect.onInterrupt(Effect.never, () => Effect.zipRight(Effect.sleep("1 second"), say("unwatched")))
        )
      }
      const layer = Backend.layer(
        Effect.as(
          Effect.addFinalizer(() => say("down")),
          driver
        )
      )
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(layer, scope)
      const fiber = yield* Effect.provide(submit("a"), context)
      yield* untilState(fiber, "EXECUTING")
      yield* Effect.yieldNow()
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(log, ["watched", "stopped", "unwatched", "down"])
      const { status } = yield* Effect.provide(ExecutionBackend.state, context)
      assert.strictEqual(status, "SHUTDOWN")
    })
  )

  it.effect("that cannot be interrupted keeps no close longer than the grace", () =>
    Effect.gen(function* () {
      const { layer } = yield* engine(undefined, {
        lost: Effect.uninterruptible(Effect.never),
        stopTimeout: "2 seconds"
      })
      const closing = yield* Effect.fork(Effect.scoped(Effect.asVoid(Layer.build(layer()))))
      yield* TestClock.adjust("1999 millis")
      assert.isTrue(Option.isNone(yield* Fiber.poll(closing)))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
    })
  )

  for (const end of ["close", "terminate"] as const) {
    it.effect(`changes nothing of a ${end} that has begun`, () =>
      Effect.gen(function* () {
        const slow = Effect.onInterrupt(Effect.never, () => Effect.sleep("1 second"))
        const { layer, lose } = yield* engine(() => slow)
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(layer(), scope)
        yield* Effect.gen(function* () {
          const [running, queued] = yield* Effect.all([submit("running"), submit("queued")])
          yield* untilState(running, "EXECUTING")
          yield* Effect.yieldNow()
          const ending = yield* Effect.fork(
            end === "close" ? Scope.close(scope, Exit.void) : ExecutionBackend.terminate
          )
          while ((yield* ExecutionBackend.state).status === "RUNNING") yield* Effect.yieldNow()
          yield* lose
          assert.strictEqual((yield* ExecutionBackend.state).status, "SHUTTING_DOWN")
          yield* TestClock.adjust("1 second")
          yield* Fiber.join(ending)
          assert.deepStrictEqual((yield* failures([running, queued])).map(reasonOf), ["Canceled", "Canceled"])
          assert.deepStrictEqual(yield* activity, { ...lostState, status: "SHUTDOWN" })
          assert.strictEqual(reasonOf(yield* Effect.flip(submit("later"))), "Closed")
        }).pipe(Effect.provide(context))
        yield* Scope.close(scope, Exit.void)
      })
    )
  }

  it.effect("leaves a lost backend that closes a lost one", () =>
    Effect.gen(function* () {
      const { layer, lose } = yield* engine()
      const context = yield* Effect.scoped(Effect.zipLeft(Layer.build(layer()), lose))
      assert.deepStrictEqual(yield* Effect.provide(activity, context), lostState)
      assert.strictEqual(yield* Effect.flip(Effect.provide(submit("later"), context)), error)
    })
  )
})
