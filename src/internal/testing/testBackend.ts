/** What stands behind `TestBackend`: a driver that asks stubs, and the hold that a test has on it. */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Outcome, ProcessExit, SlotDriver, Spec } from "../../Driver.js"
import * as Drivers from "../../Driver.js"
import type { TaskError } from "../../Errors.js"
import { BackendError, ConfigurationError, isBackendError } from "../../Errors.js"
import type { HandlerService, Kind } from "../../Task.js"
import type { Issue } from "../codec.js"
import { encodeFailure, handlerTag } from "../definition.js"
import { limitChecks } from "../engine/submit/limits.js"
import type { Check, Checks } from "../options/values.js"
import { callback, count, fields, flag, isRecord, list, mustBe } from "../options/values.js"
import type { Answer, Control, Failure, Match, Options, Stub, Submission } from "./stubs.js"

const type = "test"

type Call = Pick<Spec, "attempt" | "payload" | "uid">
interface Answered {
  readonly outcome: Outcome
  readonly exited?: Answer["exited"]
}

const invalid =
  (reason: "InvalidPayload" | "InvalidResult") =>
  ({ message }: Issue): Answered => ({ outcome: { _tag: "Invalid", reason, message } })

/** Asks a stub as a handler is asked: encoded payload to encoded outcome. */
const ask = ({ answer, task }: Stub<unknown>, { attempt, payload, uid }: Call) =>
  Effect.gen(function* () {
    const { codec } = task
    const decoded = yield* Effect.mapError(codec.decodePayload(payload), invalid("InvalidPayload"))
    const answered = yield* Effect.either(answer(decoded, { uid, attempt }))
    if (Either.isLeft(answered)) {
      return { outcome: yield* encodeFailure(task, answered.left) }
    }
    const { exited, info } = answered.right
    const value = yield* Effect.mapError(codec.encodeSuccess(info), invalid("InvalidResult"))
    return { outcome: Drivers.Outcome.success(value), exited }
  }).pipe((asked: Effect.Effect<Answered, Answered, Scope.Scope>) => Effect.merge(asked))

const outcomeOf = (stub: Stub<unknown>, call: Call): Effect.Effect<Outcome> =>
  Effect.scoped(Effect.map(ask(stub, call), ({ outcome }) => outcome))

/** A service has no exit that is not a failure. */
const ended = (spec: Spec, exit: ProcessExit): TaskError =>
  exit.signal === undefined
    ? Drivers.taskError(spec, "Exit", { exitCode: exit.exitCode ?? 0, exit })
    : Drivers.taskError(spec, "Signal", { signal: exit.signal, exit })

const loss = () =>
  new BackendError({ backendType: type, reason: "Lost", details: { message: "the test called failEngine" } })

/** Neither the work nor what it has forked can be stopped: an interruption waits for its end. */
const toItsEnd = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptible(Effect.flatMap(Effect.forkDaemon(Effect.interruptible(work)), Fiber.join))

const matches = (match: Match, submission: Submission): boolean =>
  typeof match === "string"
    ? match === submission.name
    : Object.entries(match).every(([key, value]) => submission[key as keyof Submission] === value)

const refuse = (configKey: string, reason: ConfigurationError["reason"], message: string) =>
  new ConfigurationError({ configKey, reason, details: { message } })

/** In the order of starting, the oldest dropped. */
class Log {
  private readonly all: Array<Submission> = []
  constructor(private readonly limit: number) {}
  add(submission: Submission): void {
    this.all.push(submission)
    // not one by one, which would move all the others each time
    if (this.all.length > 2 * this.limit) this.all.splice(0, this.all.length - this.limit)
  }
  get(): ReadonlyArray<Submission> {
    return this.all.slice(Math.max(0, this.all.length - this.limit))
  }
}

const isStub: Check = (key, value) =>
  isRecord(value) && "task" in value && "answer" in value
    ? undefined
    : mustBe(key, "what TestBackend.stub makes", value)

const checks: Checks<Options> = {
  ...limitChecks,
  stubs: list("an array of stubs", isStub),
  // the driver's are checked with the driver
  concurrency: () => undefined,
  cancelable: flag,
  settings: callback,
  record: count()
}
const optionFields = fields(checks, "an option of TestBackend")

