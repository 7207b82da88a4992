/** The cases of how a task ends: timeout, cancel, interrupt, waiting for it, and what is reported of it. */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import type * as Task from "../../Task.js"
import type { TaskState } from "../../TaskState.js"
import { canFollow, isTerminal } from "../../TaskState.js"
import { check, collect, endOf, endsAs, failsAs, nothingLeft, same, soon, until, untilState } from "./check.js"
import type { CaseWithNeed } from "./fixture.js"
import { fixture } from "./fixture.js"
import { alive, markEnv, newMark } from "./processProbe.js"
import type { Subject } from "./subject.js"
import { lingers } from "./work.js"

let serial = 0

export const completionCases = (subject: Subject): ReadonlyArray<CaseWithNeed> => {
  const { echo, hold, makeCase, opened, running, work } = fixture(subject)
  const { cancel, cancelAll, execute, submit } = ExecutionBackend

  /** A task that takes a while to stop, once it runs, and whether its work runs. */
  const lingering = (options?: Task.Options<any>) =>
    Effect.gen(function* () {
      const mark = yield* newMark
      const value = ++serial
      const programs = subject.programs === true
      const works = programs ? Effect.map(alive(mark), (count) => count > 0) : lingers(value)
      return {
        task: work({ how: "linger", value }, programs ? { ...options, env: markEnv(mark) } : options),
        started: until(works, "its work to start"),
        stopped: (what: string) => Effect.flatMap(works, (still) => check(!still, `${what}: its work still ran`))
      }
    })
  /** However `end` ends the task, its work has stopped by the time its end is reported. */
  const stops = <R>(
    what: string,
    end: (fiber: Parameters<typeof untilState>[0]) => Effect.Effect<unknown, unknown, R>,
    options?: Task.Options<any>
  ) =>
    Effect.gen(function* () {
      const { started, stopped, task } = yield* lingering(options)
      const fiber = yield* submit(task)
      yield* started
      yield* end(fiber)
      yield* stopped(what)
    })

  return [
    makeCase(
      "timeout",
      "an attempt that takes too long is stopped and ends as Timeout, and may be tried again",
      Effect.gen(function* () {
        yield* failsAs(execute(hold({ timeout: "200 millis" })), "TaskError Timeout", "the task")
        const events = yield* ExecutionBackend.events
        const again = hold({ timeout: "100 millis", retry: { times: 1, schedule: Schedule.forever } })
        yield* failsAs(execute(again), "TaskError Timeout", "the second attempt")
        const attempts = (yield* collect(events, 1)).map(({ attempt }) => attempt)
        yield* same(Math.max(...attempts), 2, "attempts")
        yield* nothingLeft
      })
    ),
    makeCase(
      "cancel",
      "cancel by uid: true, and the task ends as Canceled; false for an unknown uid or a task that has ended",
      Effect.gen(function* () {
        const fiber = yield* running
        yield* same(yield* cancel(fiber.uid), true, "the live one")
        yield* endsAs(fiber, "TaskError Canceled", "its fiber")
        yield* same(yield* cancel(fiber.uid), false, "the ended one")
        yield* same(yield* cancel("unknown"), false, "the unknown one")
        yield* nothingLeft
      })
    ),
    makeCase(
      "cancel-retrying",
      "cancel of a task that waits for its next attempt: it ends as Canceled, without that attempt",
      Effect.gen(function* () {
        const retry = { times: 1, schedule: Schedule.spaced("1 hour") }
        const fiber = yield* submit(work({ how: "fail", value: 1 }, { retry }))
        yield* untilState(fiber, "WAITING")
        yield* same(yield* cancel(fiber.uid), true, "the live one")
        yield* endsAs(fiber, "TaskError Canceled", "its fiber")
        yield* nothingLeft
      })
    ),
    makeCase(
      "cancel-all",
      "cancelAll returns the number of active tasks, and each of them ends as Canceled",
      Effect.gen(function* () {
        yield* execute(echo(1))
        const fibers = [yield* running, ...(yield* Effect.replicateEffect(submit(hold()), 20))]
        yield* same(yield* cancelAll, 21, "number")
        for (const fiber of fibers) yield* endsAs(fiber, "TaskError Canceled", fiber.uid)
        yield* same(yield* cancelAll, 0, "number when none is live")
        yield* same(yield* execute(echo(2)), { value: 2 }, "the next task")
        yield* nothingLeft
      })
    ),
    makeCase(
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
    makeCase(
      "stopped",
      "however a task ends, its work has stopped before its end is reported",
      Effect.gen(function* () {
        yield* stops("cancel by uid", ({ uid }) => cancel(uid))
        yield* stops("cancel by fiber", (fiber) => cancel(fiber))
        yield* stops("cancel all", () => cancelAll)
        yield* stops("interruption", (fiber) => Fiber.interrupt(fiber))
        yield* stops("timeout", (fiber) => endsAs(fiber, "TaskError Timeout", "it"), { timeout: "1 second" })
        const caller = yield* lingering()
        const executing = yield* Effect.fork(execute(caller.task))
        yield* caller.started
        yield* Fiber.interrupt(executing)
        yield* caller.stopped("interruption of the caller")
        const owner = yield* lingering()
        yield* Effect.scoped(Effect.zipRight(ExecutionBackend.submitScoped(owner.task), owner.started))
        yield* owner.stopped("close of its scope")
        const closing = yield* lingering()
        yield* opened(Effect.zipRight(submit(closing.task), closing.started))
        yield* closing.stopped("close of the layer")
        yield* stops("terminate", () => ExecutionBackend.terminate)
      })
    ),
    makeCase(
      "stop-bound",
      "cancel, timeout, interruption and close end within their bounds though the work does not heed them",
      Effect.gen(function* () {
        const deaf = (options?: Task.Options<any>) => work({ how: "deaf", value: 0 }, options)
        const hears = Effect.tap(submit(deaf()), (fiber) => untilState(fiber, "EXECUTING"))
        const canceled = yield* hears
        yield* soon(cancel(canceled.uid), "cancel")
        yield* endsAs(canceled, "TaskError Canceled", "the cancelled one")
        const interrupted = yield* hears
        yield* soon(Fiber.interrupt(interrupted), "interruption")
        const late = execute(deaf({ timeout: "200 millis" }))
        yield* soon(failsAs(late, "TaskError Timeout", "the late one"), "timeout")
        yield* nothingLeft
        const left = yield* soon(opened(Effect.replicateEffect(hears, 4), { stopTimeout: "300 millis" }), "close")
        for (const fiber of left) yield* endsAs(fiber, "TaskError Canceled", fiber.uid)
      }),
      { stopTimeout: "300 millis" }
    ),
    makeCase(
      "await-all",
      "awaitAll gives how each task ended, before the call or after; its timeout says how many completed and cancels nothing",
      Effect.gen(function* () {
        yield* same((yield* ExecutionBackend.awaitAll()).size, 0, "ends when there is no task")
        const early = yield* submit(echo(1))
        yield* soon(Fiber.await(early), "the early one")
        yield* same([...(yield* ExecutionBackend.awaitAll()).keys()], [early.uid], "what ended before the call")
        yield* same((yield* ExecutionBackend.awaitAll()).size, 0, "what was answered for before")
        const held = yield* running
        const late = yield* Effect.flip(ExecutionBackend.awaitAll({ timeout: "50 millis" }))
        yield* same(late.reason, "Timeout", "reason")
        yield* check(late.message.includes("0/1 completed"), late.message)
        yield* check(Option.isNone(yield* Fiber.poll(held)), "the timeout ended the task")
        const bad = yield* submit(work({ how: "fail", value: 3 }))
        const good = yield* submit(echo(2))
        const all = yield* Effect.fork(ExecutionBackend.awaitAll())
        yield* soon(Fiber.await(good), "the good one")
        yield* check(Option.isNone(yield* Fiber.poll(all)), "it did not wait for all")
        yield* Fiber.interrupt(held)
        const ends = new Map(
          [...(yield* soon(Fiber.join(all), "waiting for all"))].map(([uid, exit]) => [uid, endOf(exit)])
        )
        yield* same(ends.get(held.uid), "interrupted", "the held one")
        yield* check((ends.get(bad.uid) ?? "Refused") === "Refused", `the bad one ended as ${ends.get(bad.uid)}`)
      })
    ),
    makeCase(
      "fail-fast",
      "awaitAll with failFast fails with the first TaskError",
      Effect.gen(function* () {
        yield* running
        yield* submit(hold({ timeout: "200 millis" }))
        yield* failsAs(ExecutionBackend.awaitAll({ failFast: true }), "TaskError Timeout", "awaitAll")
      })
    ),
    makeCase(
      "events",
      "each of many tasks has its states in a legal order and one end, that of its fiber; no event of a task is missing",
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
        const exits = yield* Effect.forEach(fibers, (fiber) => Fiber.await(fiber))
        const last = new Map<string, TaskState>()
        for (const { state, uid } of yield* collect(events, fibers.length)) {
          const before = last.get(uid)
          const legal = before === undefined ? state === "NEW" : canFollow(before, state)
          yield* check(legal, `${uid}: ${before} -> ${state}`)
          last.set(uid, state)
        }
        const ends: Record<string, TaskState> = { success: "COMPLETED", "TaskError Canceled": "CANCELED" }
        yield* same(
          fibers.map(({ uid }) => last.get(uid)),
          exits.map((exit) => ends[endOf(exit)] ?? "FAILED"),
          "last states"
        )
        yield* same([...last.values()].filter(isTerminal).length, fibers.length, "ends")
        yield* nothingLeft
      })
    ),
    makeCase(
      "subscribers",
      "a callback that throws, one that never returns, a subscriber that does not read: no task and no other subscriber is affected",
      Effect.gen(function* () {
        const { onStateChange } = ExecutionBackend
        yield* onStateChange(() => {
          throw new Error("no")
        })
        yield* onStateChange(() => Effect.never)
        const forgotten = yield* ExecutionBackend.events
        const called = yield* Effect.replicateEffect(Deferred.make<void>(), 2)
        for (const one of called) {
          yield* onStateChange((_, state) =>
            state === "COMPLETED" ? Effect.asVoid(Deferred.succeed(one, undefined)) : undefined
          )
        }
        for (let i = 0; i < 20; i++) yield* execute(echo(i))
        yield* soon(Effect.forEach(called, Deferred.await), "the calls of both callbacks")
        yield* nothingLeft
        const kept = yield* soon(Stream.runCollect(Stream.take(forgotten, 5)), "the events of the forgotten subscriber")
        yield* same(
          [...kept].map((event) =>
            event._tag === "StateChange" ? event.state : event._tag === "EventsDropped" ? event.count : event._tag
          ),
          ["NEW", "READY", "EXECUTING", "COMPLETED", 76],
          "the events of the forgotten subscriber, and how many were dropped"
        )
      }),
      { eventBuffer: 4 }
    )
  ]
}
