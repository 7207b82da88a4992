// A case that cannot fail promises nothing: each runs over a backend that breaks its promise, and has to fail.

import { afterAll, assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Layer, Option, Redacted, Scope, Stream } from "effect"
import type { Task } from "effect-rhapsody"
import { Backend, ConcurrentBackend, Defaults, Driver, ExecutionBackend } from "effect-rhapsody"
import { BackendError, ConfigurationError, TaskError } from "effect-rhapsody/Errors"
import { Conformance } from "effect-rhapsody/testing"
import { subjects } from "./subjects.js"

type Service = ExecutionBackend.Backend
type Slots = Driver.SlotDriver<"executable" | "function">
type Build = Conformance.Subject["layer"]
const { Outcome } = Driver

const named = (name: string) => subjects.find((subject) => subject.name === name)!
const functions = named("Concurrent, functions")
const programs = named("Concurrent, by Node")
const test = named("Test")

/** A subject with another layer, and without waivers for the cases that must fail. */
const broken = (subject: Conformance.Subject, layer: Build): Conformance.Subject => ({
  ...subject,
  layer,
  waivers: {}
})

/** Over the driver of Concurrent. */
const driven = (subject: Conformance.Subject, change: (inner: Slots) => Partial<Slots>) =>
  broken(subject, (options) =>
    Layer.merge(
      Backend.layer(
        Effect.map(
          ConcurrentBackend.driver({ maxWorkers: 4, forceKillAfter: "200 millis", launcher: "node" }),
          (inner) => ({
            ...inner,
            kinds: subject.kinds as ReadonlyArray<"executable" | "function">,
            ...change(inner)
          })
        ),
        options
      ),
      Conformance.FunctionWorkLive
    )
  )
/** Over what a driver runs. */
const ran = (
  subject: Conformance.Subject,
  change: (
    run: ReturnType<Slots["run"]>,
    spec: Driver.Spec<"executable" | "function">,
    hooks: Driver.SlotHooks,
    inner: Slots
  ) => ReturnType<Slots["run"]>,
  more: Partial<Slots> = {}
) =>
  driven(subject, (inner) => ({
    ...more,
    run: (spec, hooks) =>
      change(
        Effect.suspend(() => inner.run(spec, hooks)),
        spec,
        hooks,
        inner
      )
  }))
/** Over the program that a driver is given. */
const started = (change: (program: Driver.Executable) => Partial<Driver.Executable>) =>
  driven(programs, (inner) => ({
    run: (spec, hooks) =>
      inner.run({ ...spec, work: { ...spec.work, ...change(spec.work as Driver.Executable) } as any }, hooks)
  }))
/** Without all that was asked for beside the command. */
const bare = ({ capture, ...program }: Driver.Executable): Driver.Executable => ({
  ...program,
  capture: {
    ...capture,
    limit: 1e6,
    overflow: "fail",
    mergeStderr: false,
    append: false,
    makeDirectories: false,
    streaming: false
  },
  preExec: [],
  sandbox: false,
  rlimits: undefined,
  nice: undefined,
  orphans: "kill"
})
/** Over how a program ended. */
const exited = (change: (exit: Driver.ProcessExit) => Driver.ProcessExit) =>
  ran(programs, (run) =>
    Effect.map(run, (outcome) => (outcome._tag === "Exited" ? Outcome.exited(change(outcome.exit)) : outcome))
  )
/** Over the service itself, as of a backend that does not use this library's engine. */
const served = (subject: Conformance.Subject, change: (service: Service) => Partial<Service>) =>
  broken(subject, (options) =>
    Layer.map(subject.layer(options), (context) => {
      const service = Context.unsafeGet(context, ExecutionBackend.ExecutionBackend) as Service
      const changed = { ...service, ...change(service) }
      return subject.kinds.reduce<Context.Context<any>>(
        (context, kind) => Context.add(context, Backend.forKind(kind), changed),
        Context.add(context, ExecutionBackend.ExecutionBackend, changed)
      )
    })
  )
