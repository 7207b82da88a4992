/** The cases of backends that start programs on this machine: what goes in, what comes out, and that nothing stays. */

import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { TaskError } from "../../Errors.js"
import { isTaskError } from "../../Errors.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import * as Task from "../../Task.js"
import * as TaskDictionary from "../../TaskDictionary.js"
import { ConformanceError, check, endsAs, failsAs, same, until, within } from "./check.js"
import type { CaseWithNeed } from "./fixture.js"
import { folder } from "./fixture.js"
import { orRefused } from "./honours.js"
import { orchestrated } from "./orchestrator.js"
import { alive, markEnv, newMark, noneLeft } from "./processProbe.js"
import type { Subject } from "./subject.js"

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
const odd = Uint8Array.of(1, 10, 0x27, 0xff, 0x80, 0x20, 0xc3)
const Bytes = Task.executable("Bytes", {
  success: Task.Output,
  command: () => ({ executable: "sh", args: ["-c", 'printf "%s|%s" "$1" "$ODD"', "sh", odd], env: { ODD: odd } })
})
const Throwing = Task.executable("Throwing", {
  command: () => ({ executable: "false" }),
  failure: () => {
    throw new Error("no")
  }
})
const Missing = Task.executable("Missing", { command: () => ({ executable: "effect-rhapsody-no-such-program" }) })

/** Three generations, of which one ignores TERM. */
const tree = `sh -c 'trap "" TERM; sleep 3600 & wait; wait' & sh -c 'sleep 3600 & wait' & wait`
/** As soon as all of them run, with a mark of its own. */
const grown = Effect.gen(function* () {
  const mark = yield* newMark
  const fiber = yield* ExecutionBackend.submit(sh(tree, { env: markEnv(mark) }))
  yield* until(
    Effect.map(alive(mark), (count) => count >= 5),
    "the tree to grow"
  )
  return { fiber, mark }
})

const { execute } = ExecutionBackend

/** That a backend which cannot pass on some bytes refuses them, and says where: for a waiver of that case. */
export const refusesBytes = ({ layer }: Pick<Subject, "layer">): Effect.Effect<void, unknown> =>
  Effect.flatMap(Effect.flip(execute(Bytes.make())), (error) =>
    same(
      [error._tag, error.reason, (error as any).configKey],
      ["ConfigurationError", "InvalidPayload", "args[3]"],
      "it"
    )
  ).pipe(Effect.provide(layer() as Layer.Layer<any, unknown>)) as Effect.Effect<void, unknown>

