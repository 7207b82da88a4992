/**
 * Lets the event loop turn. Fibers that wake each other run as microtasks, and no timer, I/O or signal comes between two
 * of these, however many there are. So whatever can go on for long asks here before each of its steps.
 */
import * as Effect from "effect/Effect"
import { globalValue } from "effect/GlobalValue"

/** Milliseconds that may pass without a turn of the event loop. */
const budget = 10
/** The clock is read at every so many steps: at each of them it would cost a tenth of the throughput. */
const stride = 16
const largestBatch = 256

const immediately = (run: () => void): unknown =>
  typeof setImmediate === "function" ? setImmediate(run) : setTimeout(run, 0)

/** One turn of the event loop. */
export const turn: Effect.Effect<void> = Effect.async<void>((resume) => {
  immediately(() => resume(Effect.void))
})

class Pace {
  /** When the event loop was last known to turn. */
  private since = 0
  private steps = 0
  /** So many go on after a turn: as many as the time allowed. */
  private batch = 64
  /** The last turn was not enough for all that waited. */
  private behind = false
  private readonly waiting = new Set<() => void>()

  /** Goes on, in order of coming: at once, or after a turn when the last one was too long ago. */
  readonly step = (): Effect.Effect<void> =>
    this.waiting.size === 0 && (++this.steps % stride !== 0 || performance.now() - this.since < budget)
      ? Effect.void
      : this.wait

  private readonly wait = Effect.async<void>((resume) => {
    const go = () => resume(Effect.void)
    this.waiting.add(go)
    if (this.waiting.size === 1) immediately(this.next)
    return Effect.sync(() => {
      this.waiting.delete(go)
    })
  })
  private readonly next = () => {
    const now = performance.now()
    if (this.behind) {
      this.batch = now - this.since > budget ? Math.max(1, this.batch >>> 1) : Math.min(largestBatch, 2 * this.batch)
    }
    this.since = now
    let left = this.batch
    for (const go of this.waiting) {
      if (left-- === 0) break
      this.waiting.delete(go)
      go()
    }
    this.behind = this.waiting.size > 0
    if (this.behind) immediately(this.next)
  }
}

/** Of the whole process, as the event loop is. */
export const { step }: { readonly step: () => Effect.Effect<void> } = globalValue(
  "effect-rhapsody/pace",
  () => new Pace()
)

/** For an effect that may be one of many; the pause before it is interruptible as far as `restore` says. */
export const paced = <A, E, R>(
  effect: () => Effect.Effect<A, E, R>,
  restore: (pause: Effect.Effect<void>) => Effect.Effect<void> = (pause) => pause
): Effect.Effect<A, E, R> => {
  const pause = step()
  return pause === Effect.void ? effect() : Effect.flatMap(restore(pause), effect)
}
