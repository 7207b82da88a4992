/** The cases of options: each works as it says, or is refused by its field; none is ignored. */
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { ConfigurationError } from "../../Errors.js"
import { isConfigurationError, isTaskError } from "../../Errors.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import * as Task from "../../Task.js"
import { check, same, until } from "./check.js"
import type { CaseWithNeed } from "./fixture.js"
import { fixture, folder, needs } from "./fixture.js"
import { alive, markEnv, newMark } from "./processProbe.js"
import type { Subject } from "./subject.js"

const Run = Task.executable("Run", {
  payload: { script: Schema.String, input: Schema.optional(Schema.String) },
  success: Task.Output,
  command: ({ input, script }) => ({
    executable: "sh",
    args: ["-c", script],
    ...(input === undefined ? {} : { stdin: { file: input } })
  })
})
const run = (script: string, options?: Task.Options<never>, input?: string) =>
  ExecutionBackend.execute(Run.make({ script, input }, options))

/** Passes where the option is refused by its field. */
export const orRefused =
  (...fields: ReadonlyArray<string>) =>
  <A, E, R>(works: Effect.Effect<A, E, R>): Effect.Effect<A | void, E, R> =>
    Effect.catchIf(
      works,
      (error) =>
        isConfigurationError(error) && error.reason === "UnsupportedOption" && fields.includes(error.configKey ?? ""),
      () => Effect.void
    )

/** With the directory that it is in, if nothing else is there. */
const remove = (file: string): void => {
  fs.rmSync(file, { recursive: true })
  if (fs.readdirSync(path.dirname(file)).length === 0) fs.rmdirSync(path.dirname(file))
}

const dots = (count: number) => ".".repeat(count)
const visit = 'pwd -P; set -eu; cd "$RHAPSODY_SANDBOX"; pwd -P; echo x > file'
const niceness = "cut -d' ' -f19 /proc/self/stat"

/** Of programs: the field of the option, and what it does. */
const ofPrograms: ReadonlyArray<
  readonly [id: string, field: string, title: string, Effect.Effect<unknown, unknown, any>]
