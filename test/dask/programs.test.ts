// Programs on workers: what a launch agent does there that it does here, and what is reported of it.
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { assert, describe, layer } from "@effect/vitest"
import { Chunk, Effect, Fiber, Ref, Schema } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import { modules } from "../engines/dask.js"
import { base, file, missing, python, until } from "./support.js"

const { execute, submit } = ExecutionBackend

const Run = Task.executable("Run", {
  payload: { script: Schema.String, stdin: Schema.optional(Schema.Uint8ArrayFromSelf) },
  success: Task.Output,
  command: ({ script, stdin }) => ({
    executable: "sh",
    args: ["-c", script],
    ...(stdin === undefined ? {} : { stdin })
  })
})
const run = (script: string, options: Task.Options<never> = {}) => execute(Run.make({ script }, options))
const failure = <A, E>(effect: Effect.Effect<A, E, any>) =>
  Effect.flatMap(Effect.flip(effect), (error) =>
    error instanceof TaskError ? Effect.succeed(error) : Effect.dieMessage(`${error}`)
  )

/** Directories of output that was spilled. */
const spills = () => fs.readdirSync(tmpdir()).filter((name) => name.startsWith("effect-rhapsody."))

const Backend = DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 4, forceKillAfter: "200 millis" })

describe.skipIf(missing)("Programs on Dask", () => {
  layer(Backend, { excludeTestServices: true })((it) => {
    it.scoped("read megabytes of input, piece by piece", () =>
      Effect.gen(function* () {
        const stdin = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 7) % 256)
        const { stdoutBytes } = yield* execute(Run.make({ script: "sleep 0.1; cat", stdin }))
        assert.strictEqual(Buffer.compare(stdoutBytes, stdin), 0)
      })
    )

    it.scoped("that fail or are stopped say in which directory of the worker they ran", () =>
      Effect.gen(function* () {
        const { details } = yield* failure(run("pwd -P; exit 3"))
        assert.strictEqual(details["cwd"], String(details["stdout"]).trim())
        const stopped = yield* failure(run("pwd -P; exec sleep 3600", { timeout: "300 millis" }))
        assert.deepStrictEqual([stopped.reason, stopped.details["cwd"]], ["Timeout", details["cwd"]])
        const named = yield* failure(run("exit 3", { cwd: "test/dask" }))
        assert.strictEqual(named.details["cwd"], path.join(String(details["cwd"]), "test/dask"))
      })
    )

    it.scoped("report what they print while they run, and wait for its consumer", () =>
      Effect.gen(function* () {
        const go = yield* file
        const seen = yield* Ref.make(Chunk.empty<string>())
        const onChunk = ({ bytes, stream }: Task.OutputChunk) =>
          Ref.update(seen, Chunk.append(`${stream} ${Buffer.from(bytes)}`))
        const fiber = yield* submit(
          Run.make(
            { script: `echo a; while ! test -e ${go}; do sleep 0.01; done; echo b >&2` },
            { capture: { onChunk } }
          )
        )
        let reported: ReadonlyArray<string> = []
        const look = Effect.map(Ref.get(seen), (all) => {
          reported = [...all]
        })
        while (reported.length === 0) yield* Effect.zipRight(Effect.sleep("5 millis"), look)
        assert.deepStrictEqual(reported, ["stdout a\n"])
        fs.writeFileSync(go, "")
        const { stderr, stdout } = yield* Fiber.join(fiber)
        assert.deepStrictEqual([stdout, stderr], ["a\n", "b\n"])
        assert.deepStrictEqual([...(yield* Ref.get(seen))], ["stdout a\n", "stderr b\n"])

        let size = 0
        const count = ({ bytes }: Task.OutputChunk) =>
          Effect.sync(() => {
            size += bytes.length
          })
        yield* run("head -c 5000000 /dev/zero", { capture: { onChunk: count } })
        assert.strictEqual(size, 5_000_000)
        const much = yield* failure(run("yes", { capture: { onChunk: count, limit: 100_000 } }))
        assert.strictEqual(much.reason, "OutputLimit")
        const held = yield* submit(Run.make({ script: "echo a; sleep 3600" }, { capture: { onChunk: count } }))
        yield* until(() => size > 0, "it to print")
        assert.strictEqual(yield* ExecutionBackend.cancel(held), true)
        assert.strictEqual(((yield* Effect.flip(Fiber.join(held))) as any).reason, "Canceled")
      })
    )

    it.scoped("keep too much output in files, and take back what is little", () =>
      Effect.gen(function* () {
        const capture = { overflow: "spill", limit: 1000 } as const
        const little = yield* run("echo a; echo b >&2", { capture })
        assert.deepStrictEqual([little.stdout, little.stderr, little.stdoutPath], ["a\n", "b\n", undefined])
        const much = yield* run("head -c 5000 /dev/zero; echo b >&2", { capture })
        assert.deepStrictEqual([much.stdout, much.stderr, much.stderrPath], ["", "b\n", undefined])
        assert.strictEqual(fs.statSync(much.stdoutPath!).size, 5000)
        fs.rmSync(path.dirname(much.stdoutPath!), { recursive: true })
        const Text = Task.executable("Text", {
          command: () => ({ executable: "sh", args: ["-c", "head -c 5000 /dev/zero"] })
        })
        const wanted = yield* failure(execute(Text.make(undefined, { capture })))
        assert.deepStrictEqual([wanted.reason, wanted.details["limit"]], ["OutputLimit", 1000])
        const where = String(wanted.details["stdoutPath"])
        assert.isTrue(fs.existsSync(where))
        fs.rmSync(path.dirname(where), { recursive: true })
      })
    )

    it.scoped("have a sandbox, where their paths are relative to it", () =>
      Effect.gen(function* () {
        const directory = path.dirname(yield* file)
        const own = DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 1, sandboxRoot: directory })
        yield* Effect.gen(function* () {
          const options = { uid: "sandboxed", sandbox: true, capture: { stdout: "out.txt" } } as const
          const { sandboxPath, stdoutPath } = yield* run('pwd -P; echo "$RHAPSODY_SANDBOX"', options)
          assert.strictEqual(path.basename(sandboxPath!), "sandboxed")
          assert.strictEqual(path.dirname(path.dirname(sandboxPath!)), directory)
          assert.strictEqual(stdoutPath, path.join(sandboxPath!, "out.txt"))
          assert.strictEqual(fs.readFileSync(stdoutPath!, "utf8"), `${fs.realpathSync(sandboxPath!)}\n${sandboxPath}\n`)
        }).pipe(Effect.provide(own))
      })
    )

    it.scoped("run after lines for bash, in limits, and fail with the end of a standard error in a file", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* run('echo "$WORD"', { preExec: ["export WORD=ready"] })).stdout, "ready\n")
        assert.strictEqual((yield* run("ulimit -n", { rlimits: { openFiles: 77 } })).stdout, "77\n")
        const stderr = yield* file
        const error = yield* failure(run("echo why >&2; exit 3", { capture: { stderr } }))
        assert.deepStrictEqual([error.exitCode, error.details["stderr"]], [3, "why"])
        assert.deepStrictEqual((yield* run("echo a; echo b >&2", { capture: { mergeStderr: true } })).stdout, "a\nb\n")
      })
    )

    it.scoped("of no name are failed launches, many at once too", () =>
      Effect.gen(function* () {
        const None = Task.executable("None", { command: () => ({ executable: "no-such-program" }) })
        const errors = yield* Effect.forEach(Array.from({ length: 20 }), () => failure(execute(None.make())), {
          concurrency: 20
        })
        assert.deepStrictEqual([...new Set(errors.map(({ reason }) => reason))], ["LaunchFailed"])
      })
    )

    it.scoped("may write byte by byte: that ends no other task", () =>
      Effect.gen(function* () {
        const args = [path.join(modules, "hostile.py"), "300000"]
        const Bytes = Task.executable("Bytes", { command: () => ({ executable: python, args }) })
        const beside = yield* submit(Run.make({ script: "sleep 0.1; echo beside" }))
        assert.strictEqual((yield* execute(Bytes.make())).length, 300_000)
        const heard: Array<number> = []
        const onChunk = ({ bytes }: { readonly bytes: Uint8Array }) => Effect.sync(() => void heard.push(bytes.length))
        yield* execute(Bytes.make(undefined, { capture: { onChunk } }))
        assert.strictEqual(
          heard.reduce((all, one) => all + one, 0),
          300_000
        )
        assert.strictEqual((yield* Fiber.join(beside)).stdout, "beside\n")
      })
    )

    it.scoped("give back what was spilled although it is longer than a message", () =>
      Effect.gen(function* () {
        const capture = { overflow: "spill", limit: 80_000_000 } as const
        const { stdoutBytes } = yield* run("head -c 70000000 /dev/zero", { capture })
        assert.strictEqual(stdoutBytes.length, 70_000_000)
      })
    )

    it.scoped(
      "whose spilled output is removed meanwhile end as failed tasks, by their own exit code if there is one",
      () =>
        Effect.gen(function* () {
          const before = spills()
          const capture = { overflow: "spill", limit: 1000 } as const
          const remove = 'rm "$(readlink /proc/$$/fd/1)"'
          const error = yield* failure(run(`echo text; ${remove}`, { capture }))
          assert.strictEqual(error.reason, "LaunchFailed")
          assert.include(error.message, "cannot be read back: No such file or directory")
          for (const instead of [`mkfifo "$f"`, `ln -s /etc/passwd "$f"`, `mkdir "$f"`]) {
            const script = `f=$(readlink /proc/$$/fd/1); rm "$f"; ${instead}`
            assert.strictEqual((yield* failure(run(script, { capture }))).reason, "LaunchFailed")
          }
          const exit = yield* failure(run(`echo why >&2; ${remove}; exit 3`, { capture }))
          assert.deepStrictEqual([exit.reason, exit.exitCode], ["Exit", 3])
          const all = 'rm -r "$(dirname "$(readlink /proc/$$/fd/1)")"'
          assert.strictEqual((yield* failure(run(all, { capture }))).reason, "LaunchFailed")
          assert.strictEqual((yield* run("echo next")).stdout, "next\n")
          assert.deepStrictEqual(spills(), before)
        })
    )

    it.scoped("spill to a directory of their own, which no other user can enter or make before", () =>
      Effect.gen(function* () {
        const shared = path.join(tmpdir(), "effect-rhapsody")
        const capture = { overflow: "spill", limit: 10 } as const
        const { stdoutPath } = yield* run("echo 0123456789", { capture })
        const directory = path.dirname(stdoutPath!)
        assert.strictEqual(fs.statSync(directory).mode & 0o777, 0o700)
        assert.notStrictEqual(path.dirname(directory), shared)
        fs.rmSync(directory, { recursive: true })
      })
    )
  })
})
