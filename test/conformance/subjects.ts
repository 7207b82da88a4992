/** Every backend of this library, as the conformance suite sees it. */
import { Effect, Layer, Schema } from "effect"
import { ConcurrentBackend, Conformance, ExecutionBackend, NoopBackend, TestBackend } from "effect-rhapsody"
import { fakeEngine } from "../engines/fakeEngine.js"

const { behave, ExecutableWork, FunctionWork, FunctionWorkLive } = Conformance

const survivors: Conformance.Exception = {
  reason: "programs started through `node:child_process` outlive a SIGKILL of this process"
}

export const subjects: ReadonlyArray<Conformance.Subject> = [
  {
    name: "Concurrent",
    kinds: ["executable", "function"],
    programs: true,
    layer: (options) =>
      ConcurrentBackend.layer({ ...options, maxWorkers: 4, killGrace: "200 millis", stopGrace: "2 seconds" }),
    work: ExecutableWork.make,
    exceptions: { "process-orchestrator-killed": survivors }
  },
  {
    name: "Concurrent, functions",
    kinds: ["function"],
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
    layer: (options) => TestBackend.layer({ ...options, stubs: [TestBackend.stub(FunctionWork, behave)] }),
    work: FunctionWork.make
  },
  {
    name: "batch engine",
    kinds: ["executable"],
    layer: (options) => ExecutionBackend.layer(batchEngine, options),
    work: ExecutableWork.make
  }
]

/** A batch engine that starts what it gets at once, ends what ends, and holds the rest until it is cancelled. */
const batchEngine = Effect.gen(function* () {
  const engine = yield* fakeEngine({
    type: "batch",
    submit: (specs) => Effect.forEach(specs, (spec) => Effect.forkDaemon(serve(spec)), { discard: true })
  })
  const serve = (spec: ExecutionBackend.Spec): Effect.Effect<void> =>
    Effect.gen(function* () {
      // the engine holds what it was given once `submit` has returned
      while (!engine.held.has(spec.uid)) yield* Effect.yieldNow()
      yield* engine.started(spec.uid, spec.attempt)
      const exit = exitOf(spec.payload as Conformance.Payload, spec.attempt)
      if (exit !== undefined) yield* engine.ended(spec.uid, spec.attempt, ExecutionBackend.Outcome.exited(exit))
    })
  return engine.driver as ExecutionBackend.BatchDriver<"executable">
})

/** How the work ends as a program, without one. */
const exitOf = ({ how, value }: Conformance.Payload, attempt: number): ExecutionBackend.ProcessExit | undefined => {
  switch (how) {
    case "hold":
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
