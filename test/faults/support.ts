/** Faults, declared per launcher; trees of processes, and who is left of them. */
import { execFileSync, spawn } from "node:child_process"
import { randomInt } from "node:crypto"
import { createRequire } from "node:module"
import { describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Effect, Fiber, Layer, Schedule } from "effect"
import type { Task } from "effect-rhapsody"
import { ConcurrentBackend, ExecutionBackend } from "effect-rhapsody"
import * as agentLauncher from "../../src/internal/launch/agentLauncher.js"
import { runExecutable } from "../../src/internal/launch/run.js"
import { command, eventually, failureOf, marked, root } from "../concurrent/support.js"
import type { Found } from "./system.js"
import { kill, processes, read } from "./system.js"

export const launchers = ["agent", "node"] as const
export type Launcher = (typeof launchers)[number]

type Test = Effect.Effect<void, unknown, Scope.Scope>

/** What a launcher does about a fault, and the test of it. */
interface Verdict {
  readonly what: string
  readonly test: Test
}
export const caught = (what: string, test: Test): Verdict => ({ what: `caught: ${what}`, test })
/** What it cannot do, by design: the test shows what happens instead. */
export const limit = (what: string, test: Test): Verdict => ({ what: `limit: ${what}`, test })

/** One fault: each launcher says what it does about it, and about its variants. */
export const fault = (name: string, verdicts: Readonly<Record<Launcher, Verdict | ReadonlyArray<Verdict>>>) => {
  describe(name, () => {
    for (const launcher of launchers) {
      for (const { test, what } of [verdicts[launcher]].flat()) {
        it.scopedLive(`${launcher} - ${what}`, () => test)
      }
    }
  })
}

/** The same verdict for both. */
export const both = (
  make: (what: string, test: Test) => Verdict,
  what: string,
  test: (launcher: Launcher) => Test
) => ({
  agent: make(what, test("agent")),
  node: make(what, test("node"))
})

// Behind the usual name there may be a script that takes its time, and agents are started for each test.
export const python = execFileSync("python3", ["-c", "import sys; print(sys.executable, end='')"], { encoding: "utf8" })

export type Options = Omit<ConcurrentBackend.Options, "launcher">

/** A backend of four slots, and no patience with those that ignore TERM. */
export const over = (launcher: Launcher, options: Options = {}) =>
  Effect.provide(
    ConcurrentBackend.layer({
      killGrace: "300 millis",
      maxWorkers: 4,
      ...(launcher === "agent" ? { python } : {}),
      ...options,
      launcher
    })
  )

/**
 * The same over one agent, with options that are not for users: silence, in milliseconds, after which the agent is taken
 * for dead, and after which it takes this process for dead.
 */
export const overOneAgent = (options: {
  readonly silence?: number
  readonly orchestratorSilence?: number
  readonly python?: string
}) => {
  const driver = Effect.map(
    agentLauncher.make({ python, env: { ...process.env }, agents: 1, ...options }),
    (launcher): ExecutionBackend.Driver<"executable"> => ({
      type: "one agent",
      kinds: ["executable"],
      honours: ExecutionBackend.programOptions,
      concurrency: 100,
      reportsExecuting: true,
      boundedStop: ["executable"],
      run: (spec, { unsafeExecuting: started }) =>
        spec.program._tag === "executable"
          ? runExecutable(launcher, spec, spec.program, { grace: 300, sandboxes: "/nowhere", started })
          : Effect.dieMessage(spec.program._tag)
    })
  )
  return Effect.provide(Layer.orDie(Layer.unwrapScoped(Effect.map(driver, (driver) => ExecutionBackend.layer(driver)))))
}

// -------------------------------------------------------------------------------------------------------------- trees

/** Trees of processes by what is hard about them; `leaf` is what each of their leaves runs. */
export const shapes = {
  "ignores TERM": (leaf: string) => `trap '' TERM; (${leaf}; :) & ${leaf}; :`,
  "timeout(1)": (leaf: string) => `exec timeout 100 ${leaf}`,
  "timeout(1) in a script": (leaf: string) => `timeout 100 ${leaf} & wait`,
  "set -m": (leaf: string) => `set -m; ${leaf} & (${leaf}; :) & wait`,
  setsid: (leaf: string) => `setsid ${leaf} & wait`,
  "double fork": (leaf: string) => `(setsid sh -c '${leaf} & ${leaf}; :' &); ${leaf}`,
  "env -i setsid": (leaf: string) => `env -i setsid ${leaf} & wait`,
  "env -i setsid, double fork": (leaf: string) => `(env -i setsid sh -c '${leaf} & ${leaf}; :' &); ${leaf}`
} as const
export type Shape = keyof typeof shapes
export const allShapes = Object.keys(shapes) as ReadonlyArray<Shape>
/** Leaves of each. */
const width: Record<Shape, number> = {
  "ignores TERM": 2,
  "timeout(1)": 1,
  "timeout(1) in a script": 1,
  "set -m": 2,
  setsid: 1,
  "double fork": 3,
  "env -i setsid": 1,
  "env -i setsid, double fork": 3
}

/**
 * Trees whose leaves sleep for a time that nobody else sleeps: by it they are found, and whoever holds it in a script,
 * also where the environment is gone. What carries `env` is found as well. None outlives the test.
 */
