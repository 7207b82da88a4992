/** The rows of backends that start programs on this machine: what goes in, what comes out, and that nothing stays. */

import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Row, Subject } from "../../Conformance.js"
import { TaskError } from "../../Errors.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import * as Task from "../../Task.js"
import { ConformanceError, check, endsAs, failsAs, same, until } from "./check.js"

const Run = Task.executable("Run", {
  payload: { script: Schema.String, args: Schema.Array(Schema.String) },
  success: Task.Output,
  command: ({ args, script }) => ({ executable: "sh", args: ["-c", script, "sh", ...args] })
})
const sh = (script: string, options?: Task.Options<never>, ...args: ReadonlyArray<string>) =>
  Run.make({ script, args }, options)

const Feed = Task.executable("Feed", {
  payload: { bytes: Schema.Uint8ArrayFromSelf },
  success: Schema.Uint8ArrayFromSelf,
  command: ({ bytes }) => ({ executable: "cat", stdin: bytes })
})
const Text = Task.executable("Text", {
  payload: { script: Schema.String },
  command: ({ script }) => ({ executable: "sh", args: ["-c", script] })
})
const Missing = Task.executable("Missing", { command: () => ({ executable: "effect-rhapsody-no-such-program" }) })

/** Processes with a variable of this value in their environment; the dead that wait to be reaped are none. */
const marked = (mark: string): number =>
  fs
    .readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return (
          fs.readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`RHAPSODY_MARK=${mark}`) &&
          !/^State:\s+[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, "latin1"))
        )
      } catch {
        return false // ended meanwhile
      }
    }).length

let serial = 0
const newMark = Effect.sync(() => `${process.pid}-${++serial}`)
const alive = (mark: string) => Effect.sync(() => marked(mark))
const noneLeft = (mark: string) => Effect.flatMap(alive(mark), (left) => same(left, 0, "processes left"))

/** Three generations, of which one ignores TERM. */
const tree = `sh -c 'trap "" TERM; sleep 3600 & wait; wait' & sh -c 'sleep 3600 & wait' & wait`
/** As soon as all of them run, with a mark of its own. */
const grown = Effect.gen(function* () {
  const mark = yield* newMark
  const fiber = yield* ExecutionBackend.submit(sh(tree, { env: { RHAPSODY_MARK: mark } }))
  yield* until(Effect.map(alive(mark), (count) => count >= 5))
  return { fiber, mark }
})

const { execute } = ExecutionBackend

/** That a backend which runs no programs says so. */
export const refusesPrograms = ({ layer }: Subject): Effect.Effect<void, unknown> =>
  Effect.flatMap(ExecutionBackend.ExecutionBackend, (backend) =>
    failsAs(
      backend.submit(Missing.make() as Task.Instance<string, never, never>),
      "ConfigurationError UnsupportedKind",
      "a program"
    )
  ).pipe(Effect.provide(layer()))

