import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { ReadyQueue } from "../../src/internal/engine/scheduler/readyQueue.js"
import type { Wait } from "../../src/internal/engine/scheduler/scheduler.js"
import { Job, Scheduler, Waiter } from "../../src/internal/engine/scheduler/scheduler.js"
import type { TaskState } from "../../src/TaskState.js"
import { isTerminal, transitions } from "../../src/TaskState.js"

/** What a model of the scheduler may be asked to do, each with the job it is about (a number, taken modulo). */
type Command =
  | { readonly _tag: "submit"; readonly parent: number | undefined; readonly priority: number }
  | { readonly _tag: "executing" | "retry" | "ready" | "complete" | "fail" | "cancel"; readonly job: number }
  | { readonly _tag: "leave" | "unawait"; readonly job: number }
  | { readonly _tag: "await"; readonly job: number; readonly others: ReadonlyArray<number> }

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      _tag: fc.constant("submit" as const),
      parent: fc.option(fc.nat(), { nil: undefined }),
      priority: fc.integer({ min: -1, max: 1 })
    })
  },
  {
    weight: 6,
    arbitrary: fc.record({
      _tag: fc.constantFrom(
        "executing" as const,
        "retry" as const,
        "ready" as const,
        "complete" as const,
        "fail" as const,
        "cancel" as const
      ),
      job: fc.nat()
    })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      _tag: fc.constant("await" as const),
      job: fc.nat(),
      others: fc.array(fc.nat(), { maxLength: 3 })
    })
  },
  {
    weight: 1,
    arbitrary: fc.record({ _tag: fc.constantFrom("leave" as const, "unawait" as const), job: fc.nat() })
  }
)

const limits = { concurrency: 2, prefetch: 2, maxActiveTasks: 9, maxNestedTasks: 4, historySize: 3 }

const play = (commands: ReadonlyArray<Command>) => {
  const log = new Map<Job, Array<TaskState>>()
  const scheduler = new Scheduler<Job>(limits, {
    granted: (job) => {
      assert.strictEqual(job.state, "READY")
      assert.isTrue(job.prefetched || job.holds)
      if (job.prefetched) return
      // A job that waited counts again at once, whatever runs meanwhile; but no job starts beyond the limit.
      assert.isAtMost(counted(), limits.concurrency)
    },
    permitted: (job, word) => {
      assert.strictEqual(job.state, "READY")
      assert.deepStrictEqual([job.holds, job.held], word === "go" ? [true, false] : [false, true])
      if (word === "go") assert.isAtMost(counted(), limits.concurrency)
    },
    changed: (job) => {
      log.set(job, [...(log.get(job) ?? []), job.state])
    }
  })
  const waiting: Array<{ readonly waiter: Waiter; readonly priority: number }> = []
  const parents = new Map<Job, Job | undefined>()
  const waits: Array<{ readonly wait: Wait; readonly others: ReadonlyArray<Job> }> = []
  let serial = 0
  const create = (priority: number, parent: Job | undefined) => {
    const job = new Job(`j${++serial}`, "j", priority, parent)
    job.early = serial % 3 > 0 && parent === undefined
    parents.set(job, parent)
    scheduler.accept(job)
    scheduler.ready(job)
  }
  const isLive = (job: Job) => scheduler.live.has(job.uid)
  const waitsFor = (job: Job, other: Job) =>
    parents.get(other) === job || waits.some(({ others, wait }) => wait.by === job && others.includes(other))
  /** Jobs that hold a slot and wait for no live job, a child or another: these alone count. */
  const counted = () => {
    const live = [...scheduler.live.values()]
    return live.filter((job) => job.holds && !live.some((other) => waitsFor(job, other))).length
  }
  const check = () => {
    const live = [...scheduler.live.values()]
    const roots = live.filter((job) => job.parent === undefined).length
    assert.isAtMost(roots, limits.maxActiveTasks)
    assert.isAtMost(live.length - roots, limits.maxNestedTasks)
    const now = counted()
    // work conserving: no job is queued while a slot is free
    if (scheduler.queued > 0) assert.isAtLeast(now, limits.concurrency)
    const early = live.filter((job) => job.prefetched)
    assert.isAtMost(early.length, limits.prefetch)
    assert.isTrue(early.every((job) => job.early && job.state === "READY" && !job.holds))
    assert.strictEqual(scheduler.active, live.filter((job) => job.holds).length)
    assert.strictEqual(scheduler.waiting, live.filter((job) => job.state === "WAITING").length)
    assert.strictEqual(scheduler.queued, live.filter((job) => job.state === "READY" && !job.holds).length)
    assert.isTrue(live.every((job) => !isTerminal(job.state)))
    if (waiting.length > 0) assert.strictEqual(roots, limits.maxActiveTasks)
    for (const { others, wait } of waits) assert.deepStrictEqual([...wait.targets], others.filter(isLive))
    for (const job of live) {
      const dependents = scheduler.dependents(job)
      const direct = live.filter((other) => waitsFor(other, job) || parents.get(job) === other)
      assert.isTrue(dependents.has(job) && direct.every((other) => dependents.has(other)))
    }
  }
  const step = (command: Command) => {
    const live = [...scheduler.live.values()]
    if (command._tag === "submit") {
      const running = live.filter((job) => job.state === "EXECUTING")
      const parent = command.parent === undefined ? undefined : running[command.parent % running.length]
      if (scheduler.enter(parent !== undefined)) create(command.priority, parent)
      else if (parent === undefined) {
        const entry = {
          priority: command.priority,
          waiter: new Waiter(1, (admitted) => {
            waiting.splice(waiting.indexOf(entry), 1)
            if (admitted) create(command.priority, undefined)
          })
        }
        waiting.push(entry)
        scheduler.wait(entry.waiter)
      }
      return
    }
    if (command._tag === "leave") {
      const entry = waiting[command.job % waiting.length]
      if (entry === undefined) return
      scheduler.unwait(entry.waiter)
      waiting.splice(waiting.indexOf(entry), 1)
      return
    }
    if (command._tag === "unawait") {
      const [given] = waits.splice(command.job % Math.max(1, waits.length), 1)
      return given === undefined ? undefined : scheduler.unawait(given.wait)
    }
    const job = live[command.job % live.length]
    if (job === undefined) return
    if (command._tag === "await") {
      const targets = new Set(command.others.flatMap((other) => live[other % live.length] ?? []))
      for (const dependent of scheduler.dependents(job)) targets.delete(dependent)
      if (!job.holds) return
      // before the call, in which others start
      const others = [...targets]
      const wait = { by: job, targets } as Wait
      const entry = { wait, others }
      waits.push(entry)
      waits[waits.indexOf(entry)] = { wait: scheduler.await(job, others), others }
      return
    }
    switch (command._tag) {
      case "executing":
        return scheduler.executing(job)
      case "retry":
        return job.holds ? scheduler.retry(job) : undefined
      case "ready":
        return job.state === "WAITING" ? scheduler.ready(job) : undefined
      case "complete":
        return job.holds ? void scheduler.finish(job, "COMPLETED") : undefined
      case "fail":
        return void scheduler.finish(job, "FAILED")
      case "cancel":
        return void scheduler.finish(job, "CANCELED")
    }
  }
  for (const command of commands) {
    step(command)
    check()
  }
  return { scheduler, log, waiting }
}

