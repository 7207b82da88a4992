import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Schedule,
  Schema,
  Scope,
  Stream,
  Supervisor,
  TestClock
} from "effect"
import { Backend, Driver, ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import { BackendError, TaskError } from "effect-rhapsody/Errors"
import { isTerminal } from "effect-rhapsody/TaskState"
import type { FakeEngine, Script } from "../engines/fakeEngine.js"
import { fakeEngine } from "../engines/fakeEngine.js"
import { runningEngine } from "../engines/runningEngine.js"
import { activity, idle, isChange, nothingLeft, Program, statesOf, turns } from "../support.js"

setFlagsFromString("--expose-gc")
const collect: () => void = runInNewContext("gc")

type Provided = ExecutionBackend.ExecutionBackend<"executable" | "service">

/** A test over an engine: what is left in the backend is checked after it. */
const withEngine = <E>(
  use: (engine: FakeEngine) => Effect.Effect<void, E, Provided | Scope.Scope>,
  script: Script = {},
  options: Backend.Options = {}
) =>
  Effect.flatMap(fakeEngine(script), (engine) =>
    use(engine).pipe(
      Effect.zipRight(Effect.map(idle, (left) => assert.deepStrictEqual(left, nothingLeft))),
      Effect.scoped,
      Effect.provide(engine.layer(options))
    )
  )

const submit = (uid?: string, options: Task.Options = {}) =>
  ExecutionBackend.submit(Program.make(undefined, uid === undefined ? options : { ...options, uid }))

const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() => (condition() ? Effect.void : Effect.zipRight(Effect.yieldNow(), until(condition))))
const untilState = (fiber: TaskFiber.TaskFiber<unknown, unknown>, state: string) =>
  until(() => fiber[TaskFiber.TypeId].state === state)

/** Subscribes, and answers with what collects the ends of so many tasks, by uid. */
const endsOf = Effect.map(
  ExecutionBackend.events,
  (events) => (count: number) =>
    events.pipe(
      Stream.filter(isChange),
      Stream.filter(({ state }) => isTerminal(state)),
      Stream.take(count),
      Stream.runCollect,
      Effect.map((changes) => new Map([...changes].map((change) => [change.uid, change])))
    )
)

/** It has been listened to: what was said before has been taken. */
const heard = (engine: FakeEngine) =>
  Effect.gen(function* () {
    const marker = yield* submit()
    yield* until(() => engine.held.has(marker.uid))
    yield* engine.ended(marker.uid)
    yield* marker
  })

const pending = (fiber: Fiber.Fiber<unknown, unknown>) =>
  Effect.map(Fiber.poll(fiber), (exit) => assert.isTrue(Option.isNone(exit), "has ended"))

const reasonOf = (error: unknown) =>
  error instanceof TaskError || error instanceof BackendError ? error.reason : error
const reasonsOf = (fibers: Iterable<Fiber.Fiber<unknown, unknown>>) =>
  Effect.map(Fiber.awaitAll(fibers), (exits) => [
    ...new Set([...exits].map((exit) => (Exit.isSuccess(exit) ? "ok" : reasonOf(Cause.squash(exit.cause)))))
  ])

describe("an engine with a queue of its own", () => {
  it.live("a cancel comes after all that was submitted before it, however long this process was busy between", () => {
    const had: Array<number> = []
    const engines: Array<FakeEngine> = []
    const script: Script = {
      cancel: () => {
        for (const { held } of engines) had.push(held.size)
        return undefined
      }
    }
    return withEngine((engine) => {
      engines.push(engine)
      return Effect.gen(function* () {
        const first = yield* submit()
        yield* until(() => engine.held.size === 1)
        for (let i = 0; i < 40; i++) {
          const then = performance.now()
          yield* submit()
          while (performance.now() - then < 2) {}
        }
        yield* ExecutionBackend.cancel(first)
        assert.strictEqual(had[0], 41)
        yield* ExecutionBackend.cancelAll
      })
    }, script)
  })

  it.live("holds 100,000 tasks at a time: no fiber of the driver's, few calls, bounded memory, each ends once", () =>
    Effect.gen(function* () {
      const count = 100_000
      const supervisor = yield* Supervisor.track
      const ends = new Map<string, number>()
      yield* withEngine(
        (engine) =>
          Effect.gen(function* () {
            collect()
            const before = process.memoryUsage().heapUsed
            const fibers: Array<TaskFiber.TaskFiber<string, unknown>> = []
            for (let i = 0; i < count; i++) fibers.push(yield* submit())
            yield* until(() => engine.held.size === count)
            collect()
            const each = (process.memoryUsage().heapUsed - before) / count
            assert.isBelow(each, 12_000)
            assert.strictEqual((yield* ExecutionBackend.state).queued, count)
            const others = (yield* supervisor.value).length - count
            assert.isBelow(others, 10)
            assert.isBelow(engine.batches.length, count / 20)
            for (const fiber of fibers) {
              fiber.addObserver(() => ends.set(fiber.uid, (ends.get(fiber.uid) ?? 0) + 1))
            }
            // out of order, and the first half of them twice
            for (const [i, { uid }] of [...fibers.entries()].reverse()) {
              yield* engine.ended(uid)
              if (i < count / 2) yield* engine.ended(uid)
            }
            for (const fiber of fibers) assert.strictEqual(yield* fiber, "ok")
            assert.strictEqual(ends.size, count)
            assert.isTrue([...ends.values()].every((times) => times === 1))
          }),
        {},
        { maxActiveTasks: count }
      ).pipe(Effect.supervised(supervisor))
    })
  )

  it.effect("is waited for beyond what is admitted", () =>
    withEngine(
      (engine) =>
        Effect.gen(function* () {
          const [a, b] = yield* Effect.all([submit("a"), submit("b")])
          const waiting = yield* Effect.fork(submit("c"))
          yield* until(() => engine.held.size === 2)
          yield* pending(waiting)
          yield* engine.ended("b")
          const c = yield* Fiber.join(waiting)
          yield* until(() => engine.held.has("c"))
          yield* engine.ended("a")
          yield* engine.ended("c")
          assert.deepStrictEqual([...(yield* Fiber.joinAll([a, b, c]))], ["ok", "ok", "ok"])
        }),
      {},
      { maxActiveTasks: 2 }
    )
  )

  it.effect("gets specs with uid, attempt and program, those of one turn of the event loop in one batch", () =>
    withEngine((engine) =>
      Effect.gen(function* () {
        const fibers = yield* ExecutionBackend.submitMany(
          Array.from({ length: 50 }, (_, i) => Program.make(undefined, { uid: `u${i}`, priority: i })),
          { atomic: true }
        )
        yield* until(() => engine.held.size === 50)
        // it may turn at every sixteenth of them
        assert.isAtMost(engine.batches.length, 5)
        const spec = engine.held.get("u7")!
        assert.deepStrictEqual([spec.name, spec.attempt, spec.priority], ["Program", 1, 7])
        assert.strictEqual(spec.work._tag, "executable")
        assert.deepStrictEqual([spec.after, spec.links, spec.inputs, spec.outputs], [[], [], [], []])
        for (const { uid } of fibers) yield* engine.ended(uid)
        yield* Fiber.joinAll(fibers)
      })
    )
  )
})

