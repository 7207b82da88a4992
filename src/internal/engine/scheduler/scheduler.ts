/**
 * The engine's core as a plain state machine: which task may start, what each one's state is, how many may be in at
 * all. It knows neither Effect nor time nor I/O; the engine drives it, and so can a property test or a simulator.
 *
 * - A job holds a slot from its grant until it is released. A job whose own children live, or that waits for other
 *   jobs, does not count against the slots: it would otherwise wait for ever for the slot that it holds itself.
 * - Children start before their parents' siblings (`depth`): else every queued parent would start before the first
 *   child ends.
 * - When many are queued, the first of them may be handed over early, before there is a slot (`prefetch`). Then the slot of
 *   a job that ends may pass to one of these by the engine's own decision, which `executing` reports.
 */
import type { TaskState, Terminal } from "../../../TaskState.js"
import { canFollow, isTerminal } from "../../../TaskState.js"
import { History } from "./history.js"
import type { Link } from "./list.js"
import { List } from "./list.js"
import { ReadyQueue } from "./readyQueue.js"

export class Job implements Link {
  state: TaskState = "NEW"
  attempt = 1
  /** It has a slot. */
  holds = false
  /** It may be handed over before it has one. */
  early = false
  /** It was, and has none yet. */
  prefetched = false
  /** It was, and must wait for the word: better ones are queued. */
  held = false
  /** What keeps it from counting against the slots: its live children, and its waits for other jobs. */
  blockers = 0
  /** The waits of others that this job has a part in. */
  waits: Set<Wait> | undefined = undefined
  readonly depth: number
  prev: Link | undefined = undefined
  next: Link | undefined = undefined
  list: List<any> | undefined = undefined

  constructor(
    readonly uid: string,
    readonly name: string,
    readonly priority: number,
    /** Whose handler submitted it; dropped when it ends, because generations of tasks may follow each other. */
    public parent: Job | undefined
  ) {
    this.depth = parent === undefined ? 0 : parent.depth + 1
  }
}

/** One job waits for all of several others. */
export class Wait {
  constructor(
    readonly by: Job,
    /** Those that have not ended. */
    readonly targets: Set<Job>
  ) {}
}

export interface Limits {
  /** What automatic uids begin with. Default `task`. */
  readonly uids?: string
  /** Slots: jobs at the same time; Infinity for an engine with its own queue. */
  readonly concurrency: number
  /** Jobs that may be handed over before they have a slot. */
  readonly prefetch: number
  /** Live jobs without a parent; more have to wait. */
  readonly maxActiveTasks: number
  /** Live jobs with a parent; more are refused, because they could wait for ever. */
  readonly maxNestedTasks: number
  /** Ended jobs that are remembered. */
  readonly historySize: number
}

export interface Hooks<J extends Job> {
  /** The job has a slot, or is handed over early (`prefetch`): let it run. */
  readonly granted: (job: J) => void
  /** What was handed over early has a slot now (`go`), or must not take one by itself (`hold`). */
  readonly permitted: (job: J, word: "go" | "hold") => void
  /** Called after each change of state, exactly once per change. */
  readonly changed: (job: J) => void
}

/** A submission that waits for `count` places at once. `admitted` is called once, with false when the scheduler closes. */
export class Waiter implements Link {
  prev: Link | undefined = undefined
  next: Link | undefined = undefined
  list: List<any> | undefined = undefined
  constructor(
    readonly count: number,
    readonly admitted: (ok: boolean) => void
  ) {}
}

export class Scheduler<J extends Job> {
  readonly live = new Map<string, J>()
  readonly history: History
  closed = false
  /** There has been a job. */
  used = false
  /** Jobs in WAITING. */
  waiting = 0
  /** Jobs that hold a slot. */
  active = 0
  /** Changes of state until now. */
  moves = 0
  /** Jobs that hold one and count against the slots. */
  private counted = 0
  private readonly queue = new ReadyQueue<J>()
  /** Those that were handed over early, in that order. */
  private readonly early = new List<J>()
  private readonly waiters = new List<Waiter>()
  private admitted = 0
  private nested = 0
  private serial = 0