describe("the state scheduler", () => {
  it("keeps its limits, loses no job and starts all it can, in any order of events", () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 120 }), (commands) => {
        const { log, scheduler, waiting } = play(commands)
        for (const states of log.values()) {
          for (let i = 1; i < states.length; i++) {
            assert.include(transitions[states[i - 1]!] as ReadonlyArray<TaskState>, states[i])
          }
          assert.isAtMost(states.filter(isTerminal).length, 1)
        }
        // everything ends: nothing is left, the second end of a job is refused
        while (scheduler.live.size > 0) {
          const [job] = scheduler.live.values()
          assert.isTrue(scheduler.finish(job!, "CANCELED"))
          assert.isFalse(scheduler.finish(job!, "COMPLETED"))
        }
        assert.strictEqual(waiting.length, 0)
        assert.isTrue(scheduler.empty)
        assert.isTrue([...log.values()].every((states) => isTerminal(states.at(-1)!)))
        assert.isAtMost([...scheduler.history.entries()].length, limits.historySize)
      }),
      { numRuns: 1_000 }
    )
  })

  it("closed, starts and admits no job and answers every submission that waits", () => {
    const { scheduler, waiting } = play(
      Array.from({ length: 13 }, (): Command => ({ _tag: "submit", parent: undefined, priority: 0 }))
    )
    assert.strictEqual(waiting.length, 4)
    scheduler.close()
    assert.strictEqual(waiting.length, 0)
    const [first] = scheduler.live.values()
    scheduler.finish(first!, "CANCELED")
    assert.strictEqual(scheduler.active, 1)
  })

  describe("hands jobs over early", () => {
    /** One slot, two early ones; says what it did, in order. */
    const start = () => {
      const said: Array<string> = []
      const scheduler = new Scheduler<Job>(
        { concurrency: 1, prefetch: 2, maxActiveTasks: 99, maxNestedTasks: 99, historySize: 0 },
        {
          granted: (job) => said.push(`${job.uid} ${job.prefetched ? "early" : "slot"}`),
          permitted: (job, word) => said.push(`${job.uid} ${word}`),
          changed: () => {}
        }
      )
      const submit = (uid: string, priority = 0, early = true) => {
        scheduler.enter(false)
        const job = new Job(uid, "j", priority, undefined)
        job.early = early
        scheduler.accept(job)
        scheduler.ready(job)
        return job
      }
      const heard = () => said.splice(0)
      return { scheduler, submit, heard }
    }

    it("of a long queue only, and gives them slots in order", () => {
      const { heard, scheduler, submit } = start()
      const [a, b] = ["a", "b", "c", "d", "e", "f"].map((uid) => submit(uid))
      assert.deepStrictEqual(heard(), ["a slot", "b early", "c early"])
      assert.deepStrictEqual([scheduler.queued, scheduler.active], [5, 1])
      scheduler.executing(a!)
      scheduler.finish(a!, "COMPLETED")
      assert.deepStrictEqual(heard(), ["b go", "d early"])
      scheduler.finish(b!, "CANCELED")
      assert.deepStrictEqual(heard(), ["c go"])
      scheduler.close()
      assert.deepStrictEqual(heard(), ["d hold"])
    })

    it("lets one that took a place keep it: no other gets the slot of the one that ended", () => {
      const { heard, scheduler, submit } = start()
      const [a, , c] = ["a", "b", "c", "d", "e", "f"].map((uid) => submit(uid))
      heard()
      scheduler.executing(c!)
      assert.deepStrictEqual([c!.state, scheduler.active], ["EXECUTING", 2])
      scheduler.finish(a!, "COMPLETED")
      assert.deepStrictEqual([heard(), scheduler.active], [["d early"], 1])
    })

    it("holds back who is worse than one that comes later, and starts that one first", () => {
      const { heard, scheduler, submit } = start()
      const [a] = ["a", "b", "c", "d", "e", "f"].map((uid) => submit(uid))
      heard()
      const better = submit("better", 1)
      assert.deepStrictEqual(heard(), ["b hold", "c hold"])
      submit("good", 1)
      submit("worse", -1)
      assert.deepStrictEqual(heard(), [])
      scheduler.finish(a!, "COMPLETED")
      scheduler.finish(better, "COMPLETED")
      assert.deepStrictEqual(heard(), ["better slot", "good slot"])
    })

    it("no job past one that must have a slot first", () => {
      const { heard, submit } = start()
      for (const uid of ["a", "b", "c", "d", "e", "f"]) submit(uid, 0, uid !== "c")
      assert.deepStrictEqual(heard(), ["a slot", "b early"])
    })

    it("and lets them leave", () => {
      const { heard, scheduler, submit } = start()
      const all = ["a", "b", "c", "d", "e", "f"].map((uid) => submit(uid))
      heard()
      scheduler.finish(all[1]!, "CANCELED")
      assert.deepStrictEqual(heard(), ["d early"])
      for (const job of all) scheduler.finish(job, "FAILED")
      assert.isTrue(scheduler.empty)
    })
  })

  it("remembers the last that ended, in a ring", () => {
    const { scheduler } = play([])
    for (const uid of ["a", "b", "c", "d", "e"]) {
      assert.isTrue(scheduler.enter(false))
      const job = new Job(uid, "j", 0, undefined)
      scheduler.accept(job)
      scheduler.finish(job, "CANCELED")
    }
    assert.deepStrictEqual(
      ["a", "b", "c", "d", "e"].map((uid) => scheduler.history.get(uid)),
      [undefined, undefined, "CANCELED", "CANCELED", "CANCELED"]
    )
  })
})

