/** The last tasks that ended, by uid: a ring, so that it never grows and forgets the oldest at once. */
import type { Terminal } from "../../../TaskState.js"

export class History {
  private readonly states = new Map<string, Terminal>()
  private readonly ring: Array<string> = []
  private next = 0

  constructor(private readonly capacity: number) {}

  add(uid: string, state: Terminal): void {
    if (this.capacity === 0) return
    const oldest = this.ring[this.next]
    if (oldest !== undefined) this.states.delete(oldest)
    this.ring[this.next] = uid
    this.next = (this.next + 1) % this.capacity
    this.states.set(uid, state)
  }

  get(uid: string): Terminal | undefined {
    return this.states.get(uid)
  }

  entries(): IterableIterator<[string, Terminal]> {
    return this.states.entries()
  }
}
