// Random programs over real processes: whatever is submitted, cancelled, interrupted, killed and closed in whatever
// order, I1 to I6 hold. SCHEDULES sets how many (300 in CI), SCHEDULES_SEED repeats a run.
import { execFileSync } from "node:child_process"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, FastCheck as fc, Schedule, Schema, Stream } from "effect"
import type { Driver } from "effect-rhapsody"
import { Backend, ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import type { StateChange } from "effect-rhapsody/TaskState"
import { canFollow, isTerminal } from "effect-rhapsody/TaskState"
import { isChange } from "../support.js"

const runs = Number(process.env["SCHEDULES"] ?? 300)
const seed = Number(process.env["SCHEDULES_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
const mark = randomUUID()
const python = execFileSync("python3", ["-c", "import sys; print(sys.executable, end='')"], { encoding: "utf8" })

/** What a task does; those in the first row end by themselves. */
const kinds = ["echo", "fail", "missing", "brief", "daemon", "late", "sleep", "stubborn", "tree", "escaped"] as const
type Kind = (typeof kinds)[number]
const endless: ReadonlySet<Kind> = new Set(["sleep", "stubborn", "tree", "escaped"])

const scripts: Record<Exclude<Kind, "echo" | "fail" | "missing">, string> = {
  brief: "sleep 0.01",
  daemon: "(setsid sleep 300 &) ; sleep 300 & exit 0",
  late: "trap 'exit 7' TERM; sleep 0.03 & wait; exit 0",
  sleep: "sleep 300",
  stubborn: "trap '' TERM; sleep 300; sleep 300",
  tree: "sleep 300 & (sleep 300 & sleep 300) & wait",
  escaped: "setsid sleep 300 & (setsid sh -c 'sleep 300 & sleep 300' &); sleep 300"
}

const Work = Task.executable("Work", {
  payload: { kind: Schema.Literal(...kinds), bytes: Schema.Uint8ArrayFromSelf },
  success: Schema.Uint8ArrayFromSelf,
  env: { RHAPSODY_TEST_MARK: mark },
  command: ({ bytes, kind }) => {
    switch (kind) {
      case "echo":
        return { executable: "cat", stdin: bytes }
      case "fail":
        return { executable: "false" }
      case "missing":
        return { executable: "no-such-program" }
      default:
        return { executable: "sh", args: ["-c", scripts[kind]] }
    }
  }
})

type Step =
  | {
      readonly _tag: "submit"
      readonly kind: Kind
      readonly size: number
      readonly timeout: number | undefined
      readonly retries: number
      readonly uid: number | undefined
    }
  | { readonly _tag: "cancel" | "interrupt" | "kill" | "await"; readonly which: number }
  | { readonly _tag: "cancelAll" | "yield" | "loseLauncher" }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      _tag: fc.constant("submit" as const),
      kind: fc.constantFrom(...kinds),
      size: fc.oneof(fc.integer({ min: 0, max: 100 }), fc.constant(200_000)),
      timeout: fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined, freq: 1 }),
      retries: fc.integer({ min: 0, max: 1 }),
      uid: fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined, freq: 4 })
    })
  },
  {
    weight: 4,
    arbitrary: fc.record({
      _tag: fc.constantFrom("cancel" as const, "interrupt" as const, "kill" as const, "await" as const),
      which: fc.nat()
    })
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constantFrom("cancelAll" as const, "yield" as const) }) }
)
const losing: fc.Arbitrary<Step> = fc.oneof(
  { weight: 40, arbitrary: step },
  { weight: 1, arbitrary: fc.constant({ _tag: "loseLauncher" } as const) }
)

// ----------------------------------------------------------------------------------------------- processes, from outside

const read = (path: string): string => {
  try {
    return fs.readFileSync(path, "latin1")
  } catch {
    return "" // it ended meanwhile
  }
}
const pids = () => fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))
const marked = (what: string) =>
  pids().filter((pid) => {
    const env = read(`/proc/${pid}/environ`)
    return env.includes(mark) && env.includes(what)
  })
const kill = (pid: string) => {
  try {
    process.kill(Number(pid), "SIGKILL")
  } catch {
    // it ended meanwhile
  }
}
const childrenOf = (pid: string) => read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean)
/** Keepers are children of this process, their agents are theirs. */
const keepers = () =>
  childrenOf(String(process.pid)).filter((pid) => read(`/proc/${pid}/cmdline`).includes("effect-rhapsody launch agent"))