  constructor(
    private readonly limits: Limits,
    private readonly hooks: Hooks<J>
  ) {
    this.history = new History(limits.historySize)
  }

  get queued(): number {
    return this.queue.size + this.early.size
  }
  /** No job is active, queued or waits for a place: for tests of leaks. */
  get empty(): boolean {
    return (
      this.live.size === 0 &&
      this.admitted === 0 &&
      this.nested === 0 &&
      this.waiters.size === 0 &&
      this.active === 0 &&
      this.counted === 0 &&
      this.queue.size === 0 &&
      this.early.size === 0 &&
      this.waiting === 0
    )
  }

  /** Jobs that hold a slot and count against the slots. */
  holders(): Array<J> {
    return [...this.live.values()].filter(({ blockers, holds }) => holds && blockers === 0)
  }

  // ---------------------------------------------------------------------------------------------------------- places

  /**
   * Takes `count` places if they are there now and no submission waits for some. The caller makes a job of each place
   * or gives it back.
   */
  enter(nested: boolean, count = 1): boolean {
    if (nested) {
      if (this.nested + count > this.limits.maxNestedTasks) return false
      this.nested += count
      return true
    }
    if (this.waiters.size > 0 || this.admitted + count > this.limits.maxActiveTasks) return false
    this.admitted += count
    return true
  }
  /** False when so many can never be in. */
  fits(nested: boolean, count: number): boolean {
    return count <= (nested ? this.limits.maxNestedTasks : this.limits.maxActiveTasks)
  }
  wait(waiter: Waiter): void {
    this.waiters.push(waiter)
  }
  unwait(waiter: Waiter): void {
    if (this.waiters.remove(waiter)) this.admit()
  }
  leave(nested: boolean, count = 1): void {
    if (nested) this.nested -= count
    else {
      this.admitted -= count
      this.admit()
    }
  }
  private admit(): void {
    for (
      let next = this.waiters.first;
      next !== undefined && this.admitted + next.count <= this.limits.maxActiveTasks;
      next = this.waiters.first
    ) {
      this.waiters.remove(next)
      this.admitted += next.count
      next.admitted(true)
    }
  }

  // -------------------------------------------------------------------------------------------------------------- ids

  known(uid: string): boolean {
    return this.live.has(uid) || this.history.get(uid) !== undefined
  }
  /** The next automatic uid that is not in use. */
  uid(): string {
    for (;;) {
      const uid = `${this.limits.uids ?? "task"}.${String(++this.serial).padStart(6, "0")}`
      if (!this.known(uid)) return uid
    }
  }

  // ------------------------------------------------------------------------------------------------------------ states

  /** A job with a place becomes live. */
  accept(job: J): void {
    this.used = true
    this.live.set(job.uid, job)
    const { parent } = job
    if (parent !== undefined) this.block(parent)
    this.hooks.changed(job)
  }

  /** Queues it for a slot, which it may get at once. */
  ready(job: J): void {
    if (!this.move(job, "READY")) return
    this.queue.push(job)
    const last = this.early.last
    if (last !== undefined && isBefore(job, last)) this.holdBack(job)
    this.drain()
  }

  /** Its engine has really started it: with the slot of another that has ended, where it was handed over early. */
  executing(job: J): void {
    if (job.prefetched) this.take(job)
    if (job.state === "READY" && job.holds) this.move(job, "EXECUTING")
  }

  /** The attempt failed and another follows: the slot is free until `ready`. */
  retry(job: J): void {
    if (!this.move(job, "RETRYING")) return
    this.release(job)
    job.attempt++
    this.move(job, "WAITING")
  }

  /** The one terminal outcome. False when there was one already. */
  finish(job: J, state: Terminal): boolean {
    if (isTerminal(job.state)) return false
    if (state === "COMPLETED") this.executing(job)
    if (!job.prefetched) this.queue.remove(job)
    this.live.delete(job.uid)
    this.history.add(job.uid, state)
    const { parent, waits } = job
    // before the release, which lets another start where no job takes the slot back
    if (parent !== undefined) this.unblock(parent)
    for (const wait of waits ?? []) {
      wait.targets.delete(job)
      if (wait.targets.size === 0) this.unblock(wait.by)
    }
    this.release(job)
    this.move(job, state)
    job.parent = job.waits = undefined
    this.leave(parent !== undefined)
    return true
  }

