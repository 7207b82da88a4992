/** What a backend does beside its tasks, until it closes. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import type * as Scope from "effect/Scope"
import type { Timers } from "../timers.js"

/** Runs until the scope closes, which waits for its end no longer than the grace of then. */
export const background = (
  effect: Effect.Effect<unknown>,
  timers: Timers,
  grace: () => number
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.uninterruptible(
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), (fiber) =>
      Effect.addFinalizer(() =>
        Effect.async<void>((resume) => {
          const late = timers.add(grace(), () => resume(Effect.void))
          fiber.addObserver(() => {
            timers.cancel(late)
            resume(Effect.void)
          })
          fiber.unsafeInterruptAsFork(FiberId.none)
        })
      )
    )
  )

/** Gives a call up after a wait: it is interrupted then, and its end is not waited for. Interrupted itself, this waits. */
export const noLongerThan = (wait: Effect.Effect<void>, call: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkDaemon(Effect.interruptible(call)), (fiber) =>
      Effect.onExit(restore(Effect.raceFirst(Effect.asVoid(Fiber.await(fiber)), wait)), (exit) =>
        Exit.isSuccess(exit) ? Fiber.interruptFork(fiber) : Fiber.interrupt(fiber)
      )
    )
  )
