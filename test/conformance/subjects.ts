/** Every backend of this library, as the conformance suite sees it. */
import { Effect, Layer, Schema } from "effect"
import { ConcurrentBackend, Conformance, NoopBackend, TestBackend } from "effect-rhapsody"

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
  }
]

/** What the work does, as an engine of encoded data sees it. */
const behaveEncoded = (payload: unknown, attempt: number) =>
  Effect.mapError(behave(payload as Conformance.Payload, { attempt }), (error) =>
    Schema.encodeSync(Conformance.Refused)(error)
  )