describe("states in an engine", () => {
  it.effect("EXECUTING only when it started, by word or by a native state that means it", () =>
    withEngine(
      (engine) =>
        Effect.gen(function* () {
          const [a, b, c] = yield* Effect.all([submit("a"), submit("b"), submit("c")])
          yield* until(() => engine.held.size === 3)
          yield* engine.say("a", { _tag: "Accepted" })
          yield* engine.say("b", { _tag: "Native", state: "PENDING" })
          yield* engine.say("c", { _tag: "Native", state: "DONE" })
          yield* heard(engine)
          for (const fiber of [a, b, c]) assert.strictEqual(yield* TaskFiber.state(fiber), "READY")
          yield* engine.started("a")
          yield* engine.say("b", { _tag: "Native", state: "RUNNING" })
          yield* heard(engine)
          assert.strictEqual(yield* TaskFiber.state(a), "EXECUTING")
          assert.strictEqual(yield* TaskFiber.state(b), "EXECUTING")
          assert.strictEqual(yield* TaskFiber.state(c), "READY")
          assert.deepStrictEqual(yield* activity, { status: "RUNNING", waiting: 0, queued: 1, active: 2 })
          yield* Effect.forEach(["a", "b", "c"], (uid) => engine.ended(uid))
          assert.deepStrictEqual([...(yield* Fiber.joinAll([a, b, c]))], ["ok", "ok", "ok"])
        }),
      { nativeStates: { PENDING: "READY", RUNNING: "EXECUTING", DONE: "COMPLETED" } }
    )
  )

  it.effect("of a task that ends before the engine said that it started are those of the table", () =>
    withEngine((engine) =>
      Effect.gen(function* () {
        const follow = yield* statesOf
        yield* submit("a")
        yield* until(() => engine.held.has("a"))
        yield* engine.ended("a")
        const states = (yield* follow("a")).map(({ state }) => state)
        assert.deepStrictEqual(states, ["NEW", "READY", "EXECUTING", "COMPLETED"])
      })
    )
  )

  it.effect("a native state without a meaning is a protocol error of that task, which is asked to stop", () =>
    withEngine(
      (engine) =>
        Effect.gen(function* () {
          // names of what every object has are no states either
          const fibers = yield* Effect.all([submit("a"), submit("b"), submit("c")])
          yield* until(() => engine.held.size === 3)
          yield* engine.say("a", { _tag: "Native", state: "MELTED" })
          yield* engine.say("b", { _tag: "Native", state: "toString" })
          for (const fiber of fibers.slice(0, 2)) {
            const error = yield* Effect.flip(fiber)
            assert.isTrue(error instanceof BackendError && error.reason === "Protocol", String(error))
          }
          assert.include(String(yield* Effect.flip(fibers[0])), "MELTED")
          yield* until(() => engine.cancels.flat().length === 2)
          assert.deepStrictEqual(
            engine.cancels.flat().map(({ uid }) => uid),
            ["a", "b"]
          )
          yield* engine.ended("c")
          assert.strictEqual(yield* fibers[2], "ok")
        }),
      { nativeStates: { RUNNING: "EXECUTING" } }
    )
  )
})

