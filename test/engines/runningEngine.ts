/** An engine with a queue of its own that runs function tasks, all that it gets, by their handlers. */
import { assert } from "@effect/vitest"
import { Effect, Fiber, Mailbox } from "effect"
import { Driver } from "effect-rhapsody"

export const runningEngine = Effect.gen(function* () {
  const updates = yield* Mailbox.make<Driver.Update>()
  const running = new Map<string, Fiber.Fiber<unknown>>()
  const run = (spec: Driver.Spec) => {
    const { attempt, payload, work, uid } = spec
    assert(work._tag === "function")
    const key = { uid, attempt }
    return updates.offer({ ...key, _tag: "Started" }).pipe(
      Effect.zipRight(work.handler.run(payload, key)),
      Effect.matchCauseEffect({
        onSuccess: (outcome) => updates.offer({ ...key, _tag: "Ended", outcome }),
        onFailure: (cause) =>
          updates.offer({ ...key, _tag: "Failed", error: Driver.taskError(spec, "Defect", { cause }) })
      }),
      Effect.onInterrupt(() => updates.offer({ ...key, _tag: "Canceled" })),
      Effect.ensuring(Effect.sync(() => running.delete(`${uid} ${attempt}`)))
    )
  }
  const driver: Driver.QueueDriver<"function"> = {
    type: "running engine",
    kinds: ["function"],
    submit: (specs) =>
      Effect.gen(function* () {
        for (const spec of specs) {
          running.set(`${spec.uid} ${spec.attempt}`, yield* Effect.forkDaemon(Effect.interruptible(run(spec))))
        }
      }),
    cancel: (attempts) =>
      Effect.forEach(
        attempts.flatMap(({ attempt, uid }) => running.get(`${uid} ${attempt}`) ?? []),
        Fiber.interruptFork,
        { discard: true }
      ),
    updates: Mailbox.toStream(updates)
  }
  return { driver, running, gone: updates.end }
})
