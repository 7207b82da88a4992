// What surrounds a cluster of the layer's own: the directory and the variables of this process, and its signals.
import * as fs from "node:fs"
import { createRequire } from "node:module"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { modules } from "../engines/dask.js"
import { makeDirectory, removeDirectory, run } from "../project/support.js"
import { allGone, base, below, bridges, call, file, lives, missing, python, until, untilRuns } from "./support.js"

const { execute, submit } = ExecutionBackend

const directory = Effect.acquireRelease(Effect.sync(makeDirectory), (directory) =>
  Effect.sync(() => removeDirectory(directory))
)

/** Runs an orchestrator in a directory; the shell sets its environment, bytes as they are. */
const orchestrate = (name: string, cwd: string, setup: string, ...args: ReadonlyArray<string>) => {
  const loader = `--import=${pathToFileURL(createRequire(import.meta.url).resolve("tsx"))}`
  const script = path.join(import.meta.dirname, `orchestrators/${name}.ts`)
  const node = [process.execPath, "--conditions=effect-rhapsody-source", loader, script, ...args]
  return Effect.promise(() => run(cwd, "sh", ["-c", `${setup}; exec "$@"`, "sh", ...node]))
}

describe.skipIf(missing)("A cluster of the layer's own", () => {
  it.scopedLive(
    "imports nothing from the current directory, and nothing that variables name; programs inherit both",
    () =>
      Effect.gen(function* () {
        const cwd = yield* directory
        const trace = path.join(cwd, "trace")
        const names = [
          "json",
          "struct",
          "select",
          "signal",
          "types",
          "socket",
          "asyncio",
          "distributed",
          "sitecustomize"
        ]
        for (const name of [...names, "usercustomize", "multiprocessing", "tempfile", "shutil", "logging"]) {
          const text = `open(${JSON.stringify(trace)}, "a").write("${name} ")\nraise ImportError("${name} of the directory")\n`
          fs.writeFileSync(path.join(cwd, `${name}.py`), text)
        }
        const setup = [
          `export PYTHONPATH=${cwd} PYTHONSTARTUP=${cwd}/json.py PYTHONHOME=${cwd} PYTHONUSERBASE=${cwd}`,
          "export PYTHONHASHSEED=7 PYTHONINSPECT=1 LANG=C ODD=$(printf '\\377\\376') OMP_NUM_THREADS=3",
          "unset LC_ALL LC_CTYPE MKL_NUM_THREADS OPENBLAS_NUM_THREADS MALLOC_TRIM_THRESHOLD_"
        ].join("; ")
        const { code, output, stdout } = yield* orchestrate("inherits", cwd, setup, python, modules)
        assert.strictEqual(code, 0, output)
        assert.isFalse(fs.existsSync(trace), output)
        const { here, origins, there } = JSON.parse(stdout)
        assert.deepStrictEqual(origins, [])
        // byte for byte, with nothing that Dask has set for its workers
        assert.deepStrictEqual(there, here)
        assert.includeMembers(there, ["OMP_NUM_THREADS=3", "PYTHONHASHSEED=7", `PYTHONPATH=${cwd}`, "ODD=\u00ff\u00fe"])
        assert.isFalse(there.some((line: string) => /^(LC_CTYPE|MKL_NUM|OPENBLAS|MALLOC)/.test(line)))
      })
  )

  it.scopedLive("is waited for, also while a task only asks what workers there are", () =>
    Effect.gen(function* () {
      const { code, output, stdout } = yield* orchestrate("asks", yield* directory, ":", python)
      assert.deepStrictEqual([code, stdout], [0, "done\n"], output)
    })
  )

  it.scopedLive("lets functions use multiprocessing, and leaves nothing of that behind", () =>
    Effect.gen(function* () {
      const [left, exitcode] = yield* Effect.gen(function* () {
        assert.deepStrictEqual(yield* execute(call("squares", { numbers: [1, 2, 3] })), [1, 4, 9])
        const [left, exitcode] = (yield* execute(call("leaves_processes"))) as [number, number]
        assert.isTrue(lives(left))
        return [left, exitcode] as const
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 1 })))
      assert.strictEqual(exitcode, -15)
      yield* allGone([left])
    })
  )

  it.scopedLive("goes on where a batch system sends SIGTERM to every process, until the orchestrator closes it", () =>
    Effect.gen(function* () {
      const Waits = Task.executable("Waits", {
        payload: { path: Schema.String },
        success: Schema.String,
        command: ({ path }) => ({
          executable: "sh",
          args: ["-c", 'touch "$1.runs"; until test -e "$1"; do sleep 0.01; done; echo ended', "sh", path]
        })
      })
      const trace = yield* file
      const program = yield* submit(Waits.make({ path: trace }))
      const waits = yield* submit(call("there", { path: trace }))
      const worker = (yield* execute(call("pid"))) as number
      yield* until(() => fs.existsSync(`${trace}.runs`), "the program to run")
      yield* untilRuns(waits.uid)
      const { bridge, keeper } = bridges()[0]!
      for (const pid of [keeper, bridge, worker]) process.kill(pid, "SIGTERM")
      // both have had their turn since
      assert.strictEqual(yield* execute(call("pid")), worker)
      assert.isTrue(below(keeper).includes(bridge))
      fs.writeFileSync(trace, "")
      assert.strictEqual(yield* Fiber.join(program), "ended\n")
      yield* Fiber.join(waits)
    }).pipe(Effect.provide(DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 3 })))
  )
})
