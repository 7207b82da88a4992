/** The cases of a backend as a whole: its states, its errors, how it is configured and chosen, its engine, its end. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as BackendRegistry from "../../BackendRegistry.js"
import type { Values } from "../../Defaults.js"
import * as Defaults from "../../Defaults.js"
import { RhapsodyError } from "../../Errors.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import { TaskState } from "../../TaskState.js"
import { ConformanceError, check, endsAs, failsAs, nothingLeft, same, untilState, within } from "./check.js"
import type { CaseWithNeed } from "./fixture.js"
import { fixture, needs, withLayer } from "./fixture.js"
import { asks } from "./refusals.js"
import type { Subject } from "./subject.js"

/** The error after a round trip through JSON, as when it is sent to another process and back. */
const crossed = (error: unknown) =>
  Effect.gen(function* () {
    const known = yield* check(Schema.is(RhapsodyError)(error), `none of the three errors: ${error}`).pipe(
      Effect.as(error as RhapsodyError)
    )
    const wire = JSON.stringify(yield* Schema.encode(RhapsodyError)(known))
    const back = yield* Schema.decodeUnknown(RhapsodyError)(JSON.parse(wire))
    yield* same(JSON.stringify(yield* Schema.encode(RhapsodyError)(back)), wire, "the error after the round trip")
    yield* same(back.message, known.message, "its message")
    return known
  })

