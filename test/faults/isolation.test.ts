/** One program's trouble is not that of the others: what is wrong with one start, and what an agent holds open. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Schema, Scope } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import * as launchers from "../../src/internal/process/select.js"
import { agents, command, directory, inbox, marked, program, refusal, sh } from "../concurrent/support.js"

const backend = Effect.provide(ConcurrentBackend.layer({ launcher: "agent", forceKillAfter: "100 millis" }))
// one worker, one agent: what it holds, the next program could inherit
const oneAgent = { launcher: "agent", python: undefined, width: 1 } as const

const fifo = Effect.map(directory, (directory) => {
  const path = join(directory, "fifo")
  execFileSync("mkfifo", [path])
  return path
})

const Wc = Task.executable("Wc", {
  payload: { bytes: Schema.Uint8ArrayFromSelf },
  success: Schema.Trim.pipe(Schema.compose(Schema.NumberFromString)),
  command: ({ bytes }) => ({ executable: "sh", args: ["-c", "sleep 0.2; wc -c"], stdin: bytes })
})

describe("an agent", () => {
  it.scopedLive("gives a program that waits for its input nothing of the others to hold", () =>
    Effect.gen(function* () {
      const file = yield* fifo
      const counts = yield* Effect.fork(
        Effect.forEach([1, 2, 3], () => ExecutionBackend.execute(Wc.make({ bytes: new Uint8Array(200_000) })), {
          concurrency: "unbounded"
        })
      )
      const waiting = yield* Effect.forEach([1, 2], () =>
        ExecutionBackend.submit(command({ executable: "cat", stdin: { file } }))
      )
      assert.deepStrictEqual(yield* Fiber.join(counts), [200_000, 200_000, 200_000])
      yield* Effect.forEach(waiting, (fiber) => ExecutionBackend.cancel(fiber))
    }).pipe(Effect.provide(ConcurrentBackend.layer({ launcher: "agent", maxWorkers: 8, forceKillAfter: "100 millis" })))
  )

  it.scopedLive("sleeps when forked starts have come to their programs", () =>
    Effect.gen(function* () {
      const file = yield* fifo
      const submit = ExecutionBackend.submit(command({ executable: "cat", stdin: { file } }))
      const both = yield* Effect.all([submit, submit])
      yield* Effect.promise(() => fs.promises.writeFile(file, "x"))
      yield* Effect.raceAll(both.map(Fiber.await))
      const ticks = (pid: number) => {
        const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
        const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
        return Number(fields[11]) + Number(fields[12])
      }
      // the second agent may still be on its way
      yield* Effect.sleep("500 millis")
      const all = (yield* agents).map(Number)
      assert.isNotEmpty(all)
      const used = () => all.reduce((sum, pid) => sum + ticks(pid), 0)
      const before = used()
      yield* Effect.sleep("1 second")
      // of 100 a second for each that never sleeps
      assert.isBelow(used() - before, 40)
      yield* ExecutionBackend.cancelAll
    }).pipe(backend)
  )

  it.scopedLive("survives a start that was not foreseen", () =>
    Effect.gen(function* () {
      const launcher = yield* launchers.make(oneAgent)
      const run = (uid: string, executable: string, limits: Task.Rlimits | undefined) =>
        launcher.launch({
          uid,
          program: {
            _tag: "executable",
            executable,
            args: [],
            stdin: undefined,
            env: {},
            cwd: undefined,
            capture: {
              limit: 100.5,
              overflow: "truncate",
              stdout: undefined,
              stderr: undefined,
              append: false,
              makeDirectories: false,
              mergeStderr: false,
              streaming: false,
              wanted: true
            },
            preExec: [],
            sandbox: false,
            rlimits: limits,
            nice: undefined,
            orphans: "kill"
          },
          secrets: new Map(),
          onChunk: undefined,
          env: {},
          grace: 100,
          started: () => {}
        })
      // none of these comes so far through a backend
      assert.strictEqual((yield* Effect.flip(run("\ud800", "true", undefined))).reason, "LaunchFailed")
      assert.strictEqual((yield* Effect.flip(run("x", "\ud800", undefined))).reason, "LaunchFailed")
      assert.strictEqual((yield* Effect.flip(run("x", "true", { openFiles: 1e300 }))).reason, "LaunchFailed")
      assert.strictEqual((yield* Effect.flip(run("x", "true", { unheardOf: 1 } as never))).reason, "LaunchFailed")
      assert.strictEqual((yield* run("x", "true", undefined)).exitCode, 0)
    })
  )

  it.scopedLive("is not even asked for a uid that has no bytes", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* refusal(sh("true", { uid: "\ud800" }))).configKey, "uid")
    }).pipe(backend)
  )

  it.scopedLive("leaves alone a daemon that took its session after its parent had gone", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, take }] = [yield* marked, yield* inbox]
      const late = `sleep 0.2; exec setsid sh -c "echo ready > ${path}; sleep 1000; :"`
      yield* Effect.scoped(
        Effect.gen(function* () {
          const script = `sh -c '(${late}) > /dev/null 2>&1 &' ; exit 0`
          yield* ExecutionBackend.execute(sh(script, { env, orphans: "detach" }))
          yield* ExecutionBackend.execute(sh("true"))
          assert.strictEqual(yield* take, "ready")
          yield* ExecutionBackend.execute(sh("true"))
        }).pipe(backend)
      )
      assert.isNotEmpty(yield* alive)
    })
  )
})

describe("output that goes to a file", () => {
  it.scopedLive("is the result, and no news, where pieces are reported as well", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const seen: Array<string> = []
      const Reported = Task.executable("Reported", {
        command: () => ({ executable: "sh", args: ["-c", "echo result; echo progress >&2"] }),
        capture: {
          stdout: "out",
          onChunk: ({ bytes, stream }) => Effect.sync(() => seen.push(`${stream} ${Buffer.from(bytes)}`))
        }
      })
      assert.strictEqual(yield* ExecutionBackend.execute(Reported.make(undefined, { cwd })), "result\n")
      assert.deepStrictEqual(seen, ["stderr progress\n"])
    }).pipe(backend)
  )
})

describe("a backend that closes while its launcher is chosen", () => {
  it.scopedLive("reports its end to who waits, and waits for none", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const mute = yield* program(join(path, "python"), `echo started > ${path}/started; exec sleep 100`)
      const scope = yield* Scope.make()
      const launcher = yield* Scope.extend(launchers.make({ ...oneAgent, launcher: "auto", names: [mute] }), scope)
      const ended = yield* Deferred.make<Exit.Exit<void, unknown>>()
      yield* Effect.forkDaemon(
        Effect.onExit(launcher.check({ env: {}, executable: Uint8Array.of(0xff), args: [] } as never), (exit) =>
          Deferred.succeed(ended, exit)
        )
      )
      yield* Effect.promise(async () => {
        while (!fs.existsSync(join(path, "started"))) await new Promise((resolve) => setTimeout(resolve, 5))
      })
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(Exit.isFailure(yield* Deferred.await(ended)))
    })
  )
})