export const processes = ({ layer, orchestrator }: Subject): ReadonlyArray<Row> => {
  const row = (id: string, title: string, body: Effect.Effect<unknown, unknown, any>): Row => ({
    id: `process-${id}`,
    title,
    run: Effect.scoped(Effect.provide(body as Effect.Effect<unknown, unknown, never>, layer()))
  })
  const failure = (task: Task.Instance<any, any, any>) =>
    Effect.flatMap(Effect.flip(execute(task)), (error) =>
      error instanceof TaskError
        ? Effect.succeed(error)
        : new ConformanceError({ message: `not a TaskError: ${error}` })
    )

  return [
    row(
      "exit",
      "an exit code is exact, and the error has the end of stderr",
      Effect.forEach([1, 2, 75, 126, 127, 255], (code) =>
        Effect.flatMap(failure(sh(`echo why >&2; exit ${code}`)), ({ details, exitCode, reason }) =>
          same([reason, exitCode, details["stderr"]], ["Exit", code, "why"], `exit ${code}`)
        )
      )
    ),
    row(
      "signal",
      "a death by signal is told with its name",
      Effect.forEach(["TERM", "KILL", "SEGV"], (signal) =>
        Effect.flatMap(failure(sh(`kill -${signal} $$`)), (error) =>
          same([error.reason, error.signal], ["Signal", `SIG${signal}`], signal)
        )
      )
    ),
    row(
      "arguments",
      "arguments are passed on as they are, through no shell",
      Effect.gen(function* () {
        const args = ["", " ", "a b", "$HOME", "`id`", "'", '"', ";", "|", "*", "\n", "\\", "é", "-n"]
        const output = yield* execute(sh(`printf '%s\\0' "$@"`, {}, ...args))
        yield* same(output.stdout.split("\0").slice(0, -1), args, "arguments")
      })
    ),
    row(
      "environment",
      "the environment is the inherited one with what the task adds and removes; a secret reaches the program",
      Effect.gen(function* () {
        const env = { ADDED: "a b\n", PATH_COPY: undefined, SECRET: Redacted.make("hunter2") }
        const output = yield* execute(sh(`printf '%s|%s|%s' "$ADDED" "$SECRET" "\${PATH:+path}"`, { env }))
        yield* same(output.stdout, "a b\n|hunter2|path", "environment")
      })
    ),
    row(
      "secrets",
      "a secret variable is in no event, no error and no fiber",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        const env = { SECRET: Redacted.make("hunter2") }
        const fiber = yield* ExecutionBackend.submit(sh('[ "$SECRET" = hunter2 ] && exit 9', { env }))
        const error = yield* Effect.flip(Fiber.join(fiber))
        yield* check(error instanceof TaskError && error.exitCode === 9, `the program did not get it: ${error}`)
        const told = yield* Stream.runCollect(Stream.take(events, 4))
        const printed = [JSON.stringify([...told]), JSON.stringify(error), String(error), JSON.stringify(fiber)].join()
        yield* check(!printed.includes("hunter2"), "the secret was told")
      })
    ),
    row(
      "input",
      "standard input is empty, or any bytes",
      Effect.gen(function* () {
        const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) % 256)
        const back = yield* execute(Feed.make({ bytes }))
        yield* check(Buffer.compare(back, bytes) === 0, "the bytes came back changed")
        yield* same((yield* execute(sh("cat | wc -c"))).stdout.trim(), "0", "no input")
      })
    ),
    row(
      "output",
      "50 MB of output come whole",
      Effect.gen(function* () {
        const output = yield* execute(sh("head -c 50000000 /dev/zero | tr '\\0' x; echo end >&2"))
        yield* same([output.stdoutBytes.length, output.stderr], [50_000_000, "end\n"], "output")
        yield* check(
          output.stdoutBytes.every((byte) => byte === 120),
          "the output is changed"
        )
      })
    ),
    row(
      "output-bytes",
      "output that is no UTF-8 fails no task",
      Effect.gen(function* () {
        yield* same(yield* execute(Text.make({ script: "printf 'a\\377b'" })), "a\ufffdb", "as text")
        yield* same([...(yield* execute(sh("printf 'a\\377b'"))).stdoutBytes], [97, 255, 98], "as bytes")
      })
    ),
    row(
      "output-limit",
      "more output than is allowed stops the program and is told",
      failsAs(execute(sh("yes", { capture: { limit: 100_000 } })), "TaskError OutputLimit", "the task")
    ),
    row(
      "launch",
      "a program or a working directory that does not exist is a failed launch that names it",
      Effect.gen(function* () {
        const binary = yield* failure(Missing.make())
        yield* same(binary.reason, "LaunchFailed", "program")
        yield* check(binary.message.includes("effect-rhapsody-no-such-program"), binary.message)
        const cwd = yield* failure(sh("true", { cwd: "/no/such/directory" }))
        yield* same(cwd.reason, "LaunchFailed", "directory")
        yield* check(cwd.message.includes("/no/such/directory"), cwd.message)
      })
    ),
    row(
      "cancel",
      "cancel returns when the whole tree is gone",
      Effect.gen(function* () {
        const { fiber, mark } = yield* grown
        yield* ExecutionBackend.cancel(fiber)
        yield* noneLeft(mark)
      })
    ),
    row(
      "interrupt",
      "so does an interruption of the fiber",
      Effect.gen(function* () {
        const { fiber, mark } = yield* grown
        yield* Fiber.interrupt(fiber)
        yield* noneLeft(mark)
      })
    ),
    row(
      "timeout",
      "a timeout is told when the whole tree is gone",
      Effect.gen(function* () {
        const mark = yield* newMark
        yield* failsAs(
          execute(sh(tree, { timeout: "500 millis", env: { RHAPSODY_MARK: mark } })),
          "TaskError Timeout",
          "the task"
        )
        yield* noneLeft(mark)
      })
    ),
    {
      id: "process-close",
      title: "closing the layer leaves no process",
      run: Effect.gen(function* () {
        const { fiber, mark } = yield* Effect.scoped(
          Effect.flatMap(Layer.build(layer()), (context) =>
            Effect.provide(grown as Effect.Effect<Effect.Effect.Success<typeof grown>, unknown>, context)
          )
        )
        yield* endsAs(fiber, "TaskError Canceled", "the task")
        yield* noneLeft(mark)
      })
    },
    row(
      "terminate",
      "terminate kills everything within 2 seconds, whatever ignores TERM",
      Effect.gen(function* () {
        const { fiber, mark } = yield* grown
        yield* Effect.timeout(ExecutionBackend.terminate, "2 seconds")
        yield* endsAs(fiber, "TaskError Canceled", "the task")
        yield* noneLeft(mark)
      })
    ),
    row(
      "leftovers",
      "what a program leaves running in its group ends with it",
      Effect.gen(function* () {
        const mark = yield* newMark
        yield* execute(sh("sleep 3600 >/dev/null 2>&1 & echo $!", { env: { RHAPSODY_MARK: mark } }))
        yield* noneLeft(mark)
      })
    ),
    {
      id: "process-orchestrator-killed",
      title: "no process outlives this one, when it is killed with SIGKILL",
      run: Effect.gen(function* () {
        if (orchestrator === undefined)
          return yield* new ConformanceError({ message: "the subject names no orchestrator" })
        const mark = yield* newMark
        const started = yield* Effect.acquireRelease(
          Effect.sync(() => spawn("env", [`RHAPSODY_MARK=${mark}`, ...orchestrator], { stdio: "ignore" })),
          (child) => Effect.sync(() => child.kill("SIGKILL"))
        )
        // this one, and at least two of a tree of its task
        yield* until(Effect.map(alive(mark), (count) => count >= 3))
        started.kill("SIGKILL")
        yield* Effect.timeoutFail(until(Effect.map(alive(mark), (count) => count === 0)), {
          duration: "2 seconds",
          onTimeout: () => new ConformanceError({ message: `${marked(mark)} processes outlived it` })
        })
      }).pipe(Effect.scoped)
    }
  ]
}