export const forest = Effect.gen(function* () {
  const { env } = yield* marked
  const mark = env.RHAPSODY_TEST_MARK
  const number = `${randomInt(10 ** 8, 10 ** 9)}${randomInt(10 ** 8, 10 ** 9)}`
  const seconds = (shape: Shape) => `100.${number}${allShapes.indexOf(shape)}`
  const survivors = () =>
    processes().filter(
      ({ args, pid }) => args.some((arg) => arg.includes(number)) || read(pid, "environ").includes(mark)
    )
  const leaves = Effect.sync(() => {
    const found = processes().filter(({ args }) => args[0] === "sleep" && args.length === 2)
    const count = (shape: Shape) => found.filter(({ args }) => args[1] === seconds(shape)).length
    return Object.fromEntries(allShapes.map((shape) => [shape, count(shape)])) as Record<Shape, number>
  })
  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      for (let left = survivors(); left.length > 0; left = survivors()) {
        for (const { pid } of left) kill(pid)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })
  )
  return {
    env,
    leaf: (shape: Shape) => `sleep ${seconds(shape)}`,
    script: (shape: Shape) => shapes[shape](`sleep ${seconds(shape)}`),
    /** Waits until so many trees of each shape stand. */
    stand: (trees: Partial<Record<Shape, number>>) =>
      leaves.pipe(
        Effect.filterOrFail(
          (now) => allShapes.every((shape) => now[shape] === width[shape] * (trees[shape] ?? 0)),
          (now) => `there stood only ${JSON.stringify(now)}`
        ),
        Effect.retry(Schedule.upTo(Schedule.spaced("50 millis"), "2 minutes"))
      ),
    /** Shapes that somebody is left of. */
    shapesAlive: Effect.map(leaves, (now) => allShapes.filter((shape) => now[shape] > 0)),
    alive: Effect.sync(() => survivors().map(({ args, pid }) => `${pid} ${args.join(" ").slice(0, 80)}`)),
    survivors
  }
})

/** The processes that do not end, although they have a minute. */
export const leftAtLast = (alive: Effect.Effect<ReadonlyArray<string>>) =>
  alive.pipe(
    Effect.filterOrFail(
      (left) => left.length === 0,
      (left) => left
    ),
    Effect.retry(Schedule.upTo(Schedule.spaced("50 millis"), "1 minute")),
    Effect.merge
  )

/** Blocks this whole process. */
export const block = (millis: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, millis)

/** The same as `leftAtLast`, with this process blocked all the time: others have to do it. */
export const leftWhileBlocked = (survivors: () => ReadonlyArray<Found>) =>
  Effect.sync(() => {
    const start = performance.now()
    while (survivors().length > 0 && performance.now() - start < 30_000) block(20)
    return survivors().map(({ args }) => args.join(" "))
  })

/** Waits until these have ended. */
export const gone = (pids: ReadonlyArray<number>) =>
  eventually(
    Effect.sync(() => processes().filter(({ pid }) => pids.includes(pid))),
    (left) => left.length === 0
  )

/** A script with job control. */
export const bash = (script: string, { env, uid }: Task.Options = {}) =>
  command(
    { executable: "bash", args: ["-c", script] },
    { ...(env === undefined ? {} : { env }), ...(uid === undefined ? {} : { uid }) }
  )

/** The reason of the error that a task ended with. */
export const reasonOf = (exit: Parameters<typeof failureOf>[0]): unknown => {
  const failure = failureOf(exit)
  return failure instanceof Error && "reason" in failure ? failure.reason : failure
}

export const reasons = (fibers: ReadonlyArray<Fiber.Fiber<unknown, unknown>>) =>
  Effect.forEach(fibers, (fiber) => Effect.map(Fiber.await(fiber), reasonOf))

// ------------------------------------------------------------------------------------------------------ orchestrators

/** A program of a user's own, for what would end this one; by default as this user. */
export interface Orchestrator {
  readonly program: "trees" | "thread" | "many" | "nobody" | "inherited" | "unkillable" | "hanging"
  readonly plan: unknown
  readonly env?: Readonly<Record<string, string>>
  /** What it is started by. */
  readonly before?: ReadonlyArray<string>
  readonly root?: string
  readonly cwd?: string
  readonly uid?: number
}

/** Starts it; whatever it prints as a line of JSON is what it says. */
export const orchestrate = ({ before = [], plan, program, root: from = root, ...options }: Orchestrator) =>
  Effect.gen(function* () {
    const tsx = createRequire(import.meta.url)
      .resolve("tsx")
      .replace(root, from)
    const file = `${from}test/faults/programs/${program}.ts`
    const flags = ["--conditions=effect-rhapsody-source", "--import", tsx]
    const [command, ...args] = [...before, process.execPath, ...flags, file, JSON.stringify(plan)]
    const { cwd = "/", env, uid } = options
    const ids = uid === undefined ? {} : { uid, gid: uid }
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn(command!, args, { cwd, env: { ...process.env, ...env }, ...ids })),
      (child) => Effect.sync(() => void child.kill("SIGKILL"))
    )
    let [stdout, stderr] = ["", ""]
    child.stdout.on("data", (chunk) => (stdout += chunk))
    child.stderr.on("data", (chunk) => (stderr += chunk))
    const exited = new Promise<number | string | null>((resolve) =>
      child.once("close", (code, signal) => resolve(signal ?? code))
    )
    return {
      pid: child.pid!,
      tell: (word: string) => Effect.sync(() => void child.stdin.write(`${word}\n`)),
      /** Its code, or the signal that it died of. */
      exit: Effect.promise(() => exited),
      /** What it said before its end. */
      said: Effect.promise(async () => {
        const code = await exited
        if (code !== 0) throw new Error(`it ended with ${code}: ${stdout}${stderr}`)
        return JSON.parse(stdout) as unknown
      }),
      output: Effect.sync(() => stdout + stderr)
    }
  })