describe("the ready queue", () => {
  it("gives what a sorted list gives, also after removals", () => {
    const item = fc.record({ priority: fc.integer({ min: -2, max: 2 }), parent: fc.boolean(), remove: fc.boolean() })
    fc.assert(
      fc.property(fc.array(item, { maxLength: 60 }), (items) => {
        const queue = new ReadyQueue<Job>()
        const root = new Job("root", "j", 0, undefined)
        const jobs = items.map(({ parent, priority }, i) => new Job(`${i}`, "j", priority, parent ? root : undefined))
        for (const job of jobs) queue.push(job)
        const kept = jobs.filter((job, i) => !items[i]!.remove || !queue.remove(job))
        assert.isFalse(queue.remove(root))
        assert.strictEqual(queue.size, kept.length)
        const expected = kept
          .map((job, i) => ({ job, i }))
          .sort((a, b) => b.job.priority - a.job.priority || b.job.depth - a.job.depth || a.i - b.i)
          .map(({ job }) => job.uid)
        const given: Array<string> = []
        for (let job = queue.shift(); job !== undefined; job = queue.shift()) given.push(job.uid)
        assert.deepStrictEqual(given, expected)
        assert.strictEqual(queue.size, 0)
      }),
      { numRuns: 300 }
    )
  })
})
