/** What our own interpreters import is theirs: neither the current directory nor a PYTHON* variable decides it. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ConcurrentBackend, DaskBackend, ExecutionBackend } from "effect-rhapsody"
import { interpreters } from "../../src/internal/process/python.js"
import { directory, sh } from "../concurrent/support.js"
import { base, call, missing } from "../dask/support.js"

/** Modules that an interpreter, an agent, a bridge or Dask imports, sooner or later. */
const names = [
  ...["json", "struct", "select", "signal", "types", "os", "linecache", "ctypes", "collections", "encodings"],
  ...["site", "sitecustomize", "usercustomize", "asyncio", "threading", "multiprocessing", "dask", "distributed"]
]

const output = (command: string, ...args: ReadonlyArray<string>) =>
  execFileSync(command, args, { encoding: "utf8", stdio: "pipe" })

/** Those that pyenv keeps, beside the usual names. */
const kept = (): ReadonlyArray<string> => {
  try {
    const versions = join(output("pyenv", "root").trim(), "versions")
    return fs.readdirSync(versions).map((version) => join(versions, version, "bin/python3"))
  } catch {
    return [] // there is no pyenv
  }
}

/** One interpreter of each version that is here. */
const found = new Map(
  [...kept(), ...interpreters].flatMap((name) => {
    try {
      const script = "import sys; sys.stdout.write('%d.%d %s' % (sys.version_info[:2] + (sys.executable,)))"
      const [version, path] = output(name, "-c", script).split(" ")
      return Number(version!.split(".")[1]) < 8 ? [] : [[version!, path!] as const]
    } catch {
      return [] // it is not here
    }
  })
)

/** Moves this process there, with variables that mean that directory; the answer moves it back. */
const enter = (path: string) => {
  const before = { cwd: process.cwd(), env: { ...process.env } }
  process.chdir(path)
  Object.assign(process.env, {
    PYTHONPATH: path,
    PYTHONHOME: path,
    PYTHONSTARTUP: join(path, "startup.py"),
    PYTHONUSERBASE: join(path, "base"),
    PYTHONINSPECT: "1",
    PYTHONBREAKPOINT: "json.loads",
    PYTHONWARNINGS: "error::json.Warning"
  })
  return () => {
    process.chdir(before.cwd)
    for (const name of Object.keys(process.env)) if (!(name in before.env)) delete process.env[name]
    Object.assign(process.env, before.env)
  }
}

/** This process in a directory full of modules of these names, which variables name as well; those that were run. */
const surrounded = Effect.gen(function* () {
  const path = yield* directory
  const trap = (file: string, name: string) => {
    fs.mkdirSync(join(file, ".."), { recursive: true })
    // modules that are part of the interpreter alone: a trap must not fall into others
    const open = `posix.open(${JSON.stringify(join(path, "ran"))}, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND)`
    fs.writeFileSync(file, `import posix\nposix.write(${open}, b"${name}\\n")\n`)
  }
  for (const name of names) trap(join(path, `${name}.py`), name)
  trap(join(path, "startup.py"), "PYTHONSTARTUP")
  for (const version of found.keys()) {
    trap(join(path, `base/lib/python${version}/site-packages/usercustomize.py`), "PYTHONUSERBASE")
    fs.writeFileSync(join(path, `base/lib/python${version}/site-packages/trap.pth`), "import usercustomize\n")
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => enter(path)),
    (leave) => Effect.sync(leave)
  )
  return {
    path,
    ran: Effect.sync(() => (fs.existsSync(join(path, "ran")) ? fs.readFileSync(join(path, "ran"), "utf8") : ""))
  }
})

describe("the modules of the current directory, and those that variables name,", () => {
  it.scopedLive("are run by an interpreter that is started without care", () =>
    Effect.gen(function* () {
      const { path, ran } = yield* surrounded
      const [python] = found.values()
      const run = (env: NodeJS.ProcessEnv) =>
        Effect.ignore(Effect.try(() => execFileSync(python!, ["-c", "import json"], { env, stdio: "ignore" })))
      yield* run({})
      assert.include(yield* ran, "json\n")
      yield* run({ PYTHONPATH: path })
      assert.include(yield* ran, "encodings\n")
    })
  )

  for (const [version, python] of found) {
    it.scopedLive(`are not run by a launch agent on Python ${version}`, () =>
      Effect.gen(function* () {
        const { path, ran } = yield* surrounded
        const layer = ConcurrentBackend.layer({ launcher: "agent", python })
        const output = yield* Effect.provide(ExecutionBackend.execute(sh('echo "$PYTHONPATH"')), layer)
        // the program itself inherits all of it
        assert.strictEqual(Buffer.from(output.stdout).toString(), `${path}\n`)
        assert.strictEqual(yield* ran, "")
      })
    )
  }

  it.scopedLive.skipIf(missing)("are not run by the bridge to Dask, its workers or their launch agents", () =>
    Effect.gen(function* () {
      const { path, ran } = yield* surrounded
      const both = Effect.all([
        ExecutionBackend.execute(call("f", { a: 1 })),
        ExecutionBackend.execute(sh('echo "$PYTHONPATH"'))
      ])
      const [value, output] = yield* Effect.provide(both, DaskBackend.layer({ ...base, workers: 1 }))
      assert.deepStrictEqual(value, [1, 1])
      assert.strictEqual(Buffer.from(output.stdout).toString(), `${path}\n`)
      assert.strictEqual(yield* ran, "")
    })
  )
})
