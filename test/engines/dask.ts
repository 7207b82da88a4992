/** A real Dask for the tests: pinned packages in a virtual environment of their own, made once and kept. */
import { execFileSync, spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import type { Scope } from "effect"
import { Effect } from "effect"

/** The last that runs on Python 3.10; DASK_VERSION tests another. */
const version = process.env["DASK_VERSION"] ?? "2026.8.0"
const pins = [`dask==${version}`, `distributed==${version}`, "cryptography==50.0.2"]

const root = path.join(import.meta.dirname, "../..")
/** Where Python modules of tests are. */
export const modules = path.join(root, "test/dask/modules")

/** The interpreter of the environment, or why there is none. */
export type Environment = { readonly python: string } | { readonly missing: string }

const ran = (command: string, args: ReadonlyArray<string>) =>
  new Promise<{ readonly code: number | null; readonly output: string }>((resolve) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data: Buffer) => {
        output = (output + data.toString()).slice(-4000)
      })
    }
    child.once("error", (error) => resolve({ code: null, output: error.message }))
    child.once("close", (code) => resolve({ code, output }))
  })

/** Makes the environment, unless it is there. A process that comes meanwhile waits: files of tests run side by side. */
export const provision = async (): Promise<Environment> => {
  const interpreter = spawnSync("python3", ["-c", "import sys; print(sys.version)"], { encoding: "utf8" })
  if (interpreter.status !== 0) return { missing: "there is no python3" }
  const content = createHash("sha256").update(`${interpreter.stdout}${pins}`).digest("hex").slice(0, 12)
  const cache = path.join(root, "node_modules/.cache/effect-rhapsody")
  const directory = path.join(cache, `dask-${content}`)
  const python = path.join(directory, "bin/python")
  const made = path.join(directory, "made")
  const lock = `${directory}.lock`
  fs.mkdirSync(cache, { recursive: true })
  for (;;) {
    if (fs.existsSync(made)) return { python }
    try {
      fs.writeFileSync(lock, `${process.pid}`, { flag: "wx" })
      break
    } catch {
      if (!held(lock)) fs.rmSync(lock, { force: true })
      else await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  try {
    if (fs.existsSync(made)) return { python }
    fs.rmSync(directory, { recursive: true, force: true })
    console.log(`making an environment with ${pins.join(" ")}`)
    for (const [command, args] of [
      ["python3", ["-m", "venv", directory]],
      [python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", ...pins]]
    ] as const) {
      const { code, output } = await ran(command, args)
      if (code !== 0) return { missing: `${command} ${args.join(" ")}: ${output}` }
    }
    fs.writeFileSync(made, "")
    return { python }
  } finally {
    fs.rmSync(lock, { force: true })
  }
}

/** Whether the one who locks it lives. */
const held = (lock: string): boolean => {
  try {
    process.kill(Number(fs.readFileSync(lock, "utf8")), 0)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "EPERM"
  }
}

/** A process of a cluster that is not ours. */
export interface Process {
  readonly pid: number
  readonly kill: Effect.Effect<void>
  readonly output: () => string
}

/** Its scratch space is in the directory. */
const process_ = (
  python: string,
  args: ReadonlyArray<string>,
  directory: string
): Effect.Effect<Process, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(python, args, {
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
        env: { ...process.env, DASK_TEMPORARY_DIRECTORY: directory }
      })
      let output = ""
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (data: Buffer) => {
          output = (output + data.toString()).slice(-20_000)
        })
      }
      const ended = new Promise<void>((resolve) => child.once("close", () => resolve()))
      const kill = Effect.promise(() => {
        try {
          process.kill(-child.pid!, "SIGKILL")
        } catch {
          // it has ended
        }
        return ended
      })
      return { pid: child.pid!, kill, output: () => output }
    }),
    ({ kill }) => kill
  )

const look = (holds: () => boolean, what: () => string) =>
  Effect.gen(function* () {
    for (let i = 0; i < 3000; i++) {
      if (holds()) return
      yield* Effect.sleep("10 millis")
    }
    return yield* Effect.dieMessage(what())
  })

export interface Cluster {
  readonly address: string
  readonly scheduler: Process
  /** Starts one more, and waits until its scheduler has it. */
  readonly worker: (...args: ReadonlyArray<string>) => Effect.Effect<Process, never, Scope.Scope>
}

/** A scheduler to join, without workers; all of it ends with the scope. Both are started with `options`. */
export const cluster = (
  python: string,
  ...options: ReadonlyArray<string>
): Effect.Effect<Cluster, never, Scope.Scope> =>
  Effect.gen(function* () {
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => fs.mkdtempSync(path.join(tmpdir(), "rhapsody-dask-"))),
      (directory) => Effect.sync(() => fs.rmSync(directory, { recursive: true, force: true }))
    )
    const file = path.join(directory, "scheduler.json")
    const scheduler = yield* process_(
      python,
      [
        ...["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"],
        ...["--no-dashboard", "--no-show", "--scheduler-file", file, ...options]
      ],
      directory
    )
    let address = ""
    yield* look(
      () => {
        try {
          address = JSON.parse(fs.readFileSync(file, "utf8")).address
          return true
        } catch {
          return false
        }
      },
      () => `no scheduler: ${scheduler.output()}`
    )
    return {
      address,
      scheduler,
      worker: (...args) =>
        Effect.tap(
          process_(
            python,
            [
              ...["-m", "distributed.cli.dask_worker", address, "--no-dashboard", "--local-directory", directory],
              ...options,
              ...args
            ],
            directory
          ),
          (worker) =>
            look(
              () => worker.output().includes("Starting established connection"),
              () => `no worker: ${worker.output()}`
            )
        )
    }
  })

/** Files of a certificate and its key, which is its own authority, in a directory that is there. */
export const certificates = (python: string, directory: string): Readonly<Record<"ca" | "cert" | "key", string>> => {
  const [cert, key] = [path.join(directory, "cert.pem"), path.join(directory, "key.pem")]
  const program = `
import sys
from distributed.security import Security
made = Security.temporary()
open(sys.argv[1], "w").write(made.tls_client_cert)
open(sys.argv[2], "w").write(made.tls_client_key)
`
  execFileSync(python, ["-c", program, cert, key])
  return { ca: cert, cert, key }
}
