/** How tasks ended that `awaitAll` has not answered for yet: the exits of the last so many, and how many more there were. */
import type * as Exit from "effect/Exit"

export interface Completion {
  readonly uid: string
  /** Name of the definition. */
  readonly task: string
  readonly exit: Exit.Exit<unknown, unknown>
  /** A call of `awaitAll` waited for it when it ended, and knows. */
  readonly awaited: boolean
}

export class Completions {
  /** An answered one leaves its place empty. */
  private readonly ring: Array<Completion | undefined> = []
  private next = 0
  private forgotten = 0
  private reported = 0

  constructor(private readonly capacity: number) {}

  add(completion: Completion): void {
    const oldest = this.capacity === 0 ? completion : this.ring[this.next]
    if (oldest?.awaited === false) this.forgotten++
    if (this.capacity === 0) return
    this.ring[this.next] = completion
    this.next = (this.next + 1) % this.capacity
  }

  /** What is known now, in the order of ending, and how to say that it was answered for. */
  snapshot() {
    const { forgotten, reported } = this
    const ring = [...this.ring.slice(this.next), ...this.ring.slice(0, this.next)]
    return {
      known: ring.filter((completion) => completion !== undefined),
      /** So many more ended, and are not known any more. */
      forgotten: forgotten - reported,
      answered: (uids: { readonly has: (uid: string) => boolean }) => {
        this.reported = Math.max(this.reported, forgotten)
        this.forget(uids)
      }
    }
  }
  forget(uids: { readonly has: (uid: string) => boolean }): void {
    for (const [i, completion] of this.ring.entries()) {
      if (completion !== undefined && uids.has(completion.uid)) this.ring[i] = undefined
    }
  }
}
