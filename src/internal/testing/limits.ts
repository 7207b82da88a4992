/** The cases of bounds: slots and which task gets them, active tasks, ended tasks that are remembered, and no leaks. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import { check, collect, nothingLeft, same, until, untilState } from "./check.js"
import type { CaseWithNeed } from "./fixture.js"
import { fixture } from "./fixture.js"
import type { Subject } from "./subject.js"

/** How many are in each state. */
const census = Effect.map(ExecutionBackend.taskStates, (states) => {
  const all = [...states.values()]
  return {
    executing: all.filter((state) => state === "EXECUTING").length,
    ready: all.filter((state) => state === "READY").length
  }
})

const counted = (executing: number, ready: number) =>
  until(
    Effect.map(census, (now) => now.executing === executing && now.ready === ready),
    "tasks to start"
  ).pipe(Effect.catchAll(() => Effect.flatMap(census, (now) => same(now, { executing, ready }, "tasks"))))

const open = "/proc/self/fd"
/** What this process holds of the system's, as far as the system shows it. */
const resources = Effect.sync(() => ({
  descriptors: fs.existsSync(open) ? fs.readdirSync(open).length : 0,
  timers: process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
}))

export const limits = (subject: Subject): ReadonlyArray<CaseWithNeed> => {
  const { echo, hold, makeCase, work } = fixture(subject)
  const { cancel, execute, submit } = ExecutionBackend
  const { slots } = subject
  /** Where no slots are named, none may be missing. */
  const startsAll = Effect.gen(function* () {
    yield* Effect.forEach(Array.from({ length: 100 }), (_, i) => submit(hold({ priority: i % 5 })))
    yield* counted(100, 0)
  })

  return [
    makeCase(
      "slots",
      "as many tasks run at a time as there are slots; the others are queued, and an end gives its slot to one",
      slots === undefined
        ? startsAll
        : Effect.gen(function* () {
            const fibers = yield* Effect.replicateEffect(submit(hold()), 3 * slots)
            yield* counted(slots, 2 * slots)
            yield* Effect.sleep("50 millis")
            yield* counted(slots, 2 * slots)
            const { active, queued } = yield* ExecutionBackend.state
            yield* same([active, queued], [slots, 2 * slots], "what the backend says")
            yield* cancel(fibers[3 * slots - 1]!)
            yield* counted(slots, 2 * slots - 1)
            yield* cancel(fibers[0]!)
            yield* counted(slots, 2 * slots - 2)
            yield* ExecutionBackend.cancelAll
            yield* same(yield* execute(echo(1)), { value: 1 }, "the next task")
            yield* nothingLeft
          })
    ),
    makeCase(
      "priority",
      "of the tasks that wait for a slot the highest priority starts first, and of equal ones the one submitted first",
      slots === undefined
        ? startsAll
        : Effect.gen(function* () {
            const fibers = yield* Effect.replicateEffect(submit(hold()), slots)
            yield* counted(slots, 0)
            const events = yield* ExecutionBackend.events
            // no more than there are slots: of many, Dask keeps some back that overtake none of those at a worker
            const priorities = [0, 5, -1, 5]
            // an engine with a queue of its own gets them in two parts
            const between = (i: number) => (i === 2 ? Effect.sleep("20 millis") : Effect.void)
            yield* Effect.forEach(priorities, (priority, i) =>
              Effect.zipRight(between(i), submit(echo(i, { priority, uid: `${i}` })))
            )
            yield* cancel(fibers[0]!)
            const changes = yield* collect(events, 1 + priorities.length)
            const started = changes.flatMap(({ state, uid }) => (state === "EXECUTING" ? [uid] : []))
            yield* same(started, ["1", "3", "0", "2"], "the order of starting")
          })
    ),
    makeCase(
      "max-active-tasks",
      "submission waits while maxActiveTasks are active, and leaves no trace when it is interrupted there",
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
      { maxActiveTasks: 2 }
    ),
    makeCase(
      "history-size",
      "the last historySize ended tasks are remembered, and no others",
      Effect.gen(function* () {
        const uids = Array.from({ length: 30 }, (_, i) => `task ${i}`)
        for (const uid of uids) yield* execute(echo(1, { uid }))
        yield* same([...(yield* ExecutionBackend.taskStates).keys()].sort(), uids.slice(20).sort(), "remembered")
        yield* same(yield* execute(echo(2, { uid: "task 0" })), { value: 2 }, "one of a uid that is forgotten")
      }),
      { historySize: 10 }
    ),
    makeCase(
      "leaks",
      "tasks that have ended, however they did, leave no timer and no file open",
      Effect.gen(function* () {
        const round = Effect.gen(function* () {
          const retry = { times: 1, schedule: Schedule.spaced("1 hour") }
          const waits = yield* submit(work({ how: "fail", value: 1 }, { retry }))
          const runs = yield* submit(hold({ timeout: "1 hour" }))
          yield* execute(echo(1, { timeout: "1 hour" }))
          yield* Effect.exit(execute(work({ how: "fail", value: 1 }, { timeout: "1 hour" })))
          yield* untilState(waits, "WAITING")
          yield* untilState(runs, "EXECUTING")
          yield* Fiber.interruptAll([waits, runs])
        })
        yield* round
        const before = yield* resources
        yield* Effect.repeatN(round, 19)
        // less than one per round; what else runs in this process may have its own
        const grown = Effect.map(resources, ({ descriptors, timers }) => ({
          descriptors: descriptors - before.descriptors,
          timers: timers - before.timers
        }))
        yield* until(
          Effect.map(grown, ({ descriptors, timers }) => descriptors < 10 && timers < 10),
          "what they leave to go"
        ).pipe(
          Effect.catchAll(() =>
            Effect.flatMap(grown, (all) => same(all, { descriptors: 0, timers: 0 }, "what 20 rounds of tasks left"))
          )
        )
      })
    )
  ]
}
