/** The rows of how it ends and what is told of it: timeout, cancel, waiting, events, states, limits, close. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Row, Subject } from "../../Conformance.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import type { TaskState } from "../../TaskState.js"
import { canFollow, isTerminal } from "../../TaskState.js"
import { ConformanceError, check, endOf, endsAs, failsAs, nothingLeft, same } from "./check.js"
import { tools } from "./tools.js"

export const ending = (subject: Subject): ReadonlyArray<Row> => {
  const { echo, hold, opened, row, running, work } = tools(subject)
  const { cancel, execute, submit } = ExecutionBackend

  return [
    row(
      "timeout",
      "an attempt that takes too long is stopped and ends as Timeout",
      Effect.gen(function* () {
        yield* failsAs(execute(hold({ timeout: "200 millis" })), "TaskError Timeout", "the task")
        yield* nothingLeft
      })
    ),
    row(
      "cancel",
      "cancel by uid: true, and the task ends as Canceled; false for one that nobody knows or that has ended",
      Effect.gen(function* () {
        const fiber = yield* running
        yield* same(yield* cancel(fiber.uid), true, "the live one")
        yield* endsAs(fiber, "TaskError Canceled", "its fiber")
        yield* same(yield* cancel(fiber.uid), false, "the ended one")
        yield* same(yield* cancel("nobody"), false, "the unknown one")
        yield* nothingLeft
      })
    ),
    row(
      "cancel-all",
      "cancel all answers their number, and every one of them ends as Canceled",
      Effect.gen(function* () {
        const fibers = yield* Effect.replicateEffect(submit(hold()), 20)
        yield* same(yield* ExecutionBackend.cancelAll, 20, "number")
        for (const fiber of fibers) yield* endsAs(fiber, "TaskError Canceled", fiber.uid)
        yield* nothingLeft
      })
    ),
    row(
      "interrupt",
      "interrupting the fiber stops the work and ends interrupted",
      Effect.gen(function* () {
        const fiber = yield* running
        yield* Fiber.interrupt(fiber)
        yield* endsAs(fiber, "interrupted", "its fiber")
        yield* same(Option.getOrNull(yield* ExecutionBackend.taskState(fiber.uid)), "CANCELED", "state")
        yield* nothingLeft
      })
    ),
    row(
      "await-all",
      "waiting for all: how each ended; a timeout says how many and cancels nothing",
      Effect.gen(function* () {
        const held = yield* running
        const late = yield* Effect.flip(ExecutionBackend.awaitAll({ timeout: "50 millis" }))
        yield* same(late.reason, "Timeout", "reason")
        yield* check(late.message.includes("0/1 completed"), late.message)
        yield* check(Option.isNone(yield* Fiber.poll(held)), "the timeout ended the task")
        const all = yield* Effect.fork(ExecutionBackend.awaitAll())
        yield* Effect.yieldNow()
        yield* cancel(held)
        yield* same(
          [...(yield* Fiber.join(all))].map(([uid, exit]) => [uid, endOf(exit)]),
          [[held.uid, "TaskError Canceled"]],
          "ends"
        )
      })
    ),
    row(
      "fail-fast",
      "waiting for all with failFast fails with the first TaskError",
      Effect.gen(function* () {
        yield* running
        yield* submit(work({ how: "wrong", value: 0 }))
        yield* failsAs(ExecutionBackend.awaitAll({ failFast: true }), "TaskError InvalidResult", "awaitAll")
      })
    ),
    row(
      "events",
      "every task of many has its states in a legal order, one end, and nobody is lost",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        const tasks = Array.from({ length: 60 }, (_, i) =>
          i % 3 === 0 ? echo(i) : i % 3 === 1 ? work({ how: "fail", value: i }) : hold()
        )
        const fibers = yield* Effect.forEach(tasks, submit)
        yield* Effect.forEach(
          fibers.filter((_, i) => i % 3 === 2),
          (fiber) => cancel(fiber),
          { concurrency: 4 }
        )
        yield* Fiber.awaitAll(fibers)
        const ended = new Set<string>()
        const last = new Map<string, TaskState>()
        yield* events.pipe(
          Stream.runForEachWhile((event) => {
            if (event._tag === "EventsDropped")
              return Effect.fail(new ConformanceError({ message: "events were dropped" }))
            const before = last.get(event.uid)
            if (before !== undefined && !canFollow(before, event.state)) {
              return Effect.fail(new ConformanceError({ message: `${event.uid}: ${before} -> ${event.state}` }))
            }
            last.set(event.uid, event.state)
            if (isTerminal(event.state)) ended.add(event.uid)
            return Effect.succeed(ended.size < fibers.length)
          })
        )
        yield* nothingLeft
      })
    ),
    row(
      "subscribers",
      "a callback that throws, a subscriber that is forgotten: no task notices",
      Effect.gen(function* () {
        yield* ExecutionBackend.onStateChange(() => {
          throw new Error("no")
        })
        const forgotten = yield* ExecutionBackend.events
        const told = yield* Deferred.make<void>()
        yield* ExecutionBackend.onStateChange((_, state) =>
          state === "COMPLETED" ? Effect.asVoid(Deferred.succeed(told, undefined)) : undefined
        )
        for (let i = 0; i < 20; i++) yield* execute(echo(i))
        yield* Deferred.await(told)
        yield* nothingLeft
        yield* Stream.runDrain(Stream.take(forgotten, 1))
      }),
      { eventBuffer: 4 }
    ),
    row(
      "states",
      "the states of tasks by uid and of all; that of the backend with its counts",
      Effect.gen(function* () {
        yield* same((yield* ExecutionBackend.state).status, "INITIALIZED", "at first")
        const fiber = yield* running
        const { active, status } = yield* ExecutionBackend.state
        yield* same([status, active], ["RUNNING", 1], "while one runs")
        yield* same([...(yield* ExecutionBackend.taskStates)], [[fiber.uid, "EXECUTING"]], "all states")
        yield* cancel(fiber)
        yield* same((yield* ExecutionBackend.state).status, "IDLE", "at last")
        yield* same([...(yield* ExecutionBackend.taskStates)], [[fiber.uid, "CANCELED"]], "all states after")
      })
    ),
    row(
      "history",
      "only so many ended tasks are remembered",
      Effect.gen(function* () {
        for (let i = 0; i < 30; i++) yield* execute(echo(i))
        yield* same((yield* ExecutionBackend.taskStates).size, 10, "remembered")
      }),
      { history: 10 }
    ),
    row(
      "admission",
      "submission waits beyond the limit, and leaves no trace when it is interrupted there",
      Effect.gen(function* () {
        const fibers = yield* Effect.replicateEffect(submit(hold()), 2)
        const waiting = yield* Effect.fork(submit(echo(3, { uid: "waiting" })))
        yield* Effect.sleep("20 millis")
        yield* check(Option.isNone(yield* Fiber.poll(waiting)), "submission did not wait")
        yield* Fiber.interrupt(waiting)
        yield* same(Option.isNone(yield* ExecutionBackend.taskState("waiting")), true, "no trace")
        const next = yield* Effect.fork(execute(echo(4)))
        yield* Fiber.interruptAll(fibers)
        yield* same(yield* Fiber.join(next), { value: 4 }, "the next, when there is room")
        yield* nothingLeft
      }),
      { admission: 2 }
    ),
    {
      id: "close",
      title: "closing the layer with work pending tells every waiter, and what is submitted later is refused",
      run: Effect.gen(function* () {
        const [fibers, context] = yield* opened(
          Effect.gen(function* () {
            const fibers = yield* Effect.replicateEffect(submit(hold()), 30)
            return [fibers, yield* Effect.context<any>()] as const
          })
        )
        for (const fiber of fibers) yield* endsAs(fiber, "TaskError Canceled", fiber.uid)
        yield* failsAs(Effect.provide(submit(echo(1)), context), "BackendError Closed", "a later submission")
      })
    },
    row(
      "terminate",
      "terminate ends everything within 2 seconds",
      Effect.gen(function* () {
        const fibers = yield* Effect.replicateEffect(submit(hold()), 5)
        yield* Effect.timeout(ExecutionBackend.terminate, "2 seconds")
        for (const fiber of fibers) yield* endsAs(fiber, "TaskError Canceled", fiber.uid)
        yield* failsAs(submit(echo(1)), "BackendError Closed", "a later submission")
      })
    )
  ]
}
