/** An engine with a queue of its own, in memory: it does nothing but hold what it gets and report what a test asks it to. */
import { Effect, Exit, Mailbox } from "effect"
import { Backend, Driver } from "effect-rhapsody"
import type { BackendError } from "effect-rhapsody/Errors"

type Spec = Driver.Spec<"executable" | "service">
type Key = Driver.AttemptKey
/** What is said of one attempt, without its name. */
type Said = Driver.Update extends infer U ? (U extends Key ? Omit<U, keyof Key> : never) : never

export interface Script extends Partial<Omit<Driver.QueueDriver<"executable" | "service">, "cancel" | "updates">> {
  /** Instead of what it would do; undefined: that. */
  readonly cancel?: (attempts: ReadonlyArray<Key>) => Effect.Effect<void, BackendError> | undefined
  /** Whether a cancel is confirmed, and at once. Default: true. */
  readonly confirms?: boolean
}

export const fakeEngine = ({ cancel, confirms = true, submit, ...driver }: Script = {}) =>
  Effect.gen(function* () {
    const updates = yield* Mailbox.make<Driver.Update, BackendError>()
    const held = new Map<string, Spec>()
    /** The sizes of the batches it was given. */
    const batches: Array<number> = []
    const cancels: Array<ReadonlyArray<Key>> = []

    /** Says anything, true or not. */
    const report = (...all: ReadonlyArray<unknown>) =>
      Effect.sync(() => void updates.unsafeOfferAll(all as ReadonlyArray<Driver.Update>))
    const say = (uid: string, said: Said, attempt = 1) => report({ uid, attempt, ...said })
    const started = (uid: string, attempt = 1) => say(uid, { _tag: "Started" }, attempt)
    const ended = (uid: string, attempt = 1, outcome = Driver.Outcome.exited({ exitCode: 0, stdout: "ok" })) =>
      Effect.zipRight(
        Effect.sync(() => held.delete(uid)),
        say(uid, { _tag: "Ended", outcome }, attempt)
      )
    const confirm = (attempts: ReadonlyArray<Key>) =>
      Effect.suspend(() =>
        report(...attempts.filter(({ uid }) => held.delete(uid)).map((key) => ({ ...key, _tag: "Canceled" })))
      )

    const full: Driver.QueueDriver<"executable" | "service"> = {
      type: "fake engine",
      kinds: ["executable"],
      honours: Driver.everyOption,
      ...driver,
      submit: (attempts) =>
        Effect.suspend(() => {
          batches.push(attempts.length)
          return submit?.(attempts) ?? Effect.void
        }).pipe(
          Effect.zipRight(
            Effect.sync(() => {
              for (const { spec } of attempts) held.set(spec.uid, spec)
            })
          )
        ),
      cancel: (attempts) =>
        Effect.suspend(() => {
          cancels.push(attempts)
          return cancel?.(attempts) ?? Effect.when(confirm(attempts), () => confirms)
        }),
      updates: Mailbox.toStream(updates)
    }
    return {
      held,
      batches,
      cancels,
      report,
      say,
      started,
      ended,
      confirm,
      /** The stream of what it says ends, as `exit` says. */
      gone: (exit: Exit.Exit<void, BackendError> = Exit.void) => Effect.sync(() => void updates.unsafeDone(exit)),
      driver: full,
      layer: (options?: Backend.Options) => Backend.layer(full as Driver.QueueDriver<"executable" | "service">, options)
    }
  })

export type FakeEngine = Effect.Effect.Success<ReturnType<typeof fakeEngine>>
