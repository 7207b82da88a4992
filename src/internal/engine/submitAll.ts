/** A stream of tasks in, a stream of their ends out. */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { BackendError, ConfigurationError, TaskError } from "../../Errors.js"
import type { Instance, Submittable } from "../../Task.js"
import type { TaskFiber } from "../../TaskFiber.js"

type Any = Instance<any, any, any, any>
type SubmitError = ConfigurationError | BackendError

/** `ExecutionBackend.Completion`. */
interface Completion<out I extends Any> {
  readonly uid: string | undefined
  readonly task: string
  readonly instance: I
  readonly exit: Exit.Exit<I["Success"], I["Error"] | TaskError | SubmitError>
}

/**
 * Takes in as long as fewer than `buffer` are submitted and not read. What was given is read when the reader comes back
 * for more. The tasks belong to the stream's scope: when the stream ends, none of them is left behind.
 */
export const submitAll = <I extends Any, E, R>(
  tasks: Stream.Stream<I, E, R>,
  submit: (task: I) => Effect.Effect<TaskFiber<any, any>, SubmitError, I["Context"] | Scope.Scope>,
  buffer: number
): Stream.Stream<Completion<I>, E, R | I["Context"]> =>
  Stream.unwrapScoped(
    Effect.gen(function* () {
      const fibers = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.parallel)
      const places = yield* Effect.makeSemaphore(Math.max(1, buffer))
      let ended: Array<Completion<I>> = []
      let given = 0
      let live = 0
      let intake: Exit.Exit<void, E> | undefined
      let wake: (() => void) | undefined

      const end = (uid: string | undefined, task: string, instance: I, exit: Completion<I>["exit"]) => {
        ended.push({ uid, task, instance, exit })
        wake?.()
      }
      const takeIn = (task: I) =>
        Effect.matchCause(Effect.zipRight(places.take(1), Scope.extend(submit(task), fibers)), {
          onSuccess: (fiber) => {
            live++
            fiber.addObserver((exit) => {
              live--
              end(fiber.uid, fiber.task, task, exit)
            })
          },
          onFailure: (cause) => {
            // it may be no task at all
            const unit: Partial<Submittable> | undefined = task
            end(unit?.options?.uid, unit?.task?.name ?? "", task, Exit.failCause(cause))
          }
        })
      yield* Effect.forkScoped(
        Effect.interruptible(
          Effect.map(Effect.exit(Stream.runForEach(tasks, takeIn)), (exit) => {
            intake = exit
            wake?.()
          })
        )
      )

      const news = Effect.async<void>((resume) => {
        wake = () => {
          wake = undefined
          resume(Effect.void)
        }
        if (ended.length > 0 || (intake !== undefined && live === 0)) wake()
      })
      const next: Effect.Effect<Chunk.Chunk<Completion<I>>, Option.Option<E>> = Effect.suspend(() => {
        if (ended.length > 0) {
          const chunk = ended
          ended = []
          given = chunk.length
          return Effect.succeed(Chunk.unsafeFromArray(chunk))
        }
        if (intake !== undefined && Exit.isFailure(intake)) {
          return Effect.failCause(Cause.map(intake.cause, Option.some))
        }
        if (intake !== undefined && live === 0) return Effect.fail(Option.none())
        return Effect.zipRight(news, next)
      })
      return Stream.repeatEffectChunkOption(
        Effect.suspend(() => {
          const read = given
          given = 0
          return Effect.zipRight(places.release(read), next)
        })
      )
    })
  )