const agents = () => keepers().flatMap(childrenOf)
/** For what no event reports. */
const until = (good: () => boolean, what: () => string) =>
  Effect.runPromise(
    Effect.retry(
      Effect.suspend(() => (good() ? Effect.void : Effect.fail(what()))),
      { times: 1000, schedule: Schedule.spaced("5 millis") }
    )
  )
const descriptors = () => [String(process.pid), ...agents()].map((pid) => fs.readdirSync(`/proc/${pid}/fd`).length)

// -------------------------------------------------------------------------------------------------------------- programs

/** What was done to a task, or around it, that its end may come from. */
interface Known {
  readonly step: Extract<Step, { readonly _tag: "submit" }>
  readonly bytes: Uint8Array
  readonly fiber: Fiber.Fiber<Uint8Array, unknown> & { readonly uid: string }
  readonly done: Set<"cancel" | "interrupt" | "kill" | "close">
}

const contentOf = (size: number) => Uint8Array.from({ length: size }, (_, i) => (i * 7 + size) % 256)

const nameOf = (exit: Exit.Exit<Uint8Array, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.isInterruptedOnly(exit.cause)) return "interrupted"
  const error = Cause.squash(exit.cause)
  return error instanceof TaskError ? error.reason : `not a TaskError: ${String(error)}`
}

const natural: Record<Kind, ReadonlyArray<string>> = {
  echo: ["success"],
  fail: ["Exit"],
  missing: ["LaunchFailed"],
  brief: ["success"],
  daemon: ["success"],
  late: ["success"],
  sleep: [],
  stubborn: [],
  tree: [],
  escaped: []
}

/** How a task may end, after all that was done. */
const allowed = ({ done, step }: Known, lost: boolean): ReadonlyArray<string> => [
  ...natural[step.kind],
  ...(step.timeout === undefined ? [] : ["Timeout"]),
  ...(done.has("cancel") || done.has("close") ? ["Canceled"] : []),
  ...(done.has("interrupt") ? ["interrupted"] : []),
  // a shell whose child was killed may end with a code, or go on to its end
  ...(done.has("kill") ? ["Signal", "Exit", "success"] : []),
  // also what was submitted before the loss was heard of
  ...(lost ? ["Lost"] : [])
]

const perform = (steps: ReadonlyArray<Step>, known: Array<Known>, killed: Array<string>) =>
  Effect.gen(function* () {
    const pick = (which: number) => (known.length === 0 ? undefined : known[which % known.length])
    for (const step of steps) {
      switch (step._tag) {
        case "submit": {
          const bytes = contentOf(step.size)
          const uid = step.uid === undefined ? undefined : `given.${step.uid}`
          const taken = uid !== undefined && known.some(({ fiber }) => fiber.uid === uid)
          const submitted = yield* Effect.either(
            ExecutionBackend.submit(
              Work.make(
                { kind: step.kind, bytes },
                {
                  ...(uid === undefined ? {} : { uid }),
                  ...(step.timeout === undefined ? {} : { timeout: step.timeout }),
                  retry: { times: step.retries, schedule: Schedule.forever }
                }
              )
            )
          )
          assert.strictEqual(submitted._tag, taken ? "Left" : "Right")
          if (submitted._tag === "Right") known.push({ step, bytes, fiber: submitted.right, done: new Set() })
          break
        }
        case "cancel": {
          const one = pick(step.which)
          if (one === undefined) break
          one.done.add("cancel")
          yield* Effect.fork(ExecutionBackend.cancel(one.fiber.uid))
          break
        }
        case "interrupt": {
          const one = pick(step.which)
          if (one === undefined) break
          one.done.add("interrupt")
          yield* Fiber.interruptFork(one.fiber)
          break
        }
        case "kill": {
          const one = pick(step.which)
          if (one === undefined) break
          one.done.add("kill")
          const [victim] = marked(`RHAPSODY_TASK_UID=${one.fiber.uid}`)
          if (victim !== undefined) kill(victim)
          break
        }
        case "await": {
          const one = pick(step.which)
          const ends = one !== undefined && (!endless.has(one.step.kind) || one.step.timeout !== undefined)
          // it may wait behind endless ones for its slot
          if (ends) yield* Effect.timeoutOption(Fiber.await(one.fiber), "100 millis")
          break
        }
        case "cancelAll":
          for (const { done } of known) done.add("cancel")
          yield* Effect.fork(ExecutionBackend.cancelAll)
          break
        case "yield":
          yield* Effect.sleep("5 millis")
          break
        case "loseLauncher":
          for (const keeper of keepers()) {
            const [agent] = childrenOf(keeper)
            if (agent === undefined) continue // it is about to be
            killed.push(keeper)
            kill(agent)
          }
      }
    }
  })

