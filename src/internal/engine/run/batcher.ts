/** Hands things on in batches: in one call all that came while the last call lasted. */
import * as Effect from "effect/Effect"

export interface Batcher<in A> {
  readonly add: (one: A) => void
  /** It need not be handed on any more. */
  readonly remove: (one: A) => void
  /** Hands on, for ever. */
  readonly run: Effect.Effect<never>
}

export const make = <A>(send: (batch: ReadonlyArray<A>) => Effect.Effect<unknown>): Batcher<A> => {
  const waiting = new Set<A>()
  let ring: (() => void) | undefined
  const bell = Effect.async<void>((resume) => {
    if (waiting.size > 0) return resume(Effect.void)
    ring = () => {
      ring = undefined
      resume(Effect.void)
    }
    return Effect.sync(() => {
      ring = undefined
    })
  })
  const next = Effect.suspend(() => {
    const batch = [...waiting]
    waiting.clear()
    return batch.length === 0 ? Effect.void : send(batch)
  })
  return {
    add: (one) => {
      waiting.add(one)
      ring?.()
    },
    remove: (one) => {
      waiting.delete(one)
    },
    run: Effect.forever(Effect.zipRight(bell, next))
  }
}
