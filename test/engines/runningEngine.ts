/** An engine with a queue of its own that runs function tasks, all that it gets, by their handlers. */
import { Effect, Fiber, Mailbox } from "effect"
import { Driver } from "effect-rhapsody"

export const runningEngine = Effect.gen(function* () {
  const updates = yield* Mailbox.make<Driver.Update>()
  const running = new Map<string, Fiber.Fiber<unknown>>()
  const run = ({ hooks, spec }: Driver.Attempt<"function">) => {
    const { attempt, uid } = spec
    const key = { uid, attempt }
    return updates.offer({ ...key, _tag: "Started" }).pipe(
      Effect.zipRight(Driver.runHandler(spec, hooks)),
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
    submit: (attempts) =>
      Effect.gen(function* () {
        for (const attempt of attempts) {
          const { spec } = attempt
          running.set(`${spec.uid} ${spec.attempt}`, yield* Effect.forkDaemon(Effect.interruptible(run(attempt))))
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
