/** Starts that fail, and what a start leaves: messages in the same words over both launchers. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger, LogLevel } from "effect"
import { ConcurrentBackend, ExecutionBackend } from "effect-rhapsody"
import * as launchers from "../../src/internal/process/select.js"
import {
  agents,
  command,
  directory,
  eventually,
  inbox,
  marked,
  overBoth,
  program,
  sh,
  taskError
} from "../concurrent/support.js"
import { python } from "./support.js"

const withVariable = (name: string, value: string) =>
  Effect.acquireRelease(
    Effect.sync(() => set(name, value)),
    () => Effect.sync(() => set(name, undefined))
  )
const set = (name: string, value: string | undefined) => {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}

overBoth("a program that cannot be started", ({ provide }) => {
  it.scopedLive("is named, with what is wrong and what to do", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const write = (name: string, text: string, mode: number) => {
        fs.writeFileSync(join(path, name), text)
        fs.chmodSync(join(path, name), mode)
        return join(path, name)
      }
      const plain = write("plain", "#!/bin/sh\n", 0o644)
      const lost = write("lost", "#!/no/such/interpreter -x\n", 0o755)
      const windows = write("windows", "#!/bin/sh\r\necho\r\n", 0o755)
      for (const [executable, errno, said] of [
        [
          "echo hello world",
          "ENOENT",
          /arguments belong into args, as in \{ executable: "echo", args: \["hello","world"\] \}/
        ],
        ["~/bin/program", "ENOENT", /no shell expands ~; give a path/],
        ["$HOME/program", "ENOENT", /no shell expands variables; give a path/],
        ["no-such", "ENOENT", /no-such: No such file or directory \(ENOENT\); give a path, or a name that is in/],
        [path, "EACCES", /it is a directory \(EACCES\); name a program in it/],
        [plain, "EACCES", /it is not executable \(EACCES\); make it so with chmod \+x/],
        [lost, "ENOENT", /its interpreter \/no\/such\/interpreter, which its first line names, cannot be started/],
        [windows, "ENOENT", /its first line ends with a carriage return, so that its interpreter is "\/bin\/sh\\r"/]
      ] as const) {
        for (const options of [{}, { cwd: path }]) {
          const error = yield* taskError(command({ executable }, options))
          const { details, reason } = error
          assert.deepStrictEqual([reason, details["errno"], details["path"]], ["LaunchFailed", errno, executable])
          assert.match(error.message, said)
          assert.include(error.message, `${executable}: `)
        }
      }
      const cwd = yield* taskError(sh("true", { cwd: "~/work" }))
      assert.match(cwd.message, /working directory .*~\/work: No such file or directory \(ENOENT\); no shell expands ~/)
    }).pipe(provide({ maxWorkers: 1 }))
  )

  it.scopedLive("because of what it is given is an error that names the argument or the variable", () =>
    Effect.gen(function* () {
      const arg = yield* taskError(command({ executable: "true", args: ["a", "x".repeat(200_000)] }))
      assert.deepStrictEqual([arg.reason, arg.details["errno"]], ["LaunchFailed", "E2BIG"])
      assert.match(arg.message, /the longest of its arguments and variables is args\[1\], with 200000 bytes/)
      // longer than can be even asked for
      const huge = command({ executable: "true", args: [new Uint8Array(100 * 1024 * 1024).fill(120)] })
      assert.match((yield* taskError(huge)).message, /is args\[0\], with 104857600 bytes; pass large data on stdin/)
      const own = yield* taskError(sh("true", { env: { LONG: "x".repeat(200_000) } }))
      assert.match(own.message, /is the variable LONG, with 200005 bytes/)
    }).pipe(provide({ maxWorkers: 1 }))
  )

  it.scopedLive("because of a variable that it inherits says so, and runs without it", () =>
    Effect.gen(function* () {
      yield* withVariable("RHAPSODY_TEST_LONG", "x".repeat(200_000))
      yield* Effect.gen(function* () {
        const error = yield* taskError(sh("true"))
        assert.match(error.message, /is the variable RHAPSODY_TEST_LONG, with 200019 bytes/)
        const without = { env: { RHAPSODY_TEST_LONG: undefined } }
        assert.strictEqual((yield* ExecutionBackend.execute(sh("echo ran", without))).stdout, "ran\n")
      }).pipe(provide({ maxWorkers: 1 }))
    })
  )
})

describe("an agent", () => {
  const one = { launcher: "agent", python, maxWorkers: 1 } as const

  it.scopedLive("gives a program all variables, also those that it was not started with itself", () =>
    Effect.gen(function* () {
      yield* withVariable("RHAPSODY_TEST_LONG", "x".repeat(100_000))
      const output = yield* Effect.provide(
        ExecutionBackend.execute(sh(`echo \${#RHAPSODY_TEST_LONG}`)),
        ConcurrentBackend.layer(one)
      )
      assert.strictEqual(output.stdout, "100000\n")
    })
  )

  it.scopedLive("does not stay in the directory of its last program", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const where = Effect.map(agents, (pids) => pids.map((pid) => fs.readlinkSync(`/proc/${pid}/cwd`)))
      for (const limits of [undefined, { openFiles: 64 }]) {
        yield* ExecutionBackend.execute(sh("true", { cwd, ...(limits === undefined ? {} : { rlimits: limits }) }))
        yield* eventually(where, (all) => all.length > 0 && !all.includes(cwd))
        assert.strictEqual((yield* ExecutionBackend.execute(sh("pwd -P"))).stdout, `${fs.realpathSync(".")}\n`)
      }
    }).pipe(Effect.provide(ConcurrentBackend.layer(one)))
  )

  it.scopedLive("that closes its standard error costs no listener per task", () =>
    Effect.gen(function* () {
      const mute = yield* program(join(yield* directory, "python"), `exec ${python} "$@" 2>&-`)
      const warnings: Array<Error> = []
      const warn = (warning: Error) => void warnings.push(warning)
      yield* Effect.acquireRelease(
        Effect.sync(() => process.on("warning", warn)),
        () => Effect.sync(() => process.off("warning", warn))
      )
      yield* Effect.provide(
        Effect.repeatN(ExecutionBackend.execute(sh("true")), 30),
        ConcurrentBackend.layer({ ...one, python: mute })
      )
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      assert.deepStrictEqual(warnings.map(String), [])
    })
  )

  it.scopedLive("that is not there yet leaves nothing when its backend is not wanted any more", () =>
    Effect.gen(function* () {
      const [{ alive, mark }, { path, take }] = [yield* marked, yield* inbox]
      const hangs = yield* program(
        join(yield* directory, "python"),
        `sh -c 'echo ready > ${path}; sleep 1000; : ${mark}' & wait`
      )
      const building = yield* Effect.fork(
        Effect.provide(
          ExecutionBackend.execute(sh("true")),
          ConcurrentBackend.layer({ launcher: "agent", python: hangs })
        )
      )
      assert.strictEqual(yield* take, "ready")
      assert.isNotEmpty(yield* alive)
      yield* Fiber.interrupt(building)
      yield* eventually(alive, (left) => left.length === 0)
    })
  )

  it.scopedLive("that cannot be started is a warning of one line; what the interpreters printed is for debugging", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const broken = yield* program(
        join(path, "python"),
        "printf 'Traceback\\n  a\\n  b\\nImportError: c; d\\n' >&2; exit 1"
      )
      const lines: Array<readonly [string, string]> = []
      const logger = Logger.make(({ logLevel, message }) => void lines.push([logLevel.label, String(message)]))
      const run = Effect.flatMap(
        launchers.make({ launcher: "auto", python: undefined, names: [broken, "/no/such/python"], width: 1 }),
        (launcher) => Effect.ignore(launcher.check({ env: {}, executable: Uint8Array.of(0xff), args: [] } as never))
      )
      yield* run.pipe(
        Logger.withMinimumLogLevel(LogLevel.Debug),
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      const [warning] = lines.filter(([level]) => level === "WARN").map(([, message]) => message)
      assert.match(warning!, /exited with code 1: ImportError: c; d; .*ENOENT$/)
      assert.notInclude(warning!, "\n")
      const [debug] = lines.filter(([level]) => level === "DEBUG").map(([, message]) => message)
      assert.include(debug!, "ImportError: c; d")
    })
  )
})