describe("timeout and retry in an engine", () => {
  it.effect("the timeout counts from the start, not from the submission", () =>
    withEngine((engine) =>
      Effect.gen(function* () {
        const fiber = yield* submit("a", { timeout: "10 seconds" })
        yield* until(() => engine.held.has("a"))
        yield* TestClock.adjust("1 hour")
        yield* pending(fiber)
        yield* engine.started("a")
        yield* untilState(fiber, "EXECUTING")
        // said again, it starts nothing again
        yield* TestClock.adjust("5 seconds")
        yield* engine.started("a")
        yield* heard(engine)
        yield* TestClock.adjust("4999 millis")
        yield* pending(fiber)
        assert.deepStrictEqual(engine.cancels, [])
        yield* TestClock.adjust("1 millis")
        const error = yield* Effect.flip(fiber)
        assert.isTrue(error instanceof TaskError && error.reason === "Timeout")
        assert.deepStrictEqual((error as TaskError).details, { command: ["program"], timeout: "10s" })
        assert.deepStrictEqual(engine.cancels, [[{ uid: "a", attempt: 1 }]])
      })
    )
  )

  it.effect("a timed-out attempt is cancelled; what is said of it later is not said of the next", () =>
    withEngine(
      (engine) =>
        Effect.gen(function* () {
          const follow = yield* statesOf
          const fiber = yield* submit("a", { timeout: "10 seconds", retry: { times: 1, schedule: Schedule.forever } })
          yield* until(() => engine.held.has("a"))
          yield* engine.started("a")
          yield* untilState(fiber, "EXECUTING")
          yield* TestClock.adjust("10 seconds")
          yield* until(() => engine.cancels.length === 1)
          yield* TestClock.adjust("1999 millis")
          assert.strictEqual(engine.held.get("a")!.attempt, 1)
          yield* TestClock.adjust("1 millis")
          yield* until(() => engine.held.get("a")!.attempt === 2)
          // attempt 1 had not stopped, and goes on talking
          yield* engine.started("a", 1)
          yield* engine.say("a", { _tag: "Canceled" }, 1)
          yield* engine.say("a", { _tag: "Ended", outcome: Driver.Outcome.exited({ stdout: "late" }) }, 1)
          yield* engine.say("a", { _tag: "Failed", error: new BackendError({ backendType: "x", reason: "Lost" }) }, 1)
          yield* heard(engine)
          assert.strictEqual(yield* TaskFiber.state(fiber), "READY")
          yield* engine.started("a", 2)
          yield* engine.ended("a", 2)
          assert.strictEqual(yield* fiber, "ok")
          const retrying = (yield* follow("a")).find(({ state }) => state === "RETRYING")!
          assert.deepStrictEqual([retrying.reason, retrying.stopped], ["Timeout", false])
        }),
      { confirms: false, stopTimeout: "2 seconds" }
    )
  )

  it.effect("a result that comes after the timeout is not looked at", () =>
    withEngine(
      (engine) =>
        Effect.gen(function* () {
          const Slow = Task.executable("Slow", {
            success: Schema.transformOrFail(Schema.String, Schema.String, {
              decode: () => Effect.never,
              encode: Effect.succeed
            }),
            command: () => ({ executable: "x" })
          })
          const fiber = yield* ExecutionBackend.submit(Slow.make(undefined, { uid: "a", timeout: "10 seconds" }))
          yield* until(() => engine.held.has("a"))
          yield* engine.started("a")
          yield* untilState(fiber, "EXECUTING")
          yield* TestClock.adjust("10 seconds")
          yield* until(() => engine.cancels.length === 1)
          yield* engine.ended("a")
          // at once: no time goes by
          assert.strictEqual(reasonOf(yield* Effect.flip(fiber)), "Timeout")
        }),
      { confirms: false }
    )
  )

  it.effect("a failure of the task's own is tried again under the next number, the engine's is not", () =>
    withEngine((engine) =>
      Effect.gen(function* () {
        const options: Task.Options = { retry: { times: 3, schedule: Schedule.forever } }
        const [a, b] = yield* Effect.all([submit("a", options), submit("b", options)])
        yield* until(() => engine.held.size === 2)
        const own = new TaskError({ taskUid: "a", task: "Program", reason: "LaunchFailed" })
        yield* engine.say("a", { _tag: "Failed", error: own })
        yield* engine.say("b", { _tag: "Failed", error: new BackendError({ backendType: "x", reason: "Unavailable" }) })
        yield* until(() => engine.held.get("a")!.attempt === 2)
        yield* engine.ended("a", 2, Driver.Outcome.exited({ exitCode: 3 }))
        yield* until(() => engine.held.get("a")?.attempt === 3)
        yield* engine.ended("a", 3)
        assert.strictEqual(yield* a, "ok")
        assert.strictEqual(reasonOf(yield* Effect.flip(b)), "Unavailable")
      })
    )
  )
})

