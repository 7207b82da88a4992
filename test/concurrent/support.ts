/** Programs, and how to hear of them: what the tests with real processes share. */
import { execFileSync } from "node:child_process"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import { Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { inspect } from "node:util"
import { describe } from "@effect/vitest"
import { Cause, Effect, Exit, Option, Queue, Schedule, Schema } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { ConfigurationError, TaskError } from "effect-rhapsody/Errors"

/** What starts the programs: launch agents, or Node itself. */
export type Launcher = "agent" | "node"

// Behind the usual name there may be a script that takes its time, and agents are started for each test.
const python = execFileSync("python3", ["-c", "import sys; print(sys.executable, end='')"], { encoding: "utf8" })

const over = (launcher: Launcher) => {
  const options = launcher === "agent" ? { launcher, python } : { launcher }
  return {
    launcher,
    /** Of a backend over this launcher. */
    options,
    provide: (own: ConcurrentBackend.Options = {}) => Effect.provide(ConcurrentBackend.layer({ ...own, ...options }))
  }
}
export type Over = ReturnType<typeof over>

/** The same tests over each launcher. Where one of them is limited, by design, the test says so: `launcher === "node"`. */
export const overBoth = (name: string, tests: (over: Over) => void): void => {
  for (const launcher of ["agent", "node"] as const) describe(`${name}, over ${launcher}`, () => tests(over(launcher)))
}

export const root = fileURLToPath(new URL("../..", import.meta.url))

/** A script for the shell; its result is all that is known. */
export const Sh = Task.executable("Sh", {
  payload: { script: Schema.String },
  success: Task.Output,
  command: ({ script }) => ({ executable: "sh", args: ["-c", script] })
})
export const sh = (script: string, options?: Task.Options) => Sh.make({ script }, options)
export type Program = Task.Instance<Task.Output, never, ExecutionBackend.ExecutionBackend<"executable">>

/** A command as it is; untyped, for what must be refused at run time. */
export const command = (command: unknown, options?: Task.Options) =>
  Task.executable("Command", { success: Task.Output, command: () => command as Task.Command }).make(undefined, options)

/** What a shell sees as one word. */
export const quote = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`

export const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()
/** Never anything but UTF-8's beginning of a character. */
export const notUtf8 = Uint8Array.of(0x61, 0xff, 0xfe)

/** A directory of the test's own, without symbolic links in its path. */
export const directory = Effect.acquireRelease(
  Effect.sync(() => fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "effect-rhapsody-")))),
  (path) => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true }))
)

/** A program file. */
export const program = (path: string, script: string, mode = 0o755) =>
  Effect.sync(() => {
    fs.writeFileSync(path, `#!/bin/sh\n${script}\n`)
    fs.chmodSync(path, mode)
    return path
  })

// Open for both directions, a FIFO never ends and never blocks who opens its other end.
const fifo = Effect.map(directory, (directory) => {
  const path = join(directory, "fifo")
  execFileSync("mkfifo", [path])
  return { path, fd: fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK) }
})

/** Programs write lines to `path`, the test takes them as they come: `echo ready > "$path"`. */
export const inbox = Effect.gen(function* () {
  const { fd, path } = yield* fifo
  const lines = yield* Queue.unbounded<string>()
  const socket = yield* Effect.acquireRelease(
    Effect.sync(() => new Socket({ fd, readable: true, writable: false })),
    (socket) => Effect.sync(() => void socket.destroy())
  )
  createInterface({ input: socket }).on("line", (line) => lines.unsafeOffer(line))
  const take = Effect.timeoutFailCause(Queue.take(lines), {
    duration: "2 minutes",
    onTimeout: () => Cause.die("no line came")
  })
  return {
    path,
    take,
    takeN: (n: number) => Effect.replicateEffect(take, n),
    /** Those that are there. */
    rest: Effect.map(Queue.takeAll(lines), (lines) => [...lines])
  }
})

/** Programs wait at `path` to be let through, one for each `open`: `read x < "$path"`. */
export const gate = Effect.gen(function* () {
  const { fd, path } = yield* fifo
  yield* Effect.addFinalizer(() => Effect.sync(() => fs.closeSync(fd)))
  return { path, open: (n = 1) => Effect.sync(() => void fs.writeSync(fd, "\n".repeat(n))) }
})

/**
 * Programs that carry `env`, or `mark` in an argument, are known by it, wherever they are in the tree of processes, and
 * do not outlive the test. `alive` shows those that live; the dead that are not reaped have neither any more.
 */
export const marked = Effect.gen(function* () {
  const mark = randomUUID()
  const found = (): ReadonlyArray<{ readonly pid: number; readonly what: string }> =>
    fs.readdirSync("/proc").flatMap((pid) => {
      try {
        if (!/^\d+$/.test(pid)) return []
        const what = fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ")
        const carries = what.includes(mark) || fs.readFileSync(`/proc/${pid}/environ`, "latin1").includes(mark)
        return carries ? [{ pid: Number(pid), what }] : []
      } catch {
        return [] // ended meanwhile
      }
    })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const { pid } of found()) {
        try {
          process.kill(pid, "SIGKILL")
        } catch {} // it ended with another
      }
    })
  )
  return { mark, env: { RHAPSODY_TEST_MARK: mark }, alive: Effect.sync(() => found().map(({ what }) => what)) }
})

/** The processes that one is the parent of. */
export const childrenOf = (pid: number | "self"): ReadonlyArray<number> =>
  fs
    .readdirSync(`/proc/${pid}/task`)
    .flatMap((thread) => fs.readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").match(/\d+/g) ?? [])
    .map(Number)

/** The launch agents of this process and their keepers, two processes each. */
export const agents = Effect.sync((): ReadonlyArray<number> => {
  const isAgent = (pid: number) => fs.readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("launch agent")
  const keepers = childrenOf("self").filter(isAgent)
  return [...keepers, ...keepers.flatMap(childrenOf).filter(isAgent)]
})

/** For what no event reports: asks again and again, with a bound. */
export const eventually = <A, E, R>(ask: Effect.Effect<A, E, R>, good: (a: A) => boolean) =>
  ask.pipe(
    Effect.filterOrFail(good, (last) => `it stayed ${JSON.stringify(last)}`),
    Effect.retry(Schedule.intersect(Schedule.spaced("10 millis"), Schedule.recurs(12_000)))
  )

/** The failure that a task ended with. */
export const failureOf = <A, E>(exit: Exit.Exit<A, E>): unknown =>
  Exit.match(exit, {
    onSuccess: (value) => ({ success: value }),
    onFailure: (cause) => Option.getOrElse(Cause.failureOption(cause), () => cause)
  })

/** Runs a task that does not succeed, and answers with its error. */
export const failing = <I extends Task.Instance<any, any, any>>(task: I) =>
  Effect.map(Effect.exit(ExecutionBackend.execute(task)), failureOf)

const mustBe =
  <E>(Class: new (...args: any) => E) =>
  (error: unknown): E => {
    if (error instanceof Class) return error
    throw new Error(`not a ${Class.name}: ${inspect(error)}`)
  }

/** The same for what must fail with a `TaskError`. */
export const taskError = <I extends Task.Instance<any, any, any>>(task: I) =>
  Effect.map(failing(task), mustBe(TaskError))

/** The same for what must be refused. */
export const refusal = <I extends Task.Instance<any, any, any>>(task: I) =>
  Effect.map(failing(task), mustBe(ConfigurationError))