> = [
  [
    "stdin-file",
    "stdin.file",
    "a program reads its input from the file that is named, relative to its directory",
    Effect.gen(function* () {
      const cwd = yield* folder
      fs.writeFileSync(path.join(cwd, "input"), "from a file")
      yield* same((yield* run("cat", {}, path.join(cwd, "input"))).stdout, "from a file", "an absolute path")
      yield* same((yield* run("cat", { cwd }, "input")).stdout, "from a file", "a relative path")
    })
  ],
  [
    "append",
    "capture.append",
    "output is added to the file that is named, and a retry keeps what the attempt before wrote",
    Effect.gen(function* () {
      const file = path.join(yield* folder, "log")
      fs.writeFileSync(file, "before ")
      const retry = { times: 1, schedule: Schedule.recurs(1) }
      yield* run("printf $RHAPSODY_ATTEMPT; test $RHAPSODY_ATTEMPT = 2", {
        retry,
        capture: { stdout: file, append: true }
      })
      yield* same(fs.readFileSync(file, "utf8"), "before 12", "the file")
    })
  ],
  [
    "make-directories",
    "capture.makeDirectories",
    "the directories of the file that is named are made, and the uid and the attempt are filled in",
    Effect.gen(function* () {
      const cwd = yield* folder
      const capture = { stdout: "logs/{uid}/{attempt}.out", makeDirectories: true }
      const { stdoutPath } = yield* run("printf x", { cwd, uid: "named", capture })
      yield* same(stdoutPath, path.join(cwd, "logs/named/1.out"), "the path")
      yield* same(fs.readFileSync(stdoutPath!, "utf8"), "x", "the file")
    })
  ],
  [
    "merge-stderr",
    "capture.mergeStderr",
    "standard error goes where standard output goes, in the order of writing",
    Effect.flatMap(run("echo 1; echo 2 >&2; echo 3", { capture: { mergeStderr: true } }), ({ stderr, stdout }) =>
      same([stdout, stderr], ["1\n2\n3\n", ""], "output")
    )
  ],
  [
    "overflow",
    "capture.overflow",
    "of too much output the beginning is kept and the rest is counted, or all of it is in a file",
    Effect.gen(function* () {
      const script = `printf ${dots(100)}`
      const cut = yield* run(script, { capture: { limit: 10, overflow: "truncate" } })
      yield* same([cut.stdout, cut.dropped?.stdout], [dots(10), 90], "what is kept, and what is counted")
      const { stdoutPath } = yield* run(script, { capture: { limit: 10, overflow: "spill" } })
      yield* check(stdoutPath !== undefined, "the result does not say which file it is")
      yield* same(fs.readFileSync(stdoutPath!, "utf8"), dots(100), "the file")
      yield* Effect.sync(() => remove(stdoutPath!))
    })
  ],
  [
    "on-chunk",
    "capture.onChunk",
    "output is given out while the program runs, whole and in order, and is in the result too",
    Effect.gen(function* () {
      const seen: Array<Uint8Array> = []
      const onChunk = ({ bytes }: Task.OutputChunk) => Effect.sync(() => void seen.push(bytes))
      const { stdout } = yield* run("echo 1; sleep 0.1; echo 2", { capture: { onChunk } })
      yield* same([Buffer.concat(seen).toString(), stdout], ["1\n2\n", "1\n2\n"], "output")
    })
  ],
  [
    "preExec",
    "preExec",
    "bash runs the lines before the program, which has the environment that they leave and its own input, and a line that keeps it from running is an error",
    Effect.gen(function* () {
      const file = path.join(yield* folder, "input")
      fs.writeFileSync(file, "its input")
      const { stdout } = yield* run(
        'printf "%s, " "$WORD"; cat',
        { preExec: ["WORD=prepared", "export WORD", "cat"] },
        file
      )
      yield* same(stdout, "prepared, its input", "the variable, and the input")
      for (const line of ["exit 0", "set -n", "exec true"]) {
        const end = yield* Effect.either(run("true", { preExec: ["true", line] }))
        const reason = Either.isLeft(end) && isTaskError(end.left) ? end.left.reason : end._tag
        yield* same(reason, "LaunchFailed", `the end after ${line}`)
      }
    })
  ],
  [
    "sandbox",
    "sandbox",
    "a program has a directory of its own, which it is in and which is kept",
    Effect.gen(function* () {
      const { sandboxPath, stdout } = yield* run(visit, { sandbox: true })
      const [cwd = "", named = ""] = stdout.split("\n")
      yield* same(cwd, named, "its directory, and the one that is named")
      yield* same(fs.readFileSync(path.join(cwd, "file"), "utf8"), "x\n", "what it left there")
      yield* same(sandboxPath, named, "the path in its output")
      const other = yield* run("pwd -P", { sandbox: true })
      yield* check(other.stdout !== `${cwd}\n`, "another task has the same directory")
      for (const sandbox of [cwd, other.stdout.trimEnd()]) remove(sandbox)
    })
  ],
  [
    "rlimits",
    "rlimits",
    "a program has the limits that it is given",
    Effect.flatMap(run("ulimit -n", { rlimits: { openFiles: 64 } }), ({ stdout }) =>
      same(stdout, "64\n", "files that it may open")
    )
  ],
  [
    "nice",
    "nice",
    "a program has the niceness that it is given, above that of its backend",
    Effect.gen(function* () {
      const own = Number((yield* run(niceness)).stdout)
      yield* same(Number((yield* run(niceness, { nice: 1 })).stdout), Math.min(own + 1, 19), "niceness")
    })
  ],
  [
    "orphans",
    "orphans",
    "processes that a program leaves running go on where its orphans are to be detached",
    Effect.gen(function* () {
      const mark = yield* newMark
      const script = "sleep 3600 >/dev/null 2>&1 & echo $!"
      const { stdout } = yield* run(script, { env: markEnv(mark), orphans: "detach" })
      yield* Effect.ensuring(
        // the shell may end before what it forked has become another program
        until(
          Effect.map(alive(mark, "sleep"), (count) => count === 1),
          "a process that goes on"
        ),
        Effect.sync(() => process.kill(Number(stdout), "SIGKILL"))
      )
    })
  ]
]

/** Without them, the work would be another than the one that was asked for. */
const decisive: ReadonlyArray<Task.Resources> = [{ gpus: 1 }, { ranks: 2 }, { nodes: 2 }]
/** Without them, it is the same. */
const harmless: Task.Resources = { cores: 1, gpus: 0, memory: 0, ranks: 1, nodes: 1, walltime: "1 hour" }

export const honours = (subject: Subject): ReadonlyArray<CaseWithNeed> => {
  const { echo, makeCase } = fixture(subject)
  return [
    ...ofPrograms.map(([id, field, title, works]) =>
      needs("programs", makeCase(`honours-${id}`, `${title}, or the option is refused`, orRefused(field)(works)))
    ),
    makeCase(
      "honours-resources",
      "GPUs, ranks and nodes are for the task, or are refused by their field; resources that change no work are accepted",
      Effect.gen(function* () {
        for (const resources of decisive) {
          const [key] = Object.keys(resources)
          const exit = yield* Effect.either(ExecutionBackend.execute(echo(1, { resources })))
          if (exit._tag === "Right") yield* same(exit.right, { value: 1 }, "result")
          else {
            const { _tag, configKey } = exit.left as Partial<ConfigurationError>
            yield* same(_tag, "ConfigurationError", `resources.${key}`)
            // an engine that knows them may find that no part of it has them all
            yield* check(
              configKey === `resources.${key}` || configKey === "resources",
              `resources.${key} is refused as ${configKey}`
            )
          }
        }
        yield* same(yield* ExecutionBackend.execute(echo(2, { resources: harmless })), { value: 2 }, "result")
      })
    )
  ]
}