describe("cancel in an engine", () => {
  it.effect("by uid is confirmed by what the engine says, not by the return of its cancel", () =>
    withEngine(
      (engine) =>
        Effect.gen(function* () {
          const fiber = yield* submit("a")
          yield* until(() => engine.held.has("a"))
          const canceling = yield* Effect.fork(ExecutionBackend.cancel("a"))
          yield* until(() => engine.cancels.length === 1)
          yield* heard(engine)
          yield* pending(canceling)
          yield* engine.confirm([{ uid: "a", attempt: 1 }])
          assert.isTrue(yield* Fiber.join(canceling))
          const error = yield* Effect.flip(fiber)
          assert.isTrue(error instanceof TaskError && error.reason === "Canceled")
          assert.notProperty((error as TaskError).details, "stopped")
          assert.strictEqual(yield* TaskFiber.state(fiber), "CANCELED")
        }),
      { confirms: false }
    )
  )

  it.effect("Fiber.interrupt ends interrupted, and after the confirmation", () =>
    withEngine(
      (engine) =>
        Effect.gen(function* () {
          const fiber = yield* submit("a")
          yield* until(() => engine.held.has("a"))
          const interrupting = yield* Effect.fork(Fiber.interrupt(fiber))
          yield* until(() => engine.cancels.length === 1)
          yield* heard(engine)
          yield* pending(interrupting)
          yield* engine.confirm([{ uid: "a", attempt: 1 }])
          const exit = yield* Fiber.join(interrupting)
          assert.isTrue(Exit.isFailure(exit) && Cause.isInterruptedOnly(exit.cause), String(exit))
          assert.strictEqual(yield* TaskFiber.state(fiber), "CANCELED")
        }),
      { confirms: false }
    )
  )

  it.effect("1,000 interrupts make few calls", () =>
    withEngine((engine) =>
      Effect.gen(function* () {
        const fibers = yield* Effect.replicateEffect(submit(), 1_000)
        yield* until(() => engine.held.size === 1_000)
        yield* Fiber.interruptAll(fibers)
        assert.strictEqual(engine.cancels.flat().length, 1_000)
        assert.isAtMost(engine.cancels.length, 5)
        assert.strictEqual(engine.held.size, 0)
      })
    )
  )

  it.effect("of a task that was not sent yet never reaches the engine", () =>
    Effect.gen(function* () {
      const busy = yield* Deferred.make<void>()
      yield* withEngine(
        (engine) =>
          Effect.gen(function* () {
            const first = yield* submit("first")
            yield* until(() => engine.batches.length === 1)
            const [byUid, byFiber] = yield* Effect.all([submit("second"), submit("third")])
            // their turn comes with the next batch
            yield* turns
            assert.isTrue(yield* ExecutionBackend.cancel("second"))
            assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(byFiber)))
            assert.deepStrictEqual(yield* reasonsOf([byUid]), ["Canceled"])
            yield* Deferred.succeed(busy, undefined)
            yield* heard(engine)
            assert.deepStrictEqual(engine.batches, [1, 1])
            assert.deepStrictEqual(engine.cancels, [])
            assert.deepStrictEqual([...engine.held.keys()], ["first"])
            yield* engine.ended("first")
            yield* first
          }),
        { submit: () => Deferred.await(busy) }
      )
    })
  )

  it.effect("a result that is reported before the confirmation wins", () =>
    withEngine(
      (engine) =>
        Effect.gen(function* () {
          const fiber = yield* submit("a")
          yield* until(() => engine.held.has("a"))
          const canceling = yield* Effect.fork(ExecutionBackend.cancel("a"))
          yield* until(() => engine.cancels.length === 1)
          yield* engine.ended("a")
          yield* engine.say("a", { _tag: "Canceled" })
          yield* Fiber.join(canceling)
          assert.strictEqual(yield* fiber, "ok")
          assert.strictEqual(yield* TaskFiber.state(fiber), "COMPLETED")
        }),
      { confirms: false }
    )
  )

  const unconfirmed: Record<string, Script> = {
    "is never confirmed": { confirms: false },
    fails: { cancel: () => new BackendError({ backendType: "fake engine", reason: "Unavailable" }) },
    dies: { cancel: () => Effect.die("boom") },
    throws: {
      cancel: () => {
        throw new Error("boom")
      }
    },
    "does not return": { cancel: () => Effect.never }
  }
  for (const [what, script] of Object.entries(unconfirmed)) {
    it.effect(`that ${what} ends with the grace period, and that is reported`, () =>
      withEngine(
        (engine) =>
          Effect.gen(function* () {
            const ends = yield* endsOf
            const [a, b] = yield* Effect.all([submit("a"), submit("b")])
            yield* until(() => engine.held.size === 2)
            const canceling = yield* Effect.fork(ExecutionBackend.cancel("a"))
            const interrupting = yield* Effect.fork(Fiber.interrupt(b))
            yield* until(() => engine.cancels.length > 0)
            yield* TestClock.adjust("1999 millis")
            yield* Effect.all([pending(canceling), pending(interrupting)])
            yield* TestClock.adjust("1 millis")
            assert.isTrue(yield* Fiber.join(canceling))
            assert.isTrue(Exit.isInterrupted(yield* Fiber.join(interrupting)))
            const error = yield* Effect.flip(a)
            assert.isTrue(error instanceof TaskError && error.reason === "Canceled")
            assert.strictEqual((error as TaskError).details["stopped"], false)
            for (const { state, stopped } of (yield* ends(2)).values()) {
              assert.deepStrictEqual([state, stopped], ["CANCELED", false])
            }
            // it ends after all, and that changes nothing
            yield* engine.ended("a")
          }),
        { stopTimeout: "2 seconds", ...script }
      )
    )
  }

  it.effect("by the engine itself is TaskError Canceled, and is not tried again", () =>
    withEngine((engine) =>
      Effect.gen(function* () {
        const fiber = yield* submit("a", { retry: { times: 3 } })
        yield* until(() => engine.held.has("a"))
        yield* engine.started("a")
        yield* engine.say("a", { _tag: "Canceled" })
        const error = yield* Effect.flip(fiber)
        assert.isTrue(error instanceof TaskError && error.reason === "Canceled")
        assert.include(error.message, "engine")
        assert.strictEqual(yield* TaskFiber.state(fiber), "CANCELED")
      })
    )
  )

  it.effect("of what runs, where the engine cannot stop it, is refused; of what is queued it is not", () =>
    withEngine(
      (engine) =>
        Effect.gen(function* () {
          const [running, queued] = yield* Effect.all([submit("running"), submit("queued")])
          yield* until(() => engine.held.size === 2)
          yield* engine.started("running")
          yield* untilState(running, "EXECUTING")
          assert.strictEqual((yield* Effect.flip(ExecutionBackend.cancel("running"))).reason, "CancelUnsupported")
          assert.strictEqual(yield* ExecutionBackend.cancelAll, 1)
          assert.deepStrictEqual(yield* reasonsOf([queued]), ["Canceled"])
          assert.deepStrictEqual(engine.cancels, [[{ uid: "queued", attempt: 1 }]])
          yield* engine.ended("running")
          assert.strictEqual(yield* running, "ok")
        }),
      { cancelable: false }
    )
  )
})