/** Over the tasks that are submitted one by one. */
const resubmitted = (change: (task: any) => any) =>
  served(functions, ({ execute, submit }) => ({
    submit: (task) => Effect.suspend(() => submit(change(task))),
    execute: (task) => Effect.suspend(() => execute(change(task)))
  }))
const refused = (change: (error: ExecutionBackend.SubmitError) => ExecutionBackend.SubmitError) =>
  served(functions, ({ submit }) => ({ submit: (task) => Effect.mapError(submit(task), change) }))
const withOptions = (task: any, options: Task.Options) => Object.assign(Object.create(task), { options })

/** It goes on when it is asked to stop, and its end is reported nevertheless. */
const leftBehind = (subject: Conformance.Subject) =>
  ran(subject, (run) =>
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(run)), (fiber) => {
      strays.push(fiber)
      return Effect.onInterrupt(Fiber.join(fiber), () => Effect.void)
    })
  )
const strays: Array<Fiber.RuntimeFiber<unknown, unknown>> = []
const timers: Array<NodeJS.Timeout> = []
const keepTimer = () => timers.push(setTimeout(() => {}, 3_600_000))
const global = new Map<string, unknown>()

const rejected = new BackendError({ backendType: "other", reason: "Rejected" })

const mutants: Record<string, readonly [subject: Conformance.Subject, ...fails: ReadonlyArray<string>]> = {
  // -------------------------------------------------------------------------------------------------------- the driver
  "has every task answer the same": [
    ran(functions, () => Effect.succeed(Outcome.success({ value: 7 }))),
    "own-error",
    "retries-spent",
    "uids"
  ],
  "leaves the work behind when it is stopped": [leftBehind(functions), "stopped"],
  "kills its programs on SIGTERM": [
    { ...programs, orchestrator: ["setsid", "sh", "-c", `trap 'kill -9 0' TERM; sh -c "$RHAPSODY_SCRIPT" & wait`] },
    "process-sigterm"
  ],
  "leaves its programs behind when it is killed": [
    { ...programs, waivers: {}, orchestrator: ["sh", "-c", "setsid sleep 15 & setsid sleep 15 & wait"] },
    "process-orchestrator-killed",
    "process-orchestrator-killed-escape"
  ],
  "leaves processes behind when it is stopped": [
    leftBehind(programs),
    "process-cancel",
    "process-interrupt",
    "process-timeout",
    "process-close"
  ],
  "answers from what it remembers": [
    ran(functions, (run, { payload }) => {
      const key = JSON.stringify(payload)
      return global.has(key)
        ? Effect.succeed(global.get(key) as Driver.Outcome)
        : Effect.tap(run, (outcome) => {
            if (outcome._tag === "Success") global.set(key, outcome)
          })
    }),
    "resubmit"
  ],
  "retries by itself": [
    ran(functions, (run, spec, hooks, inner) =>
      Effect.flatMap(run, (outcome) =>
        outcome._tag === "Failure"
          ? inner.run({ ...spec, attempt: 9 }, { ...hooks, executing: Effect.void, unsafeExecuting: () => {} })
          : Effect.succeed(outcome)
      )
    ),
    "retry"
  ],
  "says that what died has succeeded": [
    ran(functions, (run) => Effect.catchAllDefect(run, () => Effect.succeed(Outcome.success({ value: 0 })))),
    "user-defect"
  ],
  "reports the failure of another task": [
    ran(functions, (run) =>
      Effect.catchAllDefect(run, () =>
        Effect.fail(new TaskError({ taskUid: "other", task: "Other", reason: "Defect" }))
      )
    ),
    "errors"
  ],
  "does not encode its results": [
    ran(functions, (run) =>
      Effect.map(run, (outcome) => (outcome._tag === "Invalid" ? Outcome.success({ value: 0 }) : outcome))
    ),
    "invalid-result"
  ],
  "logs its environment": [
    ran(programs, (run, _, { secrets }) =>
      Effect.zipRight(Effect.logTrace([...secrets.values()].map(Redacted.value)), run)
    ),
    "secrets"
  ],
  "fails with its environment": [
    ran(programs, (run, spec, { secrets }) =>
      Effect.flatMap(run, () => {
        const env = [...secrets.values()].map(Redacted.value)
        return Effect.fail(Driver.taskError(spec, "Failed", { details: { env } }))
      })
    ),
    "secrets",
    "process-secrets"
  ],
  "keeps a timer for each attempt": [ran(functions, (run) => Effect.zipRight(Effect.sync(keepTimer), run)), "leaks"],
  "has no bound of its own": [driven(functions, () => ({ concurrency: "unbounded" })), "slots", "priority"],
  "is one backend in all of its layers": [
    ran(functions, (run, spec) =>
      Effect.suspend(() => {
        if (global.has(spec.uid)) return Effect.fail(rejected)
        global.set(spec.uid, true)
        return Effect.onExit(run, () => Effect.sync(() => global.delete(spec.uid)))
      })
    ),
    "instances"
  ],
  "does not hear that its engine is lost": [{ ...test, failEngine: Effect.void }, "lost"],

  // ------------------------------------------------------------------------------------------------------- the programs
  "runs them where it is itself": [started(() => ({ cwd: undefined })), "process-cwd", "process-launch"],
  "trims arguments": [
    started(({ args }) => ({ args: args.map((arg) => (typeof arg === "string" ? arg.trim() : arg)) })),
    "process-arguments"
  ],
  "decodes arguments": [
    started(({ args, env }) => ({
      args: args.map((arg) => new TextDecoder().decode(arg as Uint8Array)),
      env: Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value as string]))
    })),
    "process-bytes"
  ],
  "gives no environment": [
    started(() => ({ env: {} })),
    "process-environment",
    "process-secrets",
    "process-dictionary"
  ],
  "gives no input": [started(() => ({ stdin: undefined })), "process-input", "honours-stdin-file"],
  "looks for nothing but bare programs": [
    driven(programs, (inner) => ({
      check: () => Effect.void,
      run: (spec, hooks) =>
        inner.run({ ...spec, work: bare(spec.work as Driver.Executable) }, { ...hooks, onChunk: undefined })
    })),
    ...[
      "append",
      "make-directories",
      "merge-stderr",
      "overflow",
      "on-chunk",
      "preExec",
      "sandbox",
      "rlimits",
      "nice",
      "orphans"
    ].map((option) => `honours-${option}`)
  ],
  "finds out late that it has no GPUs": [
    ran(functions, (run, { resources }) => (resources.gpus === 1 ? Effect.fail(rejected) : run), {
      honours: Driver.everyOption
    }),
    "honours-resources"
  ],
  "captures to memory": [
    started(({ capture }) => ({ capture: { ...capture, limit: 1e9, stdout: undefined, stderr: undefined } })),
    "process-output-files",
    "honours-append",
    "honours-make-directories"
  ],
  "keeps half a megabyte": [
    exited((exit) => ({ ...exit, stdout: (exit.stdout as Uint8Array).subarray(0, 500_000) })),
    "process-output"
  ],
  "keeps all output": [
    started(({ capture }) => ({ capture: { ...capture, limit: 1e6 }, args: ["-c", "head -c 200000 /dev/zero"] })),
    "process-output-limit"
  ],
  "decodes output": [
    exited((exit) => ({ ...exit, stdout: new TextDecoder().decode(exit.stdout as Uint8Array) })),
    "process-output-bytes"
  ],
  "forgets what a stopped program printed": [
    driven(programs, (inner) => ({ run: (spec, hooks) => inner.run(spec, { ...hooks, stopped: () => {} }) })),
    "process-last-words"
  ],
  "knows no exit codes but 1": [exited((exit) => ({ ...exit, exitCode: exit.exitCode === 0 ? 0 : 1 })), "process-exit"],
  "reports signals as a shell does": [
    exited(({ signal, ...exit }) => (signal === undefined ? exit : { ...exit, exitCode: 137 })),
    "process-signal"
  ],
  "lets a program leave what it likes": [
    started(({ args }) => ({
      args: args.map((arg) =>
        String(arg).replace("sleep 3600 >", "setsid sleep 3 >").replace("& echo", "& sleep 0.3; echo")
      )
    })),
    "process-orphans"
  ],
  "crashes at what its users write": [
    served(programs, ({ execute }) => ({
      execute: (task) =>
        Effect.catchAll(execute(task), (error) =>
          (error as Partial<TaskError>).reason === "Defect" ? Effect.die(error) : Effect.fail(error)
        ) as ReturnType<typeof execute<typeof task>>
    })),
    "process-user-code"
  ],
  "stops the process group alone": [broken(programs, programs.layer), "process-escape"],
  "takes its time to terminate": [
    served(programs, () => ({ terminate: Effect.sleep("20 seconds") })),
    "process-terminate",
    "terminate"
  ],

  // -------------------------------------------------------------------------------------------------------- the service
  "numbers tasks whatever they are called": [
    resubmitted((task) =>
      task.options.uid === undefined
        ? withOptions(task, { ...task.options, uid: `task.${String(++serial).padStart(6, "0")}` })
        : task
    ),
    "uids"
  ],
  "takes a uid twice": [
    served(functions, ({ submit, taskState }) => ({
      submit: (task) =>
        Effect.flatMap(Effect.option(taskState(task.options?.uid ?? "")), (state) =>
          submit(
            Option.isSome(Option.flatten(state)) ? withOptions(task, { ...task.options, uid: undefined as any }) : task
          )
        )
    })),
    "duplicate-uid",
    "errors"
  ],
  "forgets the options": [
    resubmitted((task) => withOptions(task, {})),
    "bad-input",
    "timeout",
    "cancel-retrying",
    "retry",
    "priority"
  ],
  "names no field": [
    refused((error) =>
      error._tag === "ConfigurationError" ? new ConfigurationError({ reason: error.reason }) : error
    ),
    "bad-input"
  ],
  "takes any command": [
    served(programs, ({ submit }) => ({
      submit: (task) =>
        Effect.orElse(submit(task), () => submit(Conformance.ExecutableWork.make({ how: "echo", value: 1 }))) as any
    })) as Conformance.Subject,
    "bad-command"
  ],
  "refuses what it does not run as if it were crowded": [
    refused((error) => (error.reason === "UnsupportedKind" ? rejected : error)),
    "wrong-kind",
    "registry"
  ],
  "shows only what has ended": [
    served(functions, ({ events }) => ({
      events: Effect.map(
        events,
        Stream.filter((event) => event._tag !== "StateChange" || event.state !== "EXECUTING")
      )
    })),
    "submit",
    "events",
    "subscribers"
  ],
  "answers several from the last to the first": [
    served(functions, ({ submitMany }) => ({
      submitMany: ((tasks: Iterable<any>, options: any) =>
        Effect.map(submitMany(tasks, options) as any, (all: any) => all.reverse())) as any
    })),
    "submit-many"
  ],
  "takes some of all or none": [
    served(functions, ({ submitMany }) => ({
      submitMany: ((tasks: Iterable<any>, options: any) =>
        Effect.tapError(submitMany(tasks, options) as any, () => submitMany([...tasks].slice(0, 1)))) as any
    })),
    "submit-atomic"
  ],
  "loses some of a stream": [
    served(functions, ({ submitScoped }) => ({
      submitScoped: (task) => submitScoped((task as any).payload.value === 7 ? withOptions(task, { uid: "/" }) : task)
    })),
    "submit-all"
  ],
  "executes for others": [
    served(functions, ({ submit }) => ({
      execute: (task) =>
        Effect.flatMap(submit(task), (fiber) => Effect.onInterrupt(Fiber.join(fiber), () => Effect.void))
    })),
    "execute"
  ],
  "knows no scopes": [served(functions, ({ submit }) => ({ submitScoped: submit })), "submit-scoped"],
  "cancels nothing": [
    served(functions, () => ({ cancel: () => Effect.succeed(true), cancelAll: Effect.succeed(20) })),
    "cancel",
    "cancel-all"
  ],
  "counts what has ended": [
    served(functions, ({ cancelAll, taskStates }) => ({
      cancelAll: Effect.zipRight(
        cancelAll,
        Effect.map(taskStates, ({ size }) => size)
      )
    })),
    "cancel-all"
  ],
  "knows no end": [
    served(functions, () => ({
      taskState: () => Effect.succeed(Option.some("EXECUTING" as const)),
      state: Effect.succeed({
        type: "mutant",
        name: "mutant",
        status: "RUNNING" as const,
        waiting: 0,
        queued: 0,
        active: 0
      })
    })),
    "interrupt",
    "states",
    "close"
  ],
  "cancels what was waited for too long": [
    served(functions, ({ awaitAll, cancelAll }) => ({
      awaitAll: (options) => Effect.tapError(awaitAll(options), () => cancelAll)
    })),
    "await-all"
  ],
  "waits for all as if none failed": [
    served(functions, () => ({ awaitAll: () => Effect.succeed(Object.assign(new Map(), { forgotten: 0 })) })),
    "await-all",
    "fail-fast"
  ],
  "calls the last subscriber alone": [
    served(functions, ({ onStateChange }) => {
      let last: unknown
      return {
        onStateChange: (callback) => {
          last = callback
          return onStateChange((task, state) => (last === callback ? callback(task, state) : undefined))
        }
      }
    }),
    "subscribers"
  ],
  "knows no limits": [
    broken(functions, () => functions.layer()),
    "max-active-tasks",
    "history-size",
    "submit-atomic",
    "subscribers"
  ],
  "knows no defaults": [
    broken(functions, (options) => Layer.provide(functions.layer(options), Defaults.layer({}))),
    "defaults"
  ],
  "waits for what does not heed its stop": [
    served(functions, ({ cancel }) => ({ cancel: (target) => Effect.delay(cancel(target), "11 seconds") })),
    "stop-bound"
  ],
  "is never closed": [
    broken(functions, (options) =>
      Layer.effectContext(
        Effect.flatMap(Scope.make(), (scope) => Layer.buildWithScope(functions.layer(options), scope))
      )
    ),
    "close"
  ],
  "never stops a service": [
    served(test, ({ start }) => ({
      start: (task) => Effect.flatMap(Scope.make(), (scope) => Scope.extend(start(task), scope))
    })),
    "service"
  ]
}
let serial = 0

