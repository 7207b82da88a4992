/**
 * Notices that nothing moves: tasks are queued, every slot is held by a function task, and none of these has run for a
 * while. A handler that waits for a queued task gives its slot up where the wait is known; this is for the waits that are
 * not, such as that for a Deferred. Such a handler may as well wait for something outside, so this only reports.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { TaskRecord } from "../run/taskRecord.js"
import type { Scheduler } from "../scheduler/scheduler.js"
import type { Timers } from "../timers.js"
import type { Events } from "./events.js"

const patience = 30_000

export interface Standstill {
  /** A task waits for a slot. */
  readonly queued: () => void
  /** The tasks that hold the slots, while nothing has moved since it was reported. */
  readonly tasks: () => ReadonlyArray<string> | undefined
  readonly loop: Effect.Effect<void>
}

export const make = (
  backend: string,
  scheduler: Scheduler<TaskRecord>,
  events: Events,
  timers: Timers,
  clock: Clock.Clock
): Standstill => {
  let wake: (() => void) | undefined
  let reported: { readonly mark: string; readonly tasks: ReadonlyArray<string> } | undefined

  /** The same as before when nothing has moved; undefined when something can. */
  const mark = (): string | undefined => {
    const holders = scheduler.holders()
    return scheduler.queued === 0 || holders.some(({ prepared }) => prepared?.task.kind !== "function")
      ? undefined
      : `${scheduler.moves} ${holders.map(({ token, uid }) => `${uid} ${token.turns}`)}`
  }
  const bell = Effect.async<void>((resume) => {
    if (scheduler.queued > 0) return resume(Effect.void)
    wake = () => {
      wake = undefined
      resume(Effect.void)
    }
  })
  const report = (mark: string) => {
    const tasks = scheduler.holders().map(({ uid }) => uid)
    const { queued } = scheduler
    reported = { mark, tasks }
    events.publish({ _tag: "Standstill", backend, tasks, queued, time: clock.unsafeCurrentTimeMillis() })
    return Effect.logWarning(
      `Backend ${backend} stands still: ${queued} tasks wait for a slot, and the tasks that hold the slots have not run ` +
        `for ${patience / 1000} seconds: ${tasks.slice(0, 10).join(", ")}${tasks.length > 10 ? ", ..." : ""}. If these wait for ` +
        "queued tasks, none of them will end: let them wait with execute, Fiber.join or awaitAll, or give the backend more slots."
    )
  }
  const watch = Effect.suspend(() => {
    const before = mark()
    return Effect.flatMap(timers.sleep(patience), () => {
      const still = before !== undefined && before === mark() && before !== reported?.mark
      return still ? report(before) : Effect.void
    })
  })

  return {
    queued: () => wake?.(),
    tasks: () => (reported !== undefined && reported.mark === mark() ? reported.tasks : undefined),
    loop: Effect.forever(Effect.zipRight(bell, watch))
  }
}