describe("a call that does not return", () => {
  it.effect("of submit: cancel of what it holds ends with the grace, of all else at once; it is asked back later", () =>
    Effect.gen(function* () {
      const busy = yield* Deferred.make<void>()
      yield* withEngine(
        (engine) =>
          Effect.gen(function* () {
            const ends = yield* endsOf
            const before = yield* submit("before")
            yield* until(() => engine.held.has("before"))
            const slow = yield* Effect.all([submit("slow1"), submit("slow2"), submit("slow3")])
            yield* until(() => engine.batches.length === 2)
            const unsent = yield* submit("unsent")
            yield* turns
            // the engine has taken one of them, and says so
            yield* engine.started("slow3")
            yield* untilState(slow[2], "EXECUTING")

            for (const uid of ["before", "unsent"]) assert.isTrue(yield* ExecutionBackend.cancel(uid))
            const canceling = yield* Effect.forEach(["slow1", "slow2", "slow3"], (uid) =>
              Effect.fork(ExecutionBackend.cancel(uid))
            )
            yield* until(() => engine.cancels.flat().length === 2)
            yield* engine.say("slow3", { _tag: "Canceled" })
            assert.isTrue(yield* Fiber.join(canceling[2]!))
            yield* TestClock.adjust("1999 millis")
            yield* Effect.all([pending(canceling[0]!), pending(canceling[1]!)])
            yield* TestClock.adjust("1 millis")
            yield* Fiber.joinAll(canceling)
            assert.deepStrictEqual(yield* reasonsOf([before, unsent, ...slow]), ["Canceled"])
            const reported = [...(yield* ends(5)).values()].map(({ stopped, uid }) => `${uid} ${stopped ?? true}`)
            assert.deepStrictEqual(reported.sort(), [
              "before true",
              "slow1 false",
              "slow2 false",
              "slow3 true",
              "unsent true"
            ])

            yield* Deferred.succeed(busy, undefined)
            yield* until(() => engine.cancels.flat().length === 4)
            yield* heard(engine)
            assert.deepStrictEqual(
              engine.cancels.flat().map(({ uid }) => uid),
              ["before", "slow3", "slow1", "slow2"]
            )
          }),
        {
          stopTimeout: "2 seconds",
          submit: (attempts) =>
            attempts.some(({ spec }) => spec.uid.startsWith("slow")) ? Deferred.await(busy) : Effect.void
        }
      )
    })
  )

  it.live("of submit holds nothing of a task that was cancelled before its turn", () =>
    withEngine(
      (engine) =>
        Effect.gen(function* () {
          const Big = Task.executable("Big", {
            payload: { data: Schema.Any },
            command: () => ({ executable: "x" })
          })
          const first = yield* submit("first")
          yield* until(() => engine.batches.length === 1)
          const payloads: Array<WeakRef<object>> = []
          for (let i = 0; i < 100; i++) {
            const data = { i }
            payloads.push(new WeakRef(data))
            const fiber = yield* ExecutionBackend.submit(Big.make({ data }))
            yield* turns
            yield* ExecutionBackend.cancel(fiber)
          }
          yield* Effect.sleep("1 millis")
          collect()
          // the last one may still be in the hands of the runtime
          assert.isAtMost(payloads.filter((payload) => payload.deref() !== undefined).length, 1)
          assert.deepStrictEqual(engine.batches, [1])
          yield* engine.ended("first")
          yield* first
        }),
      { submit: () => Effect.never }
    )
  )

  for (const [how, call] of [
    ["", Effect.never],
    [", and cannot be interrupted", Effect.uninterruptible(Effect.never)]
  ] as const) {
    it.effect(`of cancel${how}: submissions go on, and so do cancels after the grace`, () =>
      withEngine(
        (engine) =>
          Effect.gen(function* () {
            const [a, b] = yield* Effect.all([submit("a"), submit("b")])
            yield* until(() => engine.held.size === 2)
            const canceling = yield* Effect.fork(ExecutionBackend.cancel("a"))
            yield* until(() => engine.cancels.length === 1)
            const c = yield* submit("c")
            yield* until(() => engine.held.has("c"))
            yield* engine.ended("c")
            assert.strictEqual(yield* c, "ok")
            yield* TestClock.adjust("2 seconds")
            assert.isTrue(yield* Fiber.join(canceling))
            assert.isTrue(yield* ExecutionBackend.cancel("b"))
            assert.deepStrictEqual(yield* reasonsOf([a, b]), ["Canceled"])
            assert.deepStrictEqual(
              engine.cancels.flat().map(({ uid }) => uid),
              ["a", "b"]
            )
          }),
        {
          stopTimeout: "2 seconds",
          cancel: (keys) => (keys.some(({ uid }) => uid === "a") ? call : undefined)
        }
      )
    )
  }
})

