/**
 * One bounded buffer per subscriber: a slow one loses events, and is told how many; nobody else notices. Without
 * subscribers no event is built.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { EventsDropped, TaskEvent } from "../../TaskState.js"

type Published = Exclude<TaskEvent, EventsDropped>

class Subscriber {
  private buffer: Array<TaskEvent> = []
  private dropped = 0
  private ended = false
  private readonly sleepers = new Set<() => void>()

  constructor(private readonly capacity: number) {}

  offer(event: Published): void {
    if (this.buffer.length >= this.capacity) {
      this.dropped++
      return
    }
    this.buffer.push(event)
    this.wake()
  }
  end(): void {
    this.ended = true
    this.wake()
  }

  /** All that is there; waits when nothing is. Drops come after what was kept, for the newest are dropped. */
  readonly pull: Effect.Effect<Chunk.Chunk<TaskEvent>, Option.Option<never>> = Effect.suspend(() => {
    if (this.buffer.length > 0) {
      const taken = this.buffer
      this.buffer = []
      if (this.dropped > 0) taken.push({ _tag: "EventsDropped", count: this.dropped })
      this.dropped = 0
      return Effect.succeed(Chunk.unsafeFromArray(taken))
    }
    if (this.ended) return Effect.fail(Option.none())
    return Effect.zipRight(this.arrival, this.pull)
  })

  private readonly arrival = Effect.async<void>((resume) => {
    if (this.buffer.length > 0 || this.ended) return resume(Effect.void)
    const sleeper = () => resume(Effect.void)
    this.sleepers.add(sleeper)
    return Effect.sync(() => {
      this.sleepers.delete(sleeper)
    })
  })

  private wake(): void {
    if (this.sleepers.size === 0) return
    for (const sleeper of this.sleepers) sleeper()
    this.sleepers.clear()
  }
}

export class Events {
  private readonly subscribers = new Set<Subscriber>()
  private ended = false

  constructor(private readonly capacity: number) {}

  get wanted(): boolean {
    return this.subscribers.size > 0
  }

  publish(event: Published): void {
    for (const subscriber of this.subscribers) subscriber.offer(event)
  }

  /** No event follows: the streams end when their buffers are empty. */
  end(): void {
    this.ended = true
    for (const subscriber of this.subscribers) subscriber.end()
    this.subscribers.clear()
  }

  readonly subscribe: Effect.Effect<Stream.Stream<TaskEvent>, never, Scope.Scope> = Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const subscriber = new Subscriber(this.capacity)
        if (this.ended) subscriber.end()
        else this.subscribers.add(subscriber)
        return subscriber
      }),
      (subscriber) =>
        Effect.sync(() => {
          this.subscribers.delete(subscriber)
          subscriber.end()
        })
    ),
    (subscriber) => Stream.repeatEffectChunkOption(subscriber.pull)
  )
}