/** I1: legal states, one end. I3: nothing of what was refused. */
const checkStates = (known: ReadonlyArray<Known>, changes: ReadonlyArray<StateChange>) => {
  const byUid = new Map(known.map(({ fiber }) => [fiber.uid, [] as Array<StateChange>]))
  for (const change of changes) {
    const own = byUid.get(change.uid)
    assert.isDefined(own, `${change.uid} was refused, and has an event`)
    const last = own!.at(-1)
    if (last !== undefined) assert.isTrue(canFollow(last.state, change.state), `${last.state} -> ${change.state}`)
    own!.push(change)
  }
  for (const [uid, own] of byUid)
    assert.lengthOf(
      own.filter(({ state }) => isTerminal(state)),
      1,
      uid
    )
}

const check = (launcher: "agent" | "node", driver: Driver.SlotDriver<ConcurrentBackend.Kinds>) => {
  let lost = false
  let before: ReadonlyArray<number> | undefined
  return async (steps: ReadonlyArray<Step>): Promise<void> => {
    const known: Array<Known> = []
    /** Keepers whose agents were. */
    const killed: Array<string> = []
    lost ||= steps.some(({ _tag }) => _tag === "loseLauncher")
    const program = Effect.gen(function* () {
      const changes: Array<StateChange> = []
      const events = yield* ExecutionBackend.events
      const reader = yield* Effect.forkDaemon(
        Stream.runForEach(events, (event) => Effect.sync(() => isChange(event) && changes.push(event)))
      )
      yield* perform(steps, known, killed)
      for (const { done } of known) done.add("close")
      return { changes, reader }
    })
    // the subscription outlives the backend, whose end ends the stream
    const { changes } = await Effect.runPromise(
      Effect.scoped(Effect.tap(Effect.provide(program, Backend.layer(driver)), ({ reader }) => Fiber.await(reader)))
    )
    for (const one of known) {
      const exit = await Effect.runPromise(Fiber.await(one.fiber))
      assert.include(
        allowed(one, killed.length > 0),
        nameOf(exit),
        JSON.stringify({ ...one.step, done: [...one.done], exit })
      )
      // I6
      if (Exit.isSuccess(exit) && one.step.kind === "echo" && !one.done.has("kill")) {
        assert.isTrue(Buffer.from(exit.value).equals(one.bytes), "its output is its input")
      }
    }
    checkStates(known, changes)
    // I2; a reaped parent's child may be on its way for a moment
    if (launcher === "agent") {
      await until(
        () => marked("").length === 0,
        () =>
          marked("")
            .map((pid) => read(`/proc/${pid}/cmdline`))
            .join("; ")
      )
    } else for (const pid of marked("")) kill(pid) // who left its group is not found: a documented limit
    // I4; the first program warms up
    if (before === undefined) before = descriptors()
    else if (!lost)
      await until(
        () => descriptors().every((n, i) => n <= before![i]!),
        () => `${descriptors()}, ${before}`
      )
    else
      await until(
        () => !childrenOf(String(process.pid)).some((pid) => killed.includes(pid)),
        () => "a keeper stays"
      )
  }
}

/** Starts all agents. */
const warmUp: ReadonlyArray<Step> = [0, 1, 2].flatMap(
  (): ReadonlyArray<Step> => [
    { _tag: "submit", kind: "sleep", size: 0, timeout: undefined, retries: 0, uid: undefined },
    ...Array.from({ length: 60 }, () => ({ _tag: "yield" as const }))
  ]
)

describe("random schedules", () => {
  for (const [launcher, share] of [
    ["agent", 0.8],
    ["node", 0.2]
  ] as const) {
    it.scopedLive(
      `of submissions, cancels, timeouts, kills and closes keep I1 to I6, over ${launcher} (${Math.ceil(runs * share)}, seed ${seed})`,
      () =>
        Effect.gen(function* () {
          const driver = yield* ConcurrentBackend.driver({
            maxWorkers: 2,
            prefetch: 1,
            forceKillAfter: "50 millis",
            ...(launcher === "agent" ? { launcher, python } : { launcher })
          })
          const steps = fc.array(launcher === "agent" ? losing : step, { minLength: 1, maxLength: 16 })
          const keeps = check(launcher, driver)
          yield* Effect.promise(() => keeps(warmUp))
          yield* Effect.promise(() =>
            fc.assert(fc.asyncProperty(steps, keeps), {
              seed,
              numRuns: Math.ceil(runs * share),
              endOnFailure: true
            })
          )
        }),
      { timeout: Math.max(600_000, runs * 5000) }
    )
  }
})