describe("functions in an engine", () => {
  it.effect("submit tasks of their own, which do not wait to be admitted, and are refused beyond their own limit", () =>
    Effect.gen(function* () {
      const Child = Task.function("Child", {})
      const Parent = Task.function("Parent", { success: Schema.String })
      const child = Child.toLayer(() => Effect.never)
      const parent = Parent.toLayer(() =>
        Effect.gen(function* () {
          const fiber = yield* ExecutionBackend.submit(Child.make())
          const refused = yield* Effect.flip(ExecutionBackend.submit(Child.make()))
          yield* ExecutionBackend.cancel(fiber)
          // of its child, which has ended; it does not wait for itself
          assert.deepStrictEqual([...(yield* ExecutionBackend.awaitAll()).keys()], [fiber.uid])
          return String(reasonOf(refused))
        }).pipe(Effect.orDie)
      )
      const { driver, running } = yield* runningEngine
      const backend = Backend.layer(driver, { maxActiveTasks: 1, maxNestedTasks: 1 })
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Parent.make(undefined, { timeout: "1 hour" }))
        assert.strictEqual(yield* fiber, "Rejected")
        assert.deepStrictEqual(yield* idle, nothingLeft)
        assert.strictEqual(running.size, 0)
      }).pipe(Effect.provide(Layer.provideMerge(parent, Layer.provideMerge(child, backend))))
    })
  )
})

describe("an engine that refuses a batch", () => {
  const refusals: Record<string, readonly [submit: () => Effect.Effect<void, BackendError>, reason: string]> = {
    "with its own error": [
      () => new BackendError({ backendType: "fake engine", reason: "Unavailable" }),
      "Unavailable"
    ],
    "by dying": [() => Effect.die(new Error("boom")), "Rejected"],
    "by throwing": [
      () => {
        throw new Error("boom")
      },
      "Rejected"
    ],
    "by interrupting itself": [() => Effect.interrupt, "Rejected"]
  }
  for (const [how, [refuse, reason]] of Object.entries(refusals)) {
    it.effect(`${how} ends the tasks of that batch, and no other`, () =>
      withEngine(
        (engine) =>
          Effect.gen(function* () {
            const before = yield* submit("before")
            yield* until(() => engine.held.has("before"))
            const refused = yield* ExecutionBackend.submitMany(
              ["bad1", "bad2"].map((uid) => Program.make(undefined, { uid, retry: { times: 3 } })),
              { atomic: true }
            )
            assert.deepStrictEqual(yield* reasonsOf(refused), [reason])
            const error = yield* Effect.flip(refused[0]!)
            assert.isTrue(error instanceof BackendError && error.backendType === "fake engine")
            // it had taken one of them after all
            yield* engine.ended("bad1")
            const after = yield* submit("after")
            yield* until(() => engine.held.has("after"))
            yield* Effect.all([engine.ended("before"), engine.ended("after")])
            assert.deepStrictEqual([yield* before, yield* after], ["ok", "ok"])
          }),
        { submit: (attempts) => (attempts.some(({ spec }) => spec.uid.startsWith("bad")) ? refuse() : Effect.void) }
      )
    )
  }
})

describe("an engine that is gone", () => {
  const own = new BackendError({ backendType: "fake engine", reason: "Unavailable" })
  const ends: Record<string, readonly [exit: Exit.Exit<void, BackendError>, reason: string]> = {
    "because its stream ended": [Exit.void, "Lost"],
    "because its stream failed": [Exit.fail(own), "Unavailable"],
    "because its stream died": [Exit.die(new Error("boom")), "Lost"]
  }
  for (const [why, [exit, reason]] of Object.entries(ends)) {
    it.effect(`${why} loses all tasks, wherever they are, and takes no other`, () =>
      Effect.gen(function* () {
        const engine = yield* fakeEngine()
        yield* Effect.gen(function* () {
          const ends = yield* endsOf
          const options: Task.Options = { retry: { times: 3 } }
          const [queued, running, waiting] = yield* Effect.all([
            submit("queued", options),
            submit("running", options),
            submit("waiting", options)
          ])
          const other = yield* submit("other")
          yield* until(() => engine.held.size === 4)
          yield* engine.started("running")
          yield* engine.ended("waiting", 1, Driver.Outcome.exited({ exitCode: 1 }))
          yield* untilState(waiting, "WAITING")
          const outside = yield* Effect.fork(submit("outside"))
          yield* Effect.yieldNow()
          yield* engine.gone(exit)
          const all: ReadonlyArray<Fiber.Fiber<unknown, unknown>> = [queued, running, waiting, other, outside]
          assert.deepStrictEqual(yield* reasonsOf(all), [reason])
          for (const exit of yield* Fiber.awaitAll(all)) {
            assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof BackendError)
          }
          assert.deepStrictEqual(yield* activity, { status: "FAILED", waiting: 0, queued: 0, active: 0 })
          const changes = yield* ends(4)
          assert.deepStrictEqual([...changes.keys()].sort(), ["other", "queued", "running", "waiting"])
          for (const change of changes.values())
            assert.deepStrictEqual([change.state, change.reason], ["FAILED", reason])
          assert.isTrue(Option.isNone(yield* ExecutionBackend.taskState("outside")))
          assert.strictEqual(reasonOf(yield* Effect.flip(submit("later"))), reason)
          assert.strictEqual(
            reasonOf(yield* Effect.flip(ExecutionBackend.submitMany([Program.make()], { atomic: true }))),
            reason
          )
          // of those that were submitted, and ended before
          assert.strictEqual((yield* ExecutionBackend.awaitAll()).size, 4)
        }).pipe(Effect.scoped, Effect.provide(engine.layer({ maxActiveTasks: 4 })))
      })
    )
  }

  it.effect("before the first submission is reported at the first submission", () =>
    Effect.gen(function* () {
      const engine = yield* fakeEngine()
      yield* engine.gone()
      const lost = Effect.gen(function* () {
        while ((yield* ExecutionBackend.state).status !== "FAILED") yield* Effect.yieldNow()
        return yield* Effect.flip(submit())
      })
      assert.strictEqual(reasonOf(yield* lost.pipe(Effect.provide(engine.layer()))), "Lost")
    })
  )
})