export const make = Effect.fnUntraced(function* (options: Options) {
  const wrong = optionFields("", options)
  if (wrong !== undefined) return yield* wrong
  const { cancelable = true, concurrency = "unbounded", record = 10_000, settings, stubs = [] } = options
  const byName = new Map(stubs.map((stub) => [stub.task.name, stub]))
  const seen = new Log(record)
  const failures: Array<{ readonly match: Match; readonly failure: Failure }> = []
  const lost = yield* Deferred.make<BackendError>()

  const next = (submission: Submission): Failure | undefined => {
    const index = failures.findIndex(({ match }) => matches(match, submission))
    return index === -1 ? undefined : failures.splice(index, 1)[0]!.failure
  }

  const attempt = <A, E, R>(
    spec: Spec,
    work: Effect.Effect<A, E, R>,
    exited: (exit: ProcessExit) => Effect.Effect<A, E | TaskError>
  ): Effect.Effect<A, E | TaskError | BackendError, R> =>
    Effect.suspend((): Effect.Effect<A, E | TaskError | BackendError, R> => {
      const submission = { ...spec, kind: spec.work._tag }
      seen.add(submission)
      const failure = next(submission)
      if (failure === undefined) return cancelable ? work : toItsEnd(work)
      if (isBackendError(failure)) return Effect.fail(failure)
      return typeof failure === "string"
        ? Effect.fail(Drivers.taskError(spec, failure, { details: { message: "the test called failNext" } }))
        : exited(failure)
    })

  const missing = (name: string) => `task ${name} has no stub here; give TestBackend.stub(${name}, ...) to the layer`

  const driver: SlotDriver = {
    type,
    kinds: ["executable", "function", "worker", "python", "service"] satisfies ReadonlyArray<Kind>,
    concurrency,
    // as the backend that it stands for would
    honours: Drivers.everyOption,
    cancelable,
    ...(settings === undefined ? {} : { settings }),
    lost: Deferred.await(lost),
    check: ({ name, work }, { handler }) => {
      const stub = byName.get(name)
      if (stub === undefined) {
        return work._tag === "function" ? Effect.void : Effect.fail(refuse("stubs", "WrongHandler", missing(name)))
      }
      // of other kinds than functions, a driver does not see the definition
      const known = work._tag === "function" ? handler?.task === stub.task : work._tag === stub.task.kind
      const message = `the stub for ${name} belongs to another definition of that name; rename one of them`
      return known ? Effect.void : Effect.fail(refuse("stubs", "WrongHandler", message))
    },
    run: (spec, hooks) => {
      const stub = byName.get(spec.name)
      const answer =
        stub !== undefined
          ? outcomeOf(stub, spec)
          : spec.work._tag === "function"
            ? Drivers.runHandler(spec, hooks)
            : Effect.dieMessage(missing(spec.name))
      return attempt(spec, answer, (exit) => Effect.succeed(Drivers.Outcome.exited(exit)))
    },
    serve: (spec) =>
      Effect.flatMap(
        attempt(spec, ask(byName.get(spec.name)!, spec), (exit) => Effect.fail(ended(spec, exit))),
        ({ exited = Effect.never, outcome }) => {
          if (outcome._tag === "Success") {
            const end = Effect.flatMap(exited, (exit) => Effect.fail(ended(spec, exit)))
            return Effect.succeed({ info: outcome.value, exited: end })
          }
          // the stub of a service has no failure of its own, so what is left is Invalid
          const { message, reason } = outcome as Extract<Outcome, { readonly _tag: "Invalid" }>
          return Effect.fail(Drivers.taskError(spec, reason, { details: { message } }))
        }
      )
  }

  const service: Control = {
    submissions: Effect.sync(() => seen.get()),
    failNext: (match, failure) => Effect.sync(() => void failures.push({ match, failure })),
    failEngine: Effect.zipRight(
      Effect.suspend(() => Deferred.succeed(lost, loss())),
      // the backend hears of it before its caller goes on
      Effect.yieldNow()
    )
  }

  const handlers = [...byName.values()].reduce<Context.Context<any>>(
    (context, stub) => {
      if (stub.task.kind !== "function") return context
      const handler: HandlerService = {
        task: stub.task,
        run: (payload, info) => outcomeOf(stub, { ...info, payload })
      }
      return Context.add(context, handlerTag(stub.task.name), handler)
    },
    Context.empty() as Context.Context<any>
  )

  return { driver, handlers, service }
})