export const backendCases = (subject: Subject): ReadonlyArray<CaseWithNeed> => {
  const { failEngine, layer, service } = subject
  const { echo, hold, makeCase, opened, running, work } = fixture(subject)
  const { cancel, execute, submit } = ExecutionBackend
  const status = Effect.map(ExecutionBackend.state, ({ status }) => status)

  return [
    makeCase(
      "states",
      "the states of tasks by uid and of all; that of the backend with its counts; each native state has a meaning",
      Effect.gen(function* () {
        yield* same(yield* status, "INITIALIZED", "at first")
        const fiber = yield* running
        const { active, status: now } = yield* ExecutionBackend.state
        yield* same([now, active], ["RUNNING", 1], "while one runs")
        yield* same([...(yield* ExecutionBackend.taskStates)], [[fiber.uid, "EXECUTING"]], "all states")
        yield* Fiber.interrupt(fiber)
        yield* same(yield* status, "IDLE", "at last")
        yield* same([...(yield* ExecutionBackend.taskStates)], [[fiber.uid, "CANCELED"]], "all states after")
        const { nativeStates } = yield* ExecutionBackend.ExecutionBackend
        const meanings = Object.values(nativeStates).filter((meaning) => !Schema.is(TaskState)(meaning))
        yield* same(meanings, [], "meanings that are no state")
      })
    ),
    makeCase(
      "errors",
      "every failure is a TaskError, a BackendError or a ConfigurationError, names what failed, and survives a round trip through JSON",
      Effect.gen(function* () {
        const { type } = yield* ExecutionBackend.ExecutionBackend
        const ofTask = (uid: string, task: ReturnType<typeof echo>) =>
          Effect.gen(function* () {
            const error = yield* Effect.flatMap(Effect.flip(execute(task)), crossed)
            yield* same([error._tag, (error as any).taskUid], ["TaskError", uid], uid)
            yield* check(error.message.includes(uid), `whose message does not name ${uid}: ${error.message}`)
          })
        yield* ofTask("late", hold({ uid: "late", timeout: "50 millis" }))
        yield* ofTask("dead", work({ how: "die", value: 0 }, { uid: "dead" }))
        yield* ofTask("wrong", work({ how: "wrong", value: 0 }, { uid: "wrong" }))
        yield* running
        const waited = yield* Effect.flatMap(Effect.flip(ExecutionBackend.awaitAll({ timeout: "20 millis" })), crossed)
        yield* same([waited._tag, (waited as any).backendType], ["BackendError", type], "waiting")
        const twin = yield* Effect.flatMap(Effect.flip(submit(echo(1, { uid: "late" }))), crossed)
        yield* same([twin._tag, (twin as any).configKey], ["ConfigurationError", "uid"], "a duplicate")
      })
    ),
    {
      id: "defaults",
      title:
        "Defaults that its layer is provided with apply where a task says nothing: timeout, retries and their delay",
      run: Effect.gen(function* () {
        const by = (values: Partial<Values>, use: Effect.Effect<unknown, unknown, any>) =>
          withLayer(Layer.provide(layer(), Defaults.layer(values)), use)
        yield* by({ timeout: Duration.millis(100) }, failsAs(execute(hold()), "TaskError Timeout", "the task"))
        const flaky = work({ how: "flaky", value: 3 })
        yield* by({ retryAttempts: 2, retryDelay: Duration.millis(1) }, execute(flaky))
        yield* by({ retryAttempts: 1, retryDelay: Duration.millis(1) }, failsAs(execute(flaky), "Refused", "too few"))
        const own = { retry: { times: 0, schedule: Schedule.forever } }
        yield* by({ retryAttempts: 9 }, failsAs(execute(work({ how: "fail", value: 1 }, own)), "Refused", "the task"))
      })
    },
    {
      id: "registry",
      title: "chosen by name from a registry it is the same backend; an unknown name and a taken one are refused",
      run: Effect.gen(function* () {
        const entry = { name: "it", layer: () => layer() as BackendRegistry.BackendLayer }
        const other = yield* Effect.flip(BackendRegistry.register(entry))
        yield* same([other.reason, other.configKey], ["DuplicateBackend", "backend"], "a taken name")
        const unknown = yield* Effect.flip(Effect.scoped(Layer.build(BackendRegistry.layer("other"))))
        yield* same(unknown.reason, "UnknownBackend", "an unknown name")
        yield* check(unknown.message.includes("known: it"), unknown.message)
        const byDefault = Layer.provide(BackendRegistry.layer(), Defaults.layer({ backend: "it" }))
        for (const chosen of [BackendRegistry.layer("it"), byDefault]) {
          yield* Effect.gen(function* () {
            yield* same(yield* execute(echo(1)), { value: 1 }, "result")
            for (const kind of ["worker", "python"] as const) {
              if (!subject.kinds.includes(kind)) yield* failsAs(asks(kind), "ConfigurationError UnsupportedKind", kind)
            }
          }).pipe(Effect.provide(chosen as Layer.Layer<any, unknown>), Effect.scoped)
        }
      }).pipe(
        Effect.provide(
          BackendRegistry.layerEntries({ name: "it", layer: () => layer() as BackendRegistry.BackendLayer })
        )
      ) as Effect.Effect<unknown, unknown>
    },
    {
      id: "instances",
      title: "two of its layers are two backends: neither knows the tasks of the other, nor ends with it",
      run: Effect.scoped(
        Effect.gen(function* () {
          const scopes = yield* Effect.replicateEffect(
            Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void)),
            2
          )
          const [first, second] = yield* Effect.forEach(scopes, (scope) => Layer.buildWithScope(layer(), scope))
          const on =
            (context: typeof first) =>
            <A, E>(use: Effect.Effect<A, E, any>) =>
              Effect.provide(use, context!) as Effect.Effect<A, E>
          const start = Effect.tap(submit(hold({ uid: "same" })), (fiber) => untilState(fiber, "EXECUTING"))
          const mine = yield* on(first)(start)
          yield* same([...(yield* on(second)(ExecutionBackend.taskStates))], [], "what the second knows of the first's")
          const other = yield* on(second)(start)
          yield* Fiber.interrupt(mine)
          yield* Scope.close(scopes[0]!, Exit.void)
          yield* on(second)(untilState(other, "EXECUTING"))
          yield* same(yield* on(second)(execute(echo(1))), { value: 1 }, "the second's next task")
          yield* Fiber.interrupt(other)
          yield* same(yield* on(first)(cancel("same")), false, "cancel of it in the first")
          yield* on(second)(nothingLeft)
        })
      ) as Effect.Effect<unknown, unknown>
    },
    needs(
      "service",
      makeCase(
        "service",
        "a service is started, reports when it is ready, runs, and is stopped when its scope closes",
        Effect.gen(function* () {
          if (service === undefined) return yield* new ConformanceError({ message: "the subject names no service" })
          const uid = yield* Effect.scoped(
            Effect.gen(function* () {
              const { exited, uid } = yield* ExecutionBackend.start(service)
              yield* same((yield* ExecutionBackend.taskStates).get(uid), "EXECUTING", "when it is ready")
              yield* same(yield* Effect.timeoutTo(exited, endless), "runs", "after its start")
              return uid
            })
          )
          yield* same((yield* ExecutionBackend.taskStates).get(uid), "CANCELED", "when its scope is closed")
          yield* nothingLeft
        })
      )
    ),
    needs(
      "failEngine",
      makeCase(
        "lost",
        "when its engine crashes, every task ends as Lost, later submissions are refused, and the state of the backend is FAILED",
        Effect.gen(function* () {
          const fibers = yield* Effect.replicateEffect(running, 3)
          yield* failEngine ?? Effect.void
          for (const fiber of fibers) yield* endsAs(fiber, "BackendError Lost", fiber.uid)
          yield* failsAs(execute(echo(1)), "BackendError Lost", "a later task")
          yield* same(yield* status, "FAILED", "the backend")
          yield* nothingLeft
        })
      )
    ),
    {
      id: "close",
      title: "closing the layer with work pending ends every task as Canceled, and later submissions are refused",
      run: Effect.gen(function* () {
        const [fibers, context] = yield* opened(
          Effect.gen(function* () {
            const fibers = yield* Effect.replicateEffect(submit(hold()), 30)
            return [fibers, yield* Effect.context<any>()] as const
          })
        )
        for (const fiber of fibers) yield* endsAs(fiber, "TaskError Canceled", fiber.uid)
        const closed = <A, E>(use: Effect.Effect<A, E, any>) => Effect.provide(use, context) as Effect.Effect<A, E>
        yield* failsAs(closed(submit(echo(1))), "BackendError Closed", "a later submission")
        yield* failsAs(closed(execute(echo(1))), "BackendError Closed", "a later execution")
        yield* same(yield* closed(status), "SHUTDOWN", "the backend")
        yield* closed(nothingLeft)
      })
    },
    makeCase(
      "terminate",
      "terminate ends everything within 2 seconds, and may be called again",
      Effect.gen(function* () {
        const fibers = yield* Effect.replicateEffect(submit(hold()), 5)
        yield* within(ExecutionBackend.terminate, "terminate", 2)
        for (const fiber of fibers) yield* endsAs(fiber, "TaskError Canceled", fiber.uid)
        yield* failsAs(submit(echo(1)), "BackendError Closed", "a later submission")
        yield* within(ExecutionBackend.terminate, "terminate", 2)
        yield* same(yield* status, "SHUTDOWN", "the backend")
      })
    )
  ]
}

const endless = { duration: "20 millis", onSuccess: () => "ended", onTimeout: () => "runs" } as const