describe("an engine that is lost by another word than its stream's", () => {
  const burnt = new BackendError({ backendType: "fake engine", reason: "Lost", details: { message: "it burnt down" } })
  const Server = Task.service("Server", { command: () => ({ executable: "server" }), ready: /x/ })
  const burning = Effect.gen(function* () {
    const lost = yield* Deferred.make<BackendError>()
    const engine = yield* fakeEngine({
      kinds: ["executable", "service"],
      lost: Deferred.await(lost),
      serve: () => Effect.succeed({ info: undefined, exited: Effect.never })
    })
    return { ...engine, burn: Effect.zipRight(Deferred.succeed(lost, burnt), Effect.yieldNow()) }
  })
  const lostState = { ...nothingLeft, status: "FAILED" as const }

  for (const twice of ["", ", and again by the end of its stream", ", after the end of its stream"]) {
    it.effect(`ends all tasks once, wherever they are${twice}`, () =>
      Effect.gen(function* () {
        const engine = yield* burning
        yield* Effect.gen(function* () {
          const ends = yield* endsOf
          const options: Task.Options = { retry: { times: 3 } }
          const [queued, running, waiting] = yield* Effect.all([
            submit("queued", options),
            submit("running", options),
            submit("waiting", options)
          ])
          const { exited } = yield* ExecutionBackend.start(Server.make(undefined, { uid: "service" }))
          yield* until(() => engine.held.size === 3)
          yield* engine.started("running")
          yield* engine.ended("waiting", 1, Driver.Outcome.exited({ exitCode: 1 }))
          yield* untilState(waiting, "WAITING")
          const unsent = yield* submit("unsent", options)
          const first = twice.startsWith(", after")
          if (first) yield* engine.gone()
          yield* engine.burn
          if (!first && twice !== "") yield* engine.gone()
          const errors = yield* Effect.forEach([queued, running, waiting, unsent], (fiber) => Effect.flip(fiber))
          const service = yield* Effect.flip(exited)
          for (const error of [...errors, yield* Effect.flip(submit("later"))])
            assert.strictEqual<unknown>(error, service)
          if (!first) assert.strictEqual(service, burnt)
          assert.deepStrictEqual(yield* activity, lostState)
          const changes = yield* ends(5)
          assert.strictEqual(changes.size, 5)
          for (const { reason, state } of changes.values()) assert.deepStrictEqual([state, reason], ["FAILED", "Lost"])
        }).pipe(Effect.scoped, Effect.provide(engine.layer()))
      })
    )
  }

  it.effect("leaves what was said before as it was said", () =>
    Effect.gen(function* () {
      const engine = yield* fakeEngine()
      yield* Effect.gen(function* () {
        const uids = ["ok", "failed", "canceled", "lost"]
        const fibers = yield* Effect.forEach(uids, (uid) => submit(uid, { retry: { times: 3 } }))
        yield* until(() => engine.held.size === 4)
        const ended = (uid: string, exitCode: number) =>
          ({ uid, attempt: 1, _tag: "Ended", outcome: Driver.Outcome.exited({ exitCode }) }) as const
        const dying = Object.defineProperty({}, "uid", {
          get: () => {
            throw new Error("boom")
          }
        })
        // in one piece: no fiber has read the first update when the last is reported
        yield* engine.report(
          ended("ok", 0),
          ended("failed", 7),
          { uid: "canceled", attempt: 1, _tag: "Canceled" },
          dying
        )
        const reasons = yield* Effect.forEach(fibers, (fiber) => reasonsOf([fiber]))
        assert.deepStrictEqual(reasons.flat(), ["ok", "Exit", "Canceled", "Lost"])
        assert.deepStrictEqual(yield* activity, lostState)
      }).pipe(Effect.provide(engine.layer()))
    })
  )

  it.effect("while it closes, ends at once what it would have had the grace for", () =>
    Effect.gen(function* () {
      const engine = yield* fakeEngine({ confirms: false, stopTimeout: "1 hour" })
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(engine.layer(), scope)
      const fibers = yield* Effect.provide(Effect.all([submit("a"), submit("b")]), context)
      yield* until(() => engine.held.size === 2)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* until(() => engine.cancels.flat().length === 2)
      yield* engine.gone()
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* reasonsOf(fibers), ["Lost"])
      const state = yield* Effect.provide(activity, context)
      assert.deepStrictEqual(state, { ...nothingLeft, status: "SHUTDOWN" })
    })
  )
})

