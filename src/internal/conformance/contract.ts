/** The rows of submission: what is accepted, what is refused, and what comes back. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Row, Subject } from "../../Conformance.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import * as Task from "../../Task.js"
import type { StateChange, TaskState } from "../../TaskState.js"
import { isTerminal } from "../../TaskState.js"
import { check, endOf, endsAs, failsAs, nothingLeft, same, until, untilState } from "./check.js"
import { tools } from "./tools.js"

const again = Schedule.forever

export const contract = (subject: Subject): ReadonlyArray<Row> => {
  const { echo, hold, row, work } = tools(subject)
  const { cancel, execute, submit } = ExecutionBackend

  return [
    row(
      "submit",
      "a submitted task has a fiber with its result, and goes through the states in order",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        const fiber = yield* submit(echo(7))
        yield* same(yield* Fiber.join(fiber), { value: 7 }, "result")
        const changes = yield* events.pipe(
          Stream.filter((event): event is StateChange => event._tag === "StateChange"),
          Stream.takeUntil(({ state }) => isTerminal(state)),
          Stream.runCollect
        )
        yield* same(
          [...changes].map(({ state }) => state),
          ["NEW", "READY", "EXECUTING", "COMPLETED"],
          "states"
        )
        yield* nothingLeft
      })
    ),
    row(
      "submit-many",
      "several keep their order; a wrong one is refused and the others go on",
      Effect.gen(function* () {
        const answers = yield* ExecutionBackend.submitMany([echo(1), echo(2, { uid: "" }), echo(3)])
        yield* same(answers.map(Either.isRight), [true, false, true], "accepted")
        const fibers = answers.flatMap((answer) => (Either.isRight(answer) ? [answer.right] : []))
        const results = yield* Effect.forEach(fibers, (fiber) => Fiber.join(fiber))
        yield* same(results, [{ value: 1 }, { value: 3 }], "results")
      })
    ),
    row(
      "submit-atomic",
      "all or none: one that is refused refuses all, and nothing is left of them",
      Effect.gen(function* () {
        const tasks = [echo(1, { uid: "a" }), echo(2, { uid: "a" })]
        yield* failsAs(
          ExecutionBackend.submitMany(tasks, { atomic: true }),
          "ConfigurationError DuplicateUid",
          "the batch"
        )
        yield* same(Option.isNone(yield* ExecutionBackend.taskState("a")), true, "nothing of the batch is known")
        const fibers = yield* ExecutionBackend.submitMany([echo(1), echo(2)], { atomic: true })
        yield* same([...(yield* Fiber.joinAll(fibers))], [{ value: 1 }, { value: 2 }], "results")
      })
    ),
    row(
      "submit-all",
      "a stream of tasks gives a stream of their ends, more than are admitted at a time",
      Effect.gen(function* () {
        const ends = yield* Stream.runCollect(
          ExecutionBackend.submitAll(Stream.map(Stream.range(1, 100), (i) => echo(i)))
        )
        const sum = [...ends].reduce((sum, { exit }) => sum + (Exit.isSuccess(exit) ? exit.value.value : Number.NaN), 0)
        yield* same(sum, 5050, "the sum of all results")
        yield* nothingLeft
      }),
      { admission: 10 }
    ),
    row(
      "execute",
      "execute is the caller: interrupting it stops the work",
      Effect.gen(function* () {
        yield* same(yield* execute(echo(5)), { value: 5 }, "result")
        const caller = yield* Effect.fork(execute(hold({ uid: "x" })))
        yield* until(Effect.map(ExecutionBackend.taskState("x"), Option.contains<TaskState>("EXECUTING")))
        yield* Fiber.interrupt(caller)
        yield* same(Option.getOrNull(yield* ExecutionBackend.taskState("x")), "CANCELED", "state")
        yield* nothingLeft
      })
    ),
    row(
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
    row(
      "duplicate-uid",
      "a uid is refused while it lives and while it is remembered",
      Effect.gen(function* () {
        const fiber = yield* submit(hold({ uid: "same" }))
        yield* failsAs(submit(echo(1, { uid: "same" })), "ConfigurationError DuplicateUid", "while it lives")
        yield* cancel("same")
        yield* failsAs(submit(echo(1, { uid: "same" })), "ConfigurationError DuplicateUid", "after its end")
        yield* endsAs(fiber, "TaskError Canceled", "the first")
        yield* nothingLeft
      })
    ),
    row(
      "bad-input",
      "what is wrong with a request is told at once, with the field, and leaves nothing",
      Effect.gen(function* () {
        const wrong: ReadonlyArray<readonly [string, Task.Options<any>]> = [
          ["uid", { uid: "a/b" }],
          ["timeout", { timeout: -1 }],
          ["retry.times", { retry: { times: -1 } }],
          ["priority", { priority: Number.NaN }],
          ["resources.cores", { resources: { cores: -1 } }],
          ["settings", { settings: Task.settings("of-nobody", Schema.Struct({}))({}) }]
        ]
        for (const [key, options] of wrong) {
          const error = yield* Effect.flip(submit(echo(1, options)))
          yield* same([error._tag, (error as any).configKey], ["ConfigurationError", key], `options ${key}`)
        }
        const unencodable = yield* Effect.flip(submit(work({ how: "echo", value: "text" as any })))
        yield* same([unencodable._tag, (unencodable as any).configKey], ["ConfigurationError", "value"], "payload")
        yield* nothingLeft
      })
    ),
    row(
      "wrong-kind",
      "a kind that the backend does not run is refused, and it says which it runs",
      Effect.gen(function* () {
        const backend = yield* ExecutionBackend.ExecutionBackend
        const foreign = others.filter((task) => !subject.kinds.includes(task.task.kind))
        for (const task of foreign) {
          yield* failsAs(
            backend.submit(task as Task.Instance<any, any, never>),
            "ConfigurationError UnsupportedKind",
            task.task.kind
          )
        }
        yield* nothingLeft
      })
    ),
    row(
      "own-error",
      "a task's own failure arrives as itself",
      failsAs(execute(work({ how: "fail", value: 3 })), "Refused", "the task")
    ),
    row(
      "user-defect",
      "a task that dies ends typed, and the backend goes on",
      Effect.gen(function* () {
        const exit = yield* Effect.exit(execute(work({ how: "die", value: 0 })))
        yield* check(/^TaskError (Defect|Signal)$/.test(endOf(exit)), `ended as ${endOf(exit)}`)
        yield* same(yield* execute(echo(1)), { value: 1 }, "the next task")
        yield* nothingLeft
      })
    ),
    row(
      "invalid-result",
      "a result that the success schema refuses is a typed failure",
      failsAs(execute(work({ how: "wrong", value: 0 })), "TaskError InvalidResult", "the task")
    ),
    row(
      "retry",
      "a task that fails is tried again, and is told to be",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        const fiber = yield* submit(work({ how: "flaky", value: 3 }, { retry: { times: 5, schedule: again } }))
        yield* same(yield* Fiber.join(fiber), { value: 3 }, "result")
        const changes = yield* Stream.runCollect(
          Stream.takeUntil(events, (e) => e._tag === "StateChange" && isTerminal(e.state))
        )
        const attempts = [...changes].filter((e) => e._tag === "StateChange" && e.state === "RETRYING").length
        yield* same(attempts, 2, "RETRYING events")
        yield* nothingLeft
      })
    ),
    row(
      "retries-spent",
      "a task that fails every attempt ends with its last failure",
      failsAs(execute(work({ how: "fail", value: 1 }, { retry: { times: 2, schedule: again } })), "Refused", "the task")
    )
  ]
}

/** One of each kind that no backend of ours has work for: for the refusal of what is not run. */
const others: ReadonlyArray<Task.Unit> = [
  Task.executable("Foreign", { command: () => ({ executable: "true" }) }).make(),
  Task.function("Foreign").make(),
  Task.worker("Foreign", { module: new URL("file:///foreign.js"), export: "foreign" }).make(),
  Task.python("Foreign", { callable: "foreign:foreign" }).make()
]
