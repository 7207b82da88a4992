/**
 * Everything that happens after a time: one heap and one sleeping fiber for all tasks. (A timer, or an
 * `Effect.timeout`, per task costs several times as much.) What is cancelled leaves the heap at once.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { turn } from "./run/pace.js"

export interface Timer {
  readonly at: number
  readonly run: () => void
  index: number
}

export interface Timers {
  /** Calls `run`, once, `millis` from now. */
  readonly add: (millis: number, run: () => void) => Timer
  readonly cancel: (deadline: Timer) => void
  /** Milliseconds, of `Deadline.at`. */
  readonly now: () => number
  readonly sleep: (millis: number) => Effect.Effect<void>
  /** Timers pending: for tests of leaks. */
  readonly size: () => number
}

/** A timer cannot be longer than 2^31 - 1 ms: sleep in parts. */
const longestSleep = 2_000_000_000

class Heap {
  readonly items: Array<Timer> = []

  push(item: Timer): void {
    this.items.push(item)
    this.up(item, this.items.length - 1)
  }
  remove(item: Timer): void {
    const { index } = item
    if (index < 0) return
    item.index = -1
    const last = this.items.pop()!
    if (last === item) return
    this.up(last, index)
    this.down(last, last.index)
  }
  private up(item: Timer, index: number): void {
    while (index > 0) {
      const above = (index - 1) >>> 1
      const other = this.items[above]!
      if (other.at <= item.at) break
      this.place(other, index)
      index = above
    }
    this.place(item, index)
  }
  private down(item: Timer, index: number): void {
    const { items } = this
    for (;;) {
      let below = 2 * index + 1
      if (below >= items.length) break
      if (below + 1 < items.length && items[below + 1]!.at < items[below]!.at) below++
      const other = items[below]!
      if (other.at >= item.at) break
      this.place(other, index)
      index = below
    }
    this.place(item, index)
  }
  private place(item: Timer, index: number): void {
    this.items[index] = item
    item.index = index
  }
}

export const make: Effect.Effect<Timers, never, Scope.Scope> = Effect.gen(function* () {
  const clock = yield* Effect.clock
  /** By the monotonic clock: the time of day may jump. */
  const millis = () => Number(clock.unsafeCurrentTimeNanos()) / 1e6
  const heap = new Heap()
  /** Wakes the fiber when a deadline comes to stand before the one it sleeps for. */
  let wake: (() => void) | undefined

  const anotherIsNext = (known: Timer | undefined) =>
    Effect.async<void>((resume) => {
      const woken = () => {
        wake = undefined
        resume(Effect.void)
      }
      wake = woken
      if (known !== heap.items[0]) woken()
      return Effect.sync(() => {
        if (wake === woken) wake = undefined
      })
    })

  const runDue = Effect.sync(() => {
    const now = millis()
    for (let next = heap.items[0]; next !== undefined && next.at <= now; next = heap.items[0]) {
      heap.remove(next)
      next.run()
    }
  })
  // What is due already waits for a turn of the event loop: a task that is retried without delay, for ever, must not
  // keep all else from happening.
  const next = Effect.suspend(() => {
    const [first] = heap.items
    if (first === undefined) return anotherIsNext(undefined)
    const left = Math.min(Math.ceil(first.at - millis()), longestSleep)
    const sleep = left > 0 ? clock.sleep(Duration.millis(left)) : turn
    return Effect.raceFirst(Effect.zipRight(sleep, runDue), anotherIsNext(first))
  })

  yield* Effect.forkScoped(Effect.interruptible(Effect.forever(next)))

  const add = (delay: number, run: () => void): Timer => {
    const deadline: Timer = { at: millis() + Math.max(0, delay), run, index: -1 }
    heap.push(deadline)
    if (deadline.index === 0) wake?.()
    return deadline
  }
  const cancel = (deadline: Timer): void => heap.remove(deadline)

  return {
    add,
    cancel,
    now: millis,
    sleep: (millis) =>
      Effect.async<void>((resume) => {
        const deadline = add(millis, () => resume(Effect.void))
        return Effect.sync(() => cancel(deadline))
      }),
    size: () => heap.items.length
  }
})
