// What must not compile. Each line below a directive is an error, or the type check fails.
// @effect-diagnostics missingEffectContext:off missingEffectError:off
// The language service sees the same errors, and knows no directive that expects them.
import type { Layer } from "effect"
import { Effect, Redacted, Schema } from "effect"
import type { Driver } from "effect-rhapsody"
import { Backend, ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import type { Diverged } from "./tasks.js"
import { Echo, Mean, Simulate, Train } from "./tasks.js"

const train = ExecutionBackend.execute(Train.make({ target: 1 }))
const mean = ExecutionBackend.execute(Mean.make({ values: [1] }))
const simulate = ExecutionBackend.execute(Simulate.make({ seed: 1, steps: 1 }))
const local = ConcurrentBackend.layer()

// @ts-expect-error a Python task against the Concurrent layer
export const a: Effect.Effect<unknown, unknown> = Effect.provide(train, local)

// @ts-expect-error a function task without its handler
export const b: Effect.Effect<unknown, unknown> = Effect.provide(mean, local)

// @ts-expect-error no backend at all
export const c: Effect.Effect<unknown, unknown> = simulate

// @ts-expect-error a payload field of the wrong type
Simulate.make({ seed: "1", steps: 1 })

// @ts-expect-error a payload field is missing
Simulate.make({ seed: 1 })

// @ts-expect-error a service is started, not executed
export const d = ExecutionBackend.execute(Echo.make())

// @ts-expect-error a handler for a failure that cannot happen
export const e = mean.pipe(Effect.catchTag("Diverged", () => Effect.void))
export const f = simulate.pipe(Effect.catchTag("Diverged", (error: Diverged) => Effect.succeed(error.step)))

// @ts-expect-error failures are left
export const g: Effect.Effect<unknown, never, any> = simulate.pipe(Effect.catchTag("TaskError", () => Effect.void))

// @ts-expect-error a handler with the wrong result
export const h = Mean.toLayer(() => Effect.succeed("1"))

// @ts-expect-error a handler that fails with an error of another task, which is not its own
export const s = Mean.toLayer(() => Effect.as(simulate, 1))

// @ts-expect-error what failed in a stream has the payload that was given, and no other
export const t = (ended: ExecutionBackend.Completion<ReturnType<typeof Simulate.make>>) => ended.instance.payload.seeds

// @ts-expect-error the schema of an executable decodes text or bytes
export const i = Task.executable("X", { success: Schema.Number, command: () => ({ executable: "x" }) })

// @ts-expect-error a layer claims the kinds of its driver and no other
export const j: Layer.Layer<ExecutionBackend.ExecutionBackend<"function">, unknown> = Backend.layer({
  type: "x",
  kinds: ["executable"],
  concurrency: 1,
  run: () => Effect.never
})

// @ts-expect-error a kind that Concurrent does not run yet
export const k = ConcurrentBackend.layer({ kinds: ["worker"] })

// @ts-expect-error a signature that forgets the capability
export const l = (): Effect.Effect<unknown, unknown, ExecutionBackend.Any> => train

// @ts-expect-error a callable looks like "module:function"
export const m = Task.python("Y", { callable: "nocolon" })

// @ts-expect-error only function tasks have a handler
export const n = Simulate.toLayer

// @ts-expect-error settings are typed
export const o = ConcurrentBackend.settings({ forceKillAfter: "soon" })

const slots = {
  type: "x",
  kinds: ["executable"],
  concurrency: 1,
  run: () => Effect.never
} satisfies Driver.SlotDriver

// @ts-expect-error a staging entry is more than its source
export const p: Driver.SlotDriver = { ...slots, linkExplicit: () => Effect.succeedSome({ source: "x" }) }

export const q: Driver.SlotDriver = {
  ...slots,
  // @ts-expect-error everything that a producer leaves has no name of a file
  linkImplicit: ({ file }) => Effect.zipRight(Effect.log(file), Effect.succeedNone)
}

// @ts-expect-error a loss is reported by a BackendError
export const r: Driver.SlotDriver = { ...slots, lost: Effect.succeed("gone") }

export const u: Driver.SlotDriver<"executable"> = {
  ...slots,
  kinds: ["executable"],
  // @ts-expect-error a driver of executables sees no functions
  run: ({ work }) => (work._tag === "function" ? Effect.never : Effect.die(work.executable))
}

// @ts-expect-error the spec of a function is no spec of a program
export const v = (spec: Driver.Spec<"executable" | "function">): Driver.Spec<"executable"> => spec

// @ts-expect-error a variable in a spec is never a secret itself
export const w: Driver.Executable["env"] = { TOKEN: Redacted.make("x") }

// @ts-expect-error only an engine with a queue reports what was accepted
export const x: Driver.Update = { _tag: "Accepted", uid: "u" }