  // ------------------------------------------------------------------------------------------------------------- waits

  /** The job waits for those of the others that live, until all of them have ended or it gives up: `unawait`. */
  await(by: Job, others: Iterable<Job>): Wait {
    const wait = new Wait(by, new Set())
    for (const other of others) {
      if (isTerminal(other.state)) continue
      wait.targets.add(other)
      other.waits ??= new Set()
      other.waits.add(wait)
    }
    if (wait.targets.size > 0) {
      this.block(by)
      this.drain()
    }
    return wait
  }
  unawait(wait: Wait): void {
    if (wait.targets.size === 0) return
    for (const target of wait.targets) target.waits?.delete(wait)
    wait.targets.clear()
    this.unblock(wait.by)
  }
  /** The job and all that wait for it, directly or not, as far as that is known: it must not wait for any of them. */
  dependents(job: Job): ReadonlySet<Job> {
    const all = new Set([job])
    // a set gives what is added while it is read
    for (const { parent, waits } of all) {
      if (parent !== undefined) all.add(parent)
      for (const { by } of waits ?? []) all.add(by)
    }
    return all
  }

  /** Nothing starts any more, and no job is admitted. */
  close(): void {
    this.closed = true
    for (let waiter = this.waiters.shift(); waiter !== undefined; waiter = this.waiters.shift()) waiter.admitted(false)
    this.holdBack()
  }

  /** Of what was handed over early, no job that comes after this one starts by itself any more; without one, none does. */
  holdBack(better?: J): void {
    for (let job = this.early.first; job !== undefined; job = job.next as J | undefined) {
      if (job.held || (better !== undefined && !isBefore(better, job))) continue
      job.held = true
      this.hooks.permitted(job, "hold")
    }
  }

  // ----------------------------------------------------------------------------------------------------------- private

  private move(job: J, state: TaskState): boolean {
    if (!canFollow(job.state, state)) return false
    if (job.state === "WAITING") this.waiting--
    else if (state === "WAITING") this.waiting++
    job.state = state
    this.moves++
    this.hooks.changed(job)
    return true
  }

  private block(job: Job): void {
    if (job.blockers++ === 0 && job.holds) this.counted--
  }
  private unblock(job: Job): void {
    if (--job.blockers === 0 && job.holds) this.counted++
  }

  private release(job: J): void {
    if (job.prefetched) {
      this.early.remove(job)
      job.prefetched = job.held = false
    } else if (job.holds) {
      job.holds = false
      this.active--
      if (job.blockers === 0) this.counted--
    } else return
    this.drain()
  }

  private take(job: J): void {
    if (job.prefetched) this.early.remove(job)
    job.prefetched = job.held = false
    job.holds = true
    this.active++
    if (job.blockers === 0) this.counted++
  }

  private drain(): void {
    while (!this.closed && this.counted < this.limits.concurrency) {
      const early = this.early.first
      const first = this.queue.first
      if (early !== undefined && (first === undefined || !isBefore(first, early))) {
        this.take(early)
        this.hooks.permitted(early, "go")
      } else {
        const job = this.queue.shift()
        if (job === undefined) return
        this.take(job)
        this.hooks.granted(job)
      }
    }
    this.handOver()
  }

  /** Only of a long queue: in a short one, equals start exactly in the order of their coming. */
  private handOver(): void {
    const { prefetch } = this.limits
    while (!this.closed && this.early.size < prefetch && this.queue.size > prefetch) {
      const job = this.queue.first!
      const { last } = this.early
      // they stay in the order in which they are to start
      if (!job.early || (last !== undefined && isBefore(job, last))) return
      this.queue.shift()
      job.prefetched = true
      this.early.push(job)
      this.hooks.granted(job)
    }
  }
}

/** Whether the first comes before the second by priority and depth, without the order of submission. */
const isBefore = (a: Job, b: Job): boolean =>
  a.priority > b.priority || (a.priority === b.priority && a.depth > b.depth)