afterAll(async () => {
  for (const timer of timers) clearTimeout(timer)
  await Effect.runPromise(Fiber.interruptAll(strays))
})

/** A backend that does what it promises takes a part of it; one that does not must not take minutes. */
const patience = Duration.seconds(10)

describe("a backend that", { concurrent: true }, () => {
  for (const [what, [subject, ...fails]] of Object.entries(mutants)) {
    it.live(`${what} fails ${fails.join(", ")}`, () =>
      Effect.gen(function* () {
        const chosen = Conformance.cases(subject).filter(({ id }) => fails.includes(id))
        assert.strictEqual(chosen.length, fails.length)
        const ends = yield* Effect.forEach(
          chosen,
          ({ id, run }) => Effect.map(Effect.exit(run), (exit) => [id, exit] as const),
          {
            concurrency: 4
          }
        )
        const passed = ends.filter(([, exit]) => Exit.isSuccess(exit)).map(([id]) => id)
        assert.deepStrictEqual(passed, [])
      }).pipe(Effect.provideService(Conformance.Patience, patience))
    )
  }

  it("is there for each case", () => {
    const failed = new Set(Object.values(mutants).flatMap(([, ...fails]) => fails))
    const ids = Conformance.cases(programs).map(({ id }) => id)
    assert.deepStrictEqual(
      ids.filter((id) => !failed.has(id)),
      []
    )
  })
})