export const processes = (subject: Subject): ReadonlyArray<CaseWithNeed> => {
  const { layer } = subject
  const makeCase = (id: string, title: string, body: Effect.Effect<unknown, unknown, any>): CaseWithNeed => ({
    id: `process-${id}`,
    title,
    run: Effect.scoped(Effect.provide(body as Effect.Effect<unknown, unknown, never>, layer())),
    need: "programs"
  })
  const failure = (task: Task.Instance<any, any, any>) =>
    Effect.flatMap(Effect.flip(execute(task)), (error) =>
      isTaskError(error) ? Effect.succeed(error) : new ConformanceError({ message: `not a TaskError: ${error}` })
    )

  return [
    makeCase(
      "exit",
      "an exit code is exact, and the error has the command and the ends of its output",
      Effect.forEach([1, 2, 75, 126, 127, 255], (code) => {
        const script = `echo how; echo why >&2; exit ${code}`
        return Effect.flatMap(failure(sh(script)), ({ details, exitCode, reason }) =>
          same(
            [reason, exitCode, details["command"], details["stdout"], details["stderr"]],
            ["Exit", code, ["sh", "-c", script, "sh"], "how", "why"],
            `exit ${code}`
          )
        )
      })
    ),
    makeCase(
      "signal",
      "a death by signal is reported with its name",
      Effect.forEach(["TERM", "KILL", "SEGV"], (signal) =>
        Effect.flatMap(failure(sh(`kill -${signal} $$`)), (error) =>
          same([error.reason, error.signal], ["Signal", `SIG${signal}`], signal)
        )
      )
    ),
    makeCase(
      "last-words",
      "the error of a program that was cancelled has what it printed until then; that of one that failed, though not all was kept",
      Effect.gen(function* () {
        const cwd = yield* folder
        const script = `trap 'echo stopped; exit 0' TERM; echo ran; : > ready; while :; do sleep 0.01; done`
        const fiber = yield* ExecutionBackend.submit(sh(script, { cwd }))
        yield* until(
          Effect.sync(() => fs.existsSync(path.join(cwd, "ready"))),
          "the program to run"
        )
        yield* ExecutionBackend.cancel(fiber)
        const { details, reason } = yield* Effect.flip(Fiber.join(fiber)) as Effect.Effect<TaskError>
        yield* same([reason, details["stdout"]], ["Canceled", "ran\nstopped"], "what was cancelled")
        const capture = { limit: 10, overflow: "spill" } as const
        const task = Text.make({ script: "seq 1 1000; echo why >&2; exit 3" }, { capture })
        const failed = yield* failure(task)
        const { stdoutPath } = failed.details // kept, and a directory for it
        if (typeof stdoutPath === "string") fs.rmSync(path.dirname(stdoutPath), { recursive: true, force: true })
        const end = String(failed.details["stdout"]).slice(-8)
        yield* same([failed.reason, failed.exitCode, end], ["Exit", 3, "999\n1000"], "what failed")
      })
    ),
    makeCase(
      "arguments",
      "arguments are passed on as they are, through no shell",
      Effect.gen(function* () {
        const args = ["", " ", "a b", "$HOME", "`id`", "'", '"', ";", "|", "*", "\n", "\\", "é", "-n"]
        const output = yield* execute(sh(`printf '%s\\0' "$@"`, {}, ...args))
        yield* same(output.stdout.split("\0").slice(0, -1), args, "arguments")
      })
    ),
    makeCase(
      "environment",
      "the environment is the inherited one with what the task adds and removes; a secret reaches the program",
      Effect.gen(function* () {
        const env = { ADDED: "a b\n", PATH_COPY: undefined, SECRET: Redacted.make("hunter2") }
        const output = yield* execute(sh(`printf '%s|%s|%s' "$ADDED" "$SECRET" "\${PATH:+path}"`, { env }))
        yield* same(output.stdout, "a b\n|hunter2|path", "environment")
      }).pipe(orRefused("env"))
    ),
    makeCase(
      "bytes",
      "arguments and variables are any bytes but NUL",
      Effect.gen(function* () {
        const output = yield* execute(Bytes.make())
        yield* same([...output.stdoutBytes], [...odd, 124, ...odd], "what came back")
      })
    ),
    makeCase(
      "cwd",
      "a program runs in its working directory",
      Effect.gen(function* () {
        const cwd = fs.realpathSync(yield* folder)
        yield* same((yield* execute(sh("pwd -P", { cwd }))).stdout, `${cwd}\n`, "its directory")
      }).pipe(orRefused("cwd"))
    ),
    makeCase(
      "secrets",
      "a secret variable is in no event, no error and no fiber",
      Effect.gen(function* () {
        const events = yield* ExecutionBackend.events
        const env = { SECRET: Redacted.make("hunter2") }
        const fiber = yield* ExecutionBackend.submit(sh('[ "$SECRET" = hunter2 ] && exit 9', { env }))
        const error = yield* Effect.flip(Fiber.join(fiber))
        yield* check(isTaskError(error) && error.exitCode === 9, `the program did not get it: ${error}`)
        const seen = yield* Stream.runCollect(Stream.take(events, 4))
        const printed = [JSON.stringify([...seen]), JSON.stringify(error), String(error), JSON.stringify(fiber)].join()
        yield* check(!printed.includes("hunter2"), "the secret is printed in an event, an error or the fiber")
      })
    ),
    makeCase(
      "input",
      "standard input is empty, or any bytes",
      Effect.gen(function* () {
        const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) % 256)
        const back = yield* execute(Feed.make({ bytes }))
        yield* check(Buffer.compare(back, bytes) === 0, "the bytes came back changed")
        yield* same((yield* execute(sh("cat | wc -c"))).stdout.trim(), "0", "no input")
      }).pipe(orRefused("stdin"))
    ),
    makeCase(
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
    makeCase(
      "output-bytes",
      "output that is not UTF-8 fails no task",
      Effect.gen(function* () {
        yield* same(yield* execute(Text.make({ script: "printf 'a\\377b'" })), "a\ufffdb", "as text")
        yield* same([...(yield* execute(sh("printf 'a\\377b'"))).stdoutBytes], [97, 255, 98], "as bytes")
      })
    ),
    makeCase(
      "output-files",
      "output goes to files where that is asked for, whole, and the result says which",
      Effect.gen(function* () {
        const cwd = fs.realpathSync(yield* folder)
        const capture = { limit: 10, stdout: "out.txt", stderr: path.join(cwd, "err.txt") }
        const task = sh("printf 'a\\377'; head -c 100000 /dev/zero >&2", { cwd, capture })
        const { stderrPath, stdout, stdoutPath } = yield* execute(task)
        yield* same([stdout, stdoutPath, stderrPath], ["", `${cwd}/out.txt`, `${cwd}/err.txt`], "output")
        yield* same([...fs.readFileSync(`${cwd}/out.txt`)], [97, 255], "standard output")
        yield* same(fs.statSync(`${cwd}/err.txt`).size, 100_000, "size of standard error")
      }).pipe(orRefused("cwd", "capture.stdout", "capture.stderr"))
    ),
    makeCase(
      "output-limit",
      "more output than capture.limit stops the program, and its task ends as OutputLimit",
      failsAs(execute(sh("yes", { capture: { limit: 100_000 } })), "TaskError OutputLimit", "the task")
    ),
    makeCase(
      "user-code",
      "what a definition's own code throws about the end of a program is a typed outcome of that task alone",
      Effect.gen(function* () {
        yield* same((yield* failure(Throwing.make())).reason, "Defect", "the task")
        yield* same((yield* execute(sh("echo on"))).stdout, "on\n", "the next task")
      })
    ),
    makeCase(
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
    makeCase(
      "cancel",
      "cancel returns when the whole tree is gone",
      Effect.gen(function* () {
        const { fiber, mark } = yield* grown
        yield* ExecutionBackend.cancel(fiber)
        yield* noneLeft(mark)
      })
    ),
    makeCase(
      "interrupt",
      "an interruption of the fiber returns when the whole tree is gone",
      Effect.gen(function* () {
        const { fiber, mark } = yield* grown
        yield* Fiber.interrupt(fiber)
        yield* noneLeft(mark)
      })
    ),
    makeCase(
      "timeout",
      "a timeout is reported when the whole tree is gone",
      Effect.gen(function* () {
        const mark = yield* newMark
        yield* failsAs(
          execute(sh(tree, { timeout: "500 millis", env: markEnv(mark) })),
          "TaskError Timeout",
          "the task"
        )
        yield* noneLeft(mark)
      })
    ),
    makeCase(
      "dictionary",
      "a task dictionary runs as the program that it names; an unknown key is refused by name",
      Effect.gen(function* () {
        const dictionary = { uid: "d1", executable: "sh", env: { WORD: "a  b" }, cwd: "/", timeout: 30 }
        const task = yield* TaskDictionary.decode({ ...dictionary, arguments: ["-c", 'printf "%s" "$WORD:$PWD"'] })
        const fiber = yield* ExecutionBackend.submit(task)
        yield* same([fiber.uid, yield* Fiber.join(fiber)], ["d1", "a  b:/"], "uid and result")
        const wrong = yield* Effect.flip(TaskDictionary.decode({ ...dictionary, argument: [] }))
        yield* same(wrong.configKey, "argument", "the wrong key")
      })
    ),
    {
      id: "process-close",
      title: "closing the layer leaves no process",
      need: "programs",
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
    makeCase(
      "terminate",
      "terminate kills everything within 2 seconds, also a process that ignores TERM",
      Effect.gen(function* () {
        const { fiber, mark } = yield* grown
        yield* within(ExecutionBackend.terminate, "terminate", 2)
        yield* endsAs(fiber, "TaskError Canceled", "the task")
        yield* noneLeft(mark)
      })
    ),
    makeCase(
      "orphans",
      "processes that a program leaves running in its group end with it",
      Effect.gen(function* () {
        const mark = yield* newMark
        yield* execute(sh("sleep 3600 >/dev/null 2>&1 & echo $!", { env: markEnv(mark) }))
        yield* noneLeft(mark)
      })
    ),
    makeCase(
      "escape",
      "processes that left its group and session end with it, when it ends by itself and when it is cancelled",
      Effect.gen(function* () {
        const mark = yield* newMark
        const options = { env: markEnv(mark) }
        yield* execute(sh("setsid sleep 30 >/dev/null 2>&1 & sleep 0.3", options))
        yield* noneLeft(mark)
        const fiber = yield* ExecutionBackend.submit(sh(`setsid sh -c 'trap "" TERM; sleep 30' & sleep 30`, options))
        yield* until(
          Effect.map(alive(mark, "sleep"), (count) => count >= 2),
          "the tree to grow"
        )
        yield* ExecutionBackend.cancel(fiber)
        yield* noneLeft(mark)
      })
    ),
    ...orchestrated(subject)
  ]
}
