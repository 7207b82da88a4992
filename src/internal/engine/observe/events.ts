/**
 * One bounded buffer per subscriber: a slow one loses events, and gets their number; no other subscriber notices. Without
 * subscribers no event is built. When a subscription closes, what is buffered is read to the end first, within a limit.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { EventsDropped, TaskEvent } from "../../../TaskState.js"

type Published = Exclude<TaskEvent, EventsDropped>

class Subscriber {
  private buffer: Array<TaskEvent> = []
  private dropped = 0
  /** No event follows. */
  ended = false
  /** Runs of the stream that go on. */
  private reading = 0
  /** Events that were given to a reader which has not come back for more. */
  private inHand = 0
  /** Events that the last reader had not read when it was interrupted. */
  private cutOff = 0
  private readonly sleepers = new Set<() => void>()
  private readonly drained = new Set<() => void>()

  constructor(
    private readonly backend: string,
    private readonly capacity: number
  ) {}

  offer(event: Published): void {
    if (this.ended) return
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

  /** All that is there; waits when nothing is. Drops come after what was kept, because the newest are dropped. */
  readonly pull: Effect.Effect<Chunk.Chunk<TaskEvent>, Option.Option<never>> = Effect.suspend(() => {
    this.inHand = this.cutOff = 0
    if (this.buffer.length > 0) {
      const taken = this.buffer
      this.buffer = []
      if (this.dropped > 0) taken.push({ _tag: "EventsDropped", backend: this.backend, count: this.dropped })
      this.dropped = 0
      this.inHand = taken.length
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

  /** All events, from whichever run of the stream comes first to each. */
  stream(scope: Scope.Scope, limit: () => number): Stream.Stream<TaskEvent> {
    const run = Effect.acquireRelease(
      Effect.tap(
        Effect.sync(() => {
          this.reading++
          return { goesOn: true }
        }),
        // A finalizer of its own for each run, and not before the run, comes before that of the fiber that reads, which is
        // forked earlier: a scope closes last to first.
        (run) =>
          Effect.flatMap(Scope.fork(scope, ExecutionStrategy.sequential), (own) => {
            Object.assign(run, { own })
            const drain = Effect.suspend(() => (run.goesOn && !this.ended ? this.drain(limit()) : Effect.void))
            return Scope.addFinalizer(own, drain)
          })
      ) as Effect.Effect<{ goesOn: boolean; readonly own: Scope.CloseableScope }>,
      (run, exit) => {
        run.goesOn = false
        return Effect.zipRight(this.left(exit), Scope.close(run.own, Exit.void))
      }
    )
    return Stream.unwrapScoped(Effect.as(run, Stream.repeatEffectChunkOption(this.pull)))
  }
  /** Nothing more comes: waits until all is read, for so many milliseconds at most. */
  private drain(limit: number): Effect.Effect<void> {
    this.end()
    const drained = Effect.async<void>((resume) => {
      if (this.reading === 0) return resume(Effect.void)
      const done = () => resume(Effect.void)
      this.drained.add(done)
    })
    return Effect.raceFirst(Effect.interruptible(drained), Effect.interruptible(Effect.sleep(limit)))
  }
  private left(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    if (--this.reading === 0) for (const done of this.drained) done()
    if (!Exit.isInterrupted(exit)) return Effect.void
    this.cutOff = this.buffer.length + this.dropped + this.inHand
    return this.ended ? this.report() : Effect.void
  }
  /** Says what was cut off, if anything was. */
  report(): Effect.Effect<void> {
    const { backend, cutOff } = this
    this.cutOff = 0
    const message = `A reader of the events of backend ${backend} was interrupted with ${cutOff} events unread.`
    return cutOff === 0 ? Effect.void : Effect.logWarning(message)
  }

  private wake(): void {
    if (this.sleepers.size === 0) return
    for (const sleeper of this.sleepers) sleeper()
    this.sleepers.clear()
  }
}

export class Events {
  private readonly subscribers = new Set<Subscriber>()
  private ended = false

  constructor(
    private readonly backend: string,
    private readonly capacity: number,
    /** Milliseconds that a closing subscription waits for its reader. */
    private readonly limit: () => number
  ) {}

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

  readonly subscribe: Effect.Effect<Stream.Stream<TaskEvent>, never, Scope.Scope> = Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() => {
        const subscriber = new Subscriber(this.backend, this.capacity)
        if (this.ended) subscriber.end()
        else this.subscribers.add(subscriber)
        return subscriber
      }),
      (subscriber) =>
        Effect.suspend(() => {
          this.subscribers.delete(subscriber)
          subscriber.end()
          return subscriber.report()
        })
    ),
    (subscriber) => Effect.map(Effect.scope, (scope) => subscriber.stream(scope, this.limit))
  )
}
