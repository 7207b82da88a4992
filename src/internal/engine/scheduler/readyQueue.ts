/** Jobs that wait for a slot: the highest priority first, then the deepest, then in order of arrival. */
import type { Link } from "./list.js"
import { List } from "./list.js"

interface Queued extends Link {
  readonly priority: number
  readonly depth: number
}

interface Bucket<T extends Queued> {
  readonly priority: number
  readonly depth: number
  readonly jobs: List<T>
}

export class ReadyQueue<T extends Queued> {
  // Sorted, next to start at the end. A program uses few priorities: nearly always one bucket.
  private readonly buckets: Array<Bucket<T>> = []
  size = 0

  push(job: T): void {
    this.bucket(job).jobs.push(job)
    this.size++
  }

  get first(): T | undefined {
    return this.buckets[this.buckets.length - 1]?.jobs.first
  }

  shift(): T | undefined {
    const bucket = this.buckets[this.buckets.length - 1]
    const job = bucket?.jobs.shift()
    if (job === undefined) return undefined
    this.size--
    if (bucket!.jobs.size === 0) this.buckets.pop()
    return job
  }

  remove(job: T): boolean {
    const { list } = job
    if (list === undefined || !list.remove(job)) return false
    this.size--
    if (list.size === 0) this.buckets.splice(this.indexOf(job), 1)
    return true
  }

  /** The first bucket that is not before (priority, depth): the place of that pair, present or not. */
  private indexOf({ depth, priority }: { readonly priority: number; readonly depth: number }): number {
    let low = 0
    let high = this.buckets.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const bucket = this.buckets[middle]!
      if (bucket.priority < priority || (bucket.priority === priority && bucket.depth < depth)) low = middle + 1
      else high = middle
    }
    return low
  }

  private bucket(job: T): Bucket<T> {
    const index = this.indexOf(job)
    const found = this.buckets[index]
    if (found !== undefined && found.priority === job.priority && found.depth === job.depth) return found
    const bucket: Bucket<T> = { priority: job.priority, depth: job.depth, jobs: new List() }
    this.buckets.splice(index, 0, bucket)
    return bucket
  }
}