describe("an engine that talks nonsense", () => {
  it.effect("harms no task but the one that ends so", () =>
    withEngine((engine) =>
      Effect.gen(function* () {
        const [a, b, c] = yield* Effect.all([submit("a"), submit("b"), submit("c")])
        yield* until(() => engine.held.size === 3)
        yield* engine.report(
          undefined,
          null,
          7,
          "a",
          [],
          {},
          { _tag: "Ended" },
          { uid: "unknown", attempt: 1, _tag: "Ended" },
          { uid: "a", _tag: "Canceled" },
          { uid: "a", attempt: 0, _tag: "Canceled" },
          { uid: "a", attempt: 2, _tag: "Ended", outcome: Driver.Outcome.exited({ stdout: "no" }) },
          { uid: "a", attempt: 1, _tag: "Exploded" },
          { uid: "a", attempt: 1 },
          { uid: "b", attempt: 1, _tag: "Ended" },
          { uid: "c", attempt: 1, _tag: "Ended", outcome: { _tag: "Odd" } }
        )
        assert.deepStrictEqual(yield* reasonsOf([b, c]), ["Defect"])
        yield* pending(a)
        yield* engine.ended("a")
        assert.strictEqual(yield* a, "ok")
        assert.deepStrictEqual(engine.cancels, [])
      })
    )
  )

  it.effect("answers out of order, twice, and of tasks that have ended: the first word counts", () =>
    withEngine((engine) =>
      Effect.gen(function* () {
        const uids = Array.from({ length: 20 }, (_, i) => `u${i}`)
        const fibers = yield* Effect.forEach(uids, (uid) => submit(uid))
        yield* until(() => engine.held.size === 20)
        for (const uid of [...uids].reverse()) {
          yield* engine.ended(uid, 1, Driver.Outcome.exited({ stdout: uid }))
          yield* engine.ended(uid, 1, Driver.Outcome.exited({ stdout: "second" }))
          yield* engine.say(uid, { _tag: "Canceled" })
          yield* engine.started(uid)
        }
        assert.deepStrictEqual([...(yield* Fiber.joinAll(fibers))], uids)
        yield* heard(engine)
        assert.strictEqual(yield* TaskFiber.state(fibers[0]!), "COMPLETED")
      })
    )
  )
})

describe("close over an engine", () => {
  /** Submits `count`, closes when the engine holds them, and answers with the fibers and the closing. */
  const closing = (engine: FakeEngine, count: number, options: Backend.Options = {}) =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(engine.layer(options), scope)
      const fibers = yield* Effect.replicateEffect(Effect.provide(submit(), context), count)
      yield* until(() => engine.batches.reduce((sum, size) => sum + size, 0) === count)
      return { fibers, closing: yield* Effect.fork(Scope.close(scope, Exit.void)) }
    })

  it.live("with 10,000 in it takes few calls", () =>
    Effect.gen(function* () {
      const engine = yield* fakeEngine()
      const { closing: end, fibers } = yield* closing(engine, 10_000)
      yield* Fiber.join(end)
      assert.deepStrictEqual(yield* reasonsOf(fibers), ["Canceled"])
      assert.strictEqual(engine.cancels.flat().length, 10_000)
      assert.isAtMost(engine.cancels.length, 20)
    })
  )

  it.effect("that confirms nothing ends with the grace", () =>
    Effect.gen(function* () {
      const engine = yield* fakeEngine({ confirms: false, stopTimeout: "2 seconds" })
      const { closing: end, fibers } = yield* closing(engine, 10_000)
      yield* until(() => engine.cancels.flat().length === 10_000)
      yield* TestClock.adjust("1999 millis")
      yield* pending(end)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(end)
      assert.deepStrictEqual(yield* reasonsOf(fibers), ["Canceled"])
    })
  )

  it.effect("whose submit never returns, and cannot be interrupted, ends with the grace", () =>
    Effect.gen(function* () {
      const engine = yield* fakeEngine({ submit: () => Effect.uninterruptible(Effect.never), stopTimeout: "2 seconds" })
      const { closing: end, fibers } = yield* closing(engine, 1)
      yield* TestClock.adjust("2 seconds")
      // the task, then the fiber that submits
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(end)
      assert.deepStrictEqual(yield* reasonsOf(fibers), ["Canceled"])
    })
  )

  it.effect("terminate shortens the grace period, also of tasks that were asked to stop before", () =>
    Effect.gen(function* () {
      const engine = yield* fakeEngine({ confirms: false, stopTimeout: "1 hour" })
      yield* Effect.gen(function* () {
        const [first, second] = yield* Effect.all([submit("first"), submit("second")])
        yield* until(() => engine.held.size === 2)
        const interrupting = yield* Effect.fork(Fiber.interrupt(first))
        yield* until(() => engine.cancels.length === 1)
        const terminating = yield* Effect.fork(ExecutionBackend.terminate)
        yield* until(() => engine.cancels.flat().length === 2)
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(terminating)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.join(interrupting)))
        assert.deepStrictEqual(yield* reasonsOf([second]), ["Canceled"])
        assert.strictEqual(reasonOf(yield* Effect.flip(submit())), "Closed")
      }).pipe(Effect.provide(engine.layer()))
    })
  )
})

describe("services beside an engine's queue", () => {
  const Server = Task.service("Server", {
    info: Schema.Struct({ port: Schema.NumberFromString }),
    command: () => ({ executable: "server" }),
    ready: /(?<port>\d+)/
  })

  it.effect("are served by the driver, and never reach the queue", () =>
    Effect.gen(function* () {
      let stopped = 0
      yield* withEngine(
        (engine) =>
          Effect.gen(function* () {
            const info = yield* Effect.scoped(Effect.map(ExecutionBackend.start(Server.make()), ({ info }) => info))
            assert.deepStrictEqual(info, { port: 8080 })
            assert.strictEqual(stopped, 1)
            assert.deepStrictEqual(engine.batches, [])
          }),
        {
          kinds: ["executable", "service"],
          serve: () =>
            Effect.acquireRelease(Effect.succeed({ info: { port: "8080" }, exited: Effect.never }), () =>
              Effect.sync(() => void stopped++)
            )
        }
      )
    })
  )
})
