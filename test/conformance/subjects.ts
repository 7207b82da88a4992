/** Every backend of this library, as the conformance suite sees it. */
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { Context, Effect, Layer, Schema } from "effect"
import type { Backend } from "effect-rhapsody"
import { ConcurrentBackend, Driver, NoopBackend, Task } from "effect-rhapsody"
import { Conformance, TestBackend } from "effect-rhapsody/testing"
import * as dask from "../dask/subjects.js"
import type { FakeEngine } from "../engines/fakeEngine.js"
import { fakeEngine } from "../engines/fakeEngine.js"

const sandboxes = path.join(os.tmpdir(), `rhapsody-sandboxes-${process.pid}`)

const { behave, ExecutableWork, FunctionWork, FunctionWorkLive } = Conformance

const concurrent = (launcher: "agent" | "node") => (options?: Backend.Options) =>
  ConcurrentBackend.layer({
    stopTimeout: "2 seconds",
    ...options,
    maxWorkers: 4,
    forceKillAfter: "200 millis",
    launcher,
    sandboxRoot: sandboxes
  })

const Port = Task.service("Port", {
  info: Schema.Struct({ port: Schema.NumberFromString }),
  command: () => ({ executable: "serve" }),
  ready: /port=(?<port>\d+)/
})

/** Whether its engine is not on this machine. */
export const lacking = (subject: Conformance.Subject): boolean => dask.missing && dask.subjects.includes(subject)
/** Ends the engines that several cases share. */
export const close = (): Promise<void> => {
  fs.rmSync(sandboxes, { recursive: true, force: true })
  return dask.close()
}

/** What stands behind the batch engine's layer, to be killed. */
class Engine extends Context.Tag("test/Engine")<Engine, FakeEngine>() {}

const stubs = [
  TestBackend.stub(FunctionWork, behave),
  TestBackend.service(Port, () => Effect.succeed({ info: { port: 80 } }))
]
const uncancelable = (options?: Backend.Options) =>
  TestBackend.layer({ stopTimeout: "100 millis", ...options, cancelable: false, stubs })

const orchestrator = (launcher: "agent" | "node") =>
  [
    process.execPath,
    "--conditions=effect-rhapsody-source",
    "--import",
    "tsx",
    path.join(import.meta.dirname, "orchestrator.ts"),
    launcher
  ] as const

export const subjects: ReadonlyArray<Conformance.Subject> = [
  {
    name: "Concurrent",
    kinds: ["executable", "function"],
    programs: true,
    slots: 4,
    layer: concurrent("agent"),
    work: ExecutableWork.make,
    orchestrator: orchestrator("agent")
  },
  {
    name: "Concurrent, by Node",
    kinds: ["executable", "function"],
    programs: true,
    slots: 4,
    layer: concurrent("node"),
    work: ExecutableWork.make,
    orchestrator: orchestrator("node"),
    waivers: {
      "process-bytes": {
        reason: "`node:child_process` passes on UTF-8 alone; other bytes are refused",
        refusal: Conformance.refusesBytes({ layer: concurrent("node") })
      },
      "process-escape": { reason: "`node:child_process` stops a process group, and does not find who left it" },
      "process-orchestrator-killed-escape": {
        reason: "what left its group is not found when this process is killed with SIGKILL"
      }
    }
  },
  {
    name: "Concurrent, functions",
    kinds: ["function"],
    slots: 4,
    layer: (options) =>
      Layer.merge(ConcurrentBackend.layer({ ...options, maxWorkers: 4, kinds: ["function"] }), FunctionWorkLive),
    work: FunctionWork.make
  },
  {
    name: "Noop",
    kinds: ["executable", "function", "worker", "python"],
    layer: (options) =>
      NoopBackend.layer({ ...options, answer: ({ attempt, payload }) => behaveEncoded(payload, attempt) }),
    work: FunctionWork.make
  },
  {
    name: "Test",
    kinds: ["executable", "function", "worker", "python", "service"],
    slots: 4,
    layer: (options) => TestBackend.layer({ ...options, concurrency: 4, stubs }),
    work: FunctionWork.make,
    failEngine: TestBackend.failEngine,
    service: Port.make()
  },
  {
    name: "Test, cannot cancel",
    kinds: ["executable", "function", "worker", "python", "service"],
    layer: uncancelable,
    work: FunctionWork.make,
    failEngine: TestBackend.failEngine,
    service: Port.make(),
    waivers: Object.fromEntries(
      ["cancel", "cancel-all", "stopped", "stop-bound", "events", "leaks"].map((id) => [
        id,
        {
          reason: "cannot stop what runs, and says so: `BackendError` CancelUnsupported",
          refusal: Conformance.refusesCancel({ layer: uncancelable, work: FunctionWork.make })
        }
      ])
    )
  },
  {
    name: "batch engine",
    kinds: ["executable"],
    layer: (options) =>
      Layer.unwrapEffect(
        Effect.map(batchEngine, (engine) => Layer.merge(engine.layer(options), Layer.succeed(Engine, engine)))
      ),
    work: ExecutableWork.make,
    failEngine: Effect.flatMap(Engine, (engine) => engine.gone()),
    waivers: { stopped: { reason: "its work is nowhere: what it says is all there is" } }
  },
  ...dask.subjects
]

/** A batch engine that starts what it gets at once, ends what ends, and holds the rest until it is cancelled. */
const batchEngine = Effect.gen(function* () {
  const engine: FakeEngine = yield* fakeEngine({
    type: "batch",
    cancel: (attempts) => engine.confirm(attempts.filter(({ uid }) => !deaf(engine.held.get(uid)))),
    submit: (attempts) => Effect.forEach(attempts, ({ spec }) => Effect.forkDaemon(serve(spec)), { discard: true })
  })
  const serve = (spec: Driver.Spec): Effect.Effect<void> =>
    Effect.gen(function* () {
      // the engine holds what it was given once `submit` has returned
      while (!engine.held.has(spec.uid)) yield* Effect.yieldNow()
      yield* engine.started(spec.uid, spec.attempt)
      const exit = exitOf(spec.payload as Conformance.Payload, spec.attempt)
      if (exit !== undefined) yield* engine.ended(spec.uid, spec.attempt, Driver.Outcome.exited(exit))
    })
  return engine
})
const deaf = (spec: Driver.Spec | undefined) => (spec?.payload as Conformance.Payload)?.how === "deaf"

/** How the work ends as a program, without one. */
const exitOf = ({ how, value }: Conformance.Payload, attempt: number): Driver.ProcessExit | undefined => {
  switch (how) {
    case "hold":
    case "linger":
    case "deaf":
      return undefined
    case "fail":
      return { exitCode: 3 }
    case "die":
      return { signal: "SIGKILL" }
    case "wrong":
      return { exitCode: 0, stdout: '{"value":"text"}' }
    case "flaky":
      return attempt < value ? { exitCode: 3 } : { exitCode: 0, stdout: `{"value":${value}}` }
    case "echo":
      return { exitCode: 0, stdout: `{"value":${value}}` }
  }
}

/** What the work does, as an engine of encoded data sees it. */
const behaveEncoded = (payload: unknown, attempt: number) =>
  Effect.mapError(behave(payload as Conformance.Payload, { attempt }), (error) =>
    Schema.encodeSync(Conformance.Refused)(error)
  )
