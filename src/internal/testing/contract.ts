/** The cases of submission: what is accepted, what is refused, and what comes back. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import * as Task from "../../Task.js"
import type { TaskState } from "../../TaskState.js"
import { check, collect, endOf, endsAs, failsAs, noTrace, nothingLeft, same, until, untilState } from "./check.js"
import type { CaseWithNeed } from "./fixture.js"
import { fixture, needs } from "./fixture.js"
import { asks } from "./refusals.js"
import type { Subject } from "./subject.js"

const again = Schedule.forever
const all = { concurrency: "unbounded" } as const

export const contract = (subject: Subject): ReadonlyArray<CaseWithNeed> => {
  const { echo, hold, makeCase, work } = fixture(subject)
  const { execute, submit } = ExecutionBackend

  return [
    makeCase(
      "submit",
      "a submitted task has a fiber with its result, for all who wait for it, and goes through the states in order",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        const fiber = yield* submit(echo(7))
        const results = yield* Effect.all([Fiber.join(fiber), Fiber.join(fiber)], all)
        yield* same([...results, yield* Fiber.join(fiber)], [{ value: 7 }, { value: 7 }, { value: 7 }], "results")
        const changes = yield* collect(events, 1)
        yield* same(
          changes.map(({ state }) => state),
          ["NEW", "READY", "EXECUTING", "COMPLETED"],
          "states"
        )
        yield* nothingLeft
      })
    ),
    makeCase(
      "submit-many",
      "several keep their order; a wrong one is refused, and the others go on and end as they do, good and bad",
      Effect.gen(function* () {
        yield* same(yield* ExecutionBackend.submitMany([]), [], "none")
        const bad = work({ how: "fail", value: 3 })
        const twins = [echo(4, { uid: "twin" }), echo(5, { uid: "twin" })]
        const answers = yield* ExecutionBackend.submitMany([echo(1), echo(2, { uid: "" }), bad, ...twins, echo(6)])
        const ends = yield* Effect.forEach(answers, (answer) =>
          Either.isRight(answer)
            ? Effect.map(Fiber.await(answer.right), (exit) => (Exit.isSuccess(exit) ? exit.value.value : endOf(exit)))
            : Effect.succeed(answer.left.reason)
        )
        yield* same(ends, [1, "InvalidOption", "Refused", 4, "DuplicateUid", 6], "ends")
        yield* nothingLeft
      })
    ),
    makeCase(
      "submit-atomic",
      "all or none: one that is refused refuses all, and nothing is left of them",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        const together = (tasks: ReadonlyArray<Task.Instance<any, any, any>>) =>
          ExecutionBackend.submitMany(tasks, { atomic: true })
        const twins = [echo(1, { uid: "a" }), echo(2, { uid: "a" })]
        yield* failsAs(together(twins), "ConfigurationError DuplicateUid", "twins")
        yield* failsAs(together([echo(1), echo(2, { uid: "a/b" })]), "ConfigurationError InvalidOption", "a wrong one")
        yield* failsAs(together([echo(1), echo(2), echo(3)]), "BackendError Rejected", "more than are admitted")
        yield* noTrace(events)
        yield* same(
          [...(yield* Fiber.joinAll(yield* together([echo(1), echo(2)])))],
          [{ value: 1 }, { value: 2 }],
          "results"
        )
      }),
      { maxActiveTasks: 2 }
    ),
    makeCase(
      "submit-all",
      "a stream of tasks gives a stream of their ends, more than are admitted at a time, those refused too",
      Effect.gen(function* () {
        const tasks = Stream.map(Stream.range(1, 100), (i) => echo(i, i === 50 ? { uid: "a/b" } : {}))
        const ends = yield* Stream.runCollect(ExecutionBackend.submitAll(tasks))
        const sum = [...ends].reduce((sum, { exit }) => sum + (Exit.isSuccess(exit) ? exit.value.value : 0), 0)
        yield* same(sum, 5000, "the sum of all results")
        yield* same(
          [...ends].filter(({ exit }) => Exit.isFailure(exit)).map(({ exit, uid }) => [uid, endOf(exit)]),
          [["a/b", "ConfigurationError InvalidOption"]],
          "the refused one"
        )
        yield* nothingLeft
      }),
      { maxActiveTasks: 10 }
    ),
    makeCase(
      "execute",
      "execute is the caller: interrupting it stops the work",
      Effect.gen(function* () {
        yield* same(yield* execute(echo(5)), { value: 5 }, "result")
        const caller = yield* Effect.fork(execute(hold({ uid: "x" })))
        yield* until(
          Effect.map(ExecutionBackend.taskState("x"), Option.contains<TaskState>("EXECUTING")),
          "the task to run"
        )
        yield* Fiber.interrupt(caller)
        yield* same(Option.getOrNull(yield* ExecutionBackend.taskState("x")), "CANCELED", "state")
        yield* nothingLeft
      })
    ),
    makeCase(
      "submit-scoped",
      "a task submitted into a scope ends with it",
      Effect.gen(function* () {
        const fiber = yield* Effect.scoped(
          Effect.tap(ExecutionBackend.submitScoped(hold()), (fiber) => untilState(fiber, "EXECUTING"))
        )
        yield* endsAs(fiber, "interrupted", "its fiber")
        yield* nothingLeft
      })
    ),
    makeCase(
      "uids",
      "a given uid is kept; the others are unique, also among concurrent submissions, and none equals a given one",
      Effect.gen(function* () {
        const given = yield* submit(echo(0, { uid: "task.000042" }))
        yield* same(given.uid, "task.000042", "the given uid")
        const ten = Array.from({ length: 10 }, (_, i) => i)
        const fibers = yield* Effect.forEach(ten, (i) => Effect.forEach(ten, (j) => submit(echo(10 * i + j))), all)
        yield* same(new Set([given, ...fibers.flat()].map(({ uid }) => uid)).size, 101, "different uids")
        const values = yield* Effect.forEach(fibers.flat(), (fiber) => Fiber.join(fiber))
        yield* same(
          values.map(({ value }) => value),
          values.map((_, i) => i),
          "the result of each"
        )
      })
    ),
    makeCase(
      "duplicate-uid",
      "a uid is refused while it lives and while it is remembered, and the first goes on untouched",
      Effect.gen(function* () {
        const fiber = yield* submit(hold({ uid: "same" }))
        yield* untilState(fiber, "EXECUTING")
        yield* failsAs(submit(echo(1, { uid: "same" })), "ConfigurationError DuplicateUid", "while it lives")
        yield* same(Option.getOrNull(yield* ExecutionBackend.taskState("same")), "EXECUTING", "the first")
        yield* Fiber.interrupt(fiber)
        yield* failsAs(submit(echo(1, { uid: "same" })), "ConfigurationError DuplicateUid", "after its end")
        yield* nothingLeft
      })
    ),
    makeCase(
      "resubmit",
      "a task that is submitted again runs again, with a uid, attempts and a result of its own",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        const task = work({ how: "flaky", value: 2 }, { retry: { times: 1, schedule: again } })
        const first = yield* submit(task)
        yield* Fiber.join(first)
        const fibers = [first, yield* submit(task), yield* submit(task)]
        yield* same([...(yield* Fiber.joinAll(fibers))], [{ value: 2 }, { value: 2 }, { value: 2 }], "results")
        const changes = yield* collect(events, 3)
        const retried = changes.flatMap(({ state, uid }) => (state === "RETRYING" ? [uid] : []))
        yield* same([...retried].sort(), fibers.map(({ uid }) => uid).sort(), "who was retried")
      })
    ),
    makeCase(
      "bad-input",
      "a wrong request is refused at once by the name of its field, and leaves nothing",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        const wrong: ReadonlyArray<readonly [string, Task.Options<any>]> = [
          ["uid", { uid: "a/b" }],
          ["uid", { uid: "" }],
          ["timeout", { timeout: -1 }],
          ["timeout", { timeout: true as any }],
          ["retry.times", { retry: { times: -1 } }],
          ["retry.times", { retry: { times: true as any } }],
          ["priority", { priority: Number.NaN }],
          ["priority", { priority: true as any }],
          ["resources.cores", { resources: { cores: -1 } }],
          ["resources.cores", { resources: { cores: true as any } }],
          ["env.A=B", { env: { "A=B": "" } }],
          ["settings", { settings: Task.settings("of-no-backend", Schema.Struct({}))({}) }]
        ]
        for (const [key, options] of wrong) {
          const error = yield* Effect.flip(submit(echo(1, options)))
          yield* same([error._tag, (error as any).configKey], ["ConfigurationError", key], `options ${key}`)
        }
        const unencodable = yield* Effect.flip(submit(work({ how: "echo", value: "text" as any })))
        yield* same([unencodable._tag, (unencodable as any).configKey], ["ConfigurationError", "value"], "payload")
        yield* failsAs(submit({} as any), "ConfigurationError NotATask", "a value that is not a task")
        yield* noTrace(events)
        yield* same(yield* execute(echo(1)), { value: 1 }, "the only place is free")
      }),
      { maxActiveTasks: 1 }
    ),
    needs(
      "executable",
      makeCase(
        "bad-command",
        "a command that cannot be run, or that could not be made, is refused with its field, and leaves nothing",
        Effect.gen(function* () {
          const events = yield* ExecutionBackend.events
          const wrong: ReadonlyArray<readonly [string, () => Task.Command]> = [
            ["executable", () => ({ executable: "" })],
            ["executable", () => ({}) as any],
            ["args[1]", () => ({ executable: "true", args: ["", 5 as any] })],
            ["args[0]", () => ({ executable: "true", args: ["\0"] })],
            ["env.A=B", () => ({ executable: "true", env: { "A=B": "" } })],
            ["stdin", () => ({ executable: "true", stdin: 5 as any })],
            ["command", () => undefined as any],
            [
              "command",
              () => {
                throw new Error("no")
              }
            ]
          ]
          for (const [key, command] of wrong) {
            const error = yield* Effect.flip(submit(Task.executable("Wrong", { command }).make()))
            yield* same([error._tag, (error as any).configKey], ["ConfigurationError", key], key)
          }
          yield* noTrace(events)
        })
      )
    ),
    makeCase(
      "wrong-kind",
      "a kind that the backend does not run is refused, and leaves nothing",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        for (const kind of Task.Kind.literals) {
          if (!subject.kinds.includes(kind)) yield* failsAs(asks(kind), "ConfigurationError UnsupportedKind", kind)
        }
        yield* noTrace(events)
        const { kinds } = yield* ExecutionBackend.ExecutionBackend
        yield* same([...kinds].sort(), [...subject.kinds].sort(), "the kinds it says it runs")
      })
    ),
    makeCase(
      "own-error",
      "a task's own failure arrives as itself",
      failsAs(execute(work({ how: "fail", value: 3 })), "Refused", "the task")
    ),
    makeCase(
      "user-defect",
      "a task that dies ends typed, as does one whose retry policy throws; what runs beside it and the backend go on",
      Effect.gen(function* () {
        const beside = yield* submit(hold())
        const exit = yield* Effect.exit(execute(work({ how: "die", value: 0 })))
        yield* check(/^TaskError (Defect|Signal)$/.test(endOf(exit)), `ended as ${endOf(exit)}`)
        const policy = () => {
          throw new Error("no")
        }
        yield* failsAs(execute(work({ how: "fail", value: 1 }, { retry: { while: policy } })), "Refused", "the policy")
        yield* same(yield* execute(echo(1)), { value: 1 }, "the next task")
        yield* untilState(beside, "EXECUTING")
        yield* Fiber.interrupt(beside)
        yield* nothingLeft
      })
    ),
    makeCase(
      "invalid-result",
      "a result that the success schema refuses is a typed failure",
      failsAs(execute(work({ how: "wrong", value: 0 })), "TaskError InvalidResult", "the task")
    ),
    makeCase(
      "retry",
      "a task that fails is tried again, and each retry is reported",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        const fiber = yield* submit(work({ how: "flaky", value: 3 }, { retry: { times: 5, schedule: again } }))
        yield* same(yield* Fiber.join(fiber), { value: 3 }, "result")
        const changes = yield* collect(events, 1)
        yield* same(
          changes.flatMap(({ attempt, state }) => (state === "EXECUTING" ? [attempt] : [])),
          [1, 2, 3],
          "attempts"
        )
        yield* same(changes.filter(({ state }) => state === "RETRYING").length, 2, "RETRYING events")
        yield* nothingLeft
      })
    ),
    makeCase(
      "retries-spent",
      "a task that fails every attempt ends with its last failure",
      failsAs(execute(work({ how: "fail", value: 1 }, { retry: { times: 2, schedule: again } })), "Refused", "the task")
    )
  ]
}
