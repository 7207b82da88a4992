/** What a backend cannot do it refuses, typed: proofs for the waivers. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import * as Task from "../../Task.js"
import { endsAs, failsAs, nothingLeft, same } from "./check.js"
import { fixture } from "./fixture.js"
import type { Subject } from "./subject.js"

/** One of each kind, that no backend has work for. */
export const foreign: { readonly [K in Task.Kind]: Task.Submittable } = {
  executable: Task.executable("Foreign", { command: () => ({ executable: "true" }) }).make(),
  function: Task.function("Foreign").make(),
  worker: Task.worker("Foreign", { module: new URL("file:///foreign.js"), export: "foreign" }).make(),
  python: Task.python("Foreign", { callable: "foreign:foreign" }).make(),
  service: Task.service("Foreign", { command: () => ({ executable: "true" }), ready: /ready/ }).make()
}

/** Asks the backend itself, as a program does that chose it by name. */
export const asks = (kind: Task.Kind): Effect.Effect<unknown, unknown, any> =>
  Effect.flatMap(
    ExecutionBackend.ExecutionBackend,
    (backend): Effect.Effect<unknown, unknown, any> =>
      kind === "service"
        ? backend.start(foreign[kind] as Task.Service<unknown, never, never>)
        : backend.submit(foreign[kind] as Task.Instance<unknown, never, never>)
  )

/** The proof of a waiver: the backend refuses this kind of task. */
export const refuses = ({ layer }: Subject, kind: Task.Kind): Effect.Effect<void, unknown> =>
  failsAs(asks(kind), "ConfigurationError UnsupportedKind", kind).pipe(
    Effect.provide(layer()),
    Effect.scoped
  ) as Effect.Effect<void, unknown>

export const isProgram = ({ work }: Pick<Subject, "work">): boolean =>
  work({ how: "echo", value: 0 }).task.kind === "executable"

/** What only a program can have. */
const ofPrograms: { readonly [K in keyof Task.DefinitionOptions]: Task.DefinitionOptions[K] } = {
  cwd: "/",
  env: { NAME: "value" },
  capture: { limit: 10 },
  preExec: ["true"],
  sandbox: true,
  rlimits: { cpuSeconds: 10 },
  nice: 1,
  orphans: "detach"
}

/** The proof of a waiver, of a backend whose work is not a program: options that it would ignore are refused by name. */
export const refusesOptions = (subject: Pick<Subject, "layer" | "work">): Effect.Effect<void, unknown> => {
  const { echo, opened } = fixture(subject)
  return opened(
    Effect.gen(function* () {
      for (const [key, value] of Object.entries(ofPrograms)) {
        const error = yield* Effect.flip(ExecutionBackend.submit(echo(1, { [key]: value })))
        yield* same([error.reason, (error as any).configKey], ["UnsupportedOption", key], key)
      }
      yield* nothingLeft
    })
  )
}

/**
 * The proof of a waiver, of a backend that cannot stop what runs: cancel is refused and the task goes on; an
 * interruption of its fiber waits no longer than `stopTimeout`.
 */
export const refusesCancel = (subject: Pick<Subject, "layer" | "work">): Effect.Effect<void, unknown> => {
  const { opened, running } = fixture(subject)
  return opened(
    Effect.gen(function* () {
      const fiber = yield* running
      yield* failsAs(ExecutionBackend.cancel(fiber.uid), "BackendError CancelUnsupported", "cancel")
      yield* same(yield* ExecutionBackend.cancelAll, 0, "what cancel all could cancel")
      yield* same(Option.getOrNull(yield* ExecutionBackend.taskState(fiber.uid)), "EXECUTING", "the task")
      yield* Fiber.interrupt(fiber)
      yield* endsAs(fiber, "interrupted", "its fiber")
      yield* nothingLeft
    }),
    { stopTimeout: "100 millis" }
  )
}
