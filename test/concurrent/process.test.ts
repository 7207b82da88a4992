/** I2: however the program that runs the tasks ends, its tasks end with it. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Over } from "./support.js"
import { directory, eventually, inbox, marked, overBoth, root } from "./support.js"

const imports = (options: Over["options"]) => `
  import * as Effect from "effect/Effect"
  import * as Fiber from "effect/Fiber"
  import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
  import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
  const Sh = (script) => Task.executable("Sh", { command: () => ({ executable: "sh", args: ["-c", script] }) })
  const layer = (options) => ConcurrentBackend.layer({ ...options, ...${JSON.stringify(options)} })
  const inbox = process.argv[2]
  const deaf = Sh("trap '' TERM; (sleep 100; :) & echo ready > " + inbox + "; sleep 100")
`

/** Runs a program of a user's own, beside a project's node_modules; resolves to its exit. */
const startOver =
  (options: Over["options"]) =>
  (script: string, shell = 'exec "$@"') =>
    Effect.gen(function* () {
      const [cwd, letters, mark] = [yield* directory, yield* inbox, yield* marked]
      fs.mkdirSync(join(cwd, "node_modules"))
      for (const name of ["effect", "@effect", "tsx"]) {
        fs.symlinkSync(join(root, "node_modules", name), join(cwd, "node_modules", name))
      }
      fs.symlinkSync(root, join(cwd, "node_modules", "effect-rhapsody"))
      fs.writeFileSync(join(cwd, "main.mts"), imports(options) + script)
      const args = ["--conditions=effect-rhapsody-source", "--import", "tsx", "main.mts", letters.path]
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn("sh", ["-c", shell, "sh", process.execPath, ...args], { cwd, env: { ...process.env, ...mark.env } })
        ),
        (child) => Effect.sync(() => void child.kill("SIGKILL"))
      )
      let output = ""
      child.stdout.on("data", (chunk) => (output += chunk))
      child.stderr.on("data", (chunk) => (output += chunk))
      const exited = new Promise<number | null>((resolve) => child.once("close", resolve))
      return { ...letters, ...mark, child, exit: Effect.promise(() => exited), output: Effect.sync(() => output) }
    })

const submit = `
  const run = (last) => ExecutionBackend.submit(deaf.make()).pipe(
    Effect.replicateEffect(3),
    Effect.zipRight(last),
    Effect.provide(layer())
  )
`
const ready = ["ready", "ready", "ready"]

overBoth("no program is left", ({ options }) => {
  const start = startOver(options)

  it.scopedLive("after process.exit", () =>
    Effect.gen(function* () {
      const program = yield* start(`${submit}
        Effect.runFork(run(Effect.never))
        process.stdin.once("data", () => process.exit(7))`)
      assert.deepStrictEqual(yield* program.takeN(3), ready)
      program.child.stdin.write("go")
      assert.strictEqual(yield* program.exit, 7, yield* program.output)
      // they were killed before it ended; the system may take a moment to carry it out
      yield* eventually(program.alive, (alive) => alive.length === 0)
    })
  )

  it.scopedLive("after an uncaught exception", () =>
    Effect.gen(function* () {
      const program = yield* start(`${submit}
        Effect.runFork(run(Effect.never))
        process.stdin.once("data", () => setTimeout(() => { throw new Error("uncaught") }, 1))`)
      assert.deepStrictEqual(yield* program.takeN(3), ready)
      program.child.stdin.write("go")
      assert.strictEqual(yield* program.exit, 1)
      assert.include(yield* program.output, "Error: uncaught")
      yield* eventually(program.alive, (alive) => alive.length === 0)
    })
  )

  // the shell has died of TERM, but what it started has its grace
  it.scopedLive("after process.exit while tasks are being stopped", () =>
    Effect.gen(function* () {
      const leaf = `trap "echo cleaning > $0" TERM; echo ready > $0; while :; do sleep 0.1; done`
      const program = yield* start(`
        const careful = Sh(${JSON.stringify(`sh -c '${leaf}' `)} + inbox + " & wait")
        process.stdin.once("data", () => process.exit(7))
        Effect.runFork(Effect.gen(function* () {
          const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(careful.make()), 3)
          yield* Effect.async((resume) => { process.once("SIGUSR2", () => resume(Effect.void)) })
          yield* Fiber.interruptAll(fibers)
        }).pipe(Effect.provide(layer({ forceKillAfter: "1 hour" }))))`)
      assert.deepStrictEqual(yield* program.takeN(3), ready)
      program.child.kill("SIGUSR2")
      assert.deepStrictEqual(yield* program.takeN(3), ["cleaning", "cleaning", "cleaning"])
      program.child.stdin.write("go")
      assert.strictEqual(yield* program.exit, 7, yield* program.output)
      yield* eventually(program.alive, (alive) => alive.length === 0)
    })
  )

  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it.scopedLive(`after ${signal}, with runMain, and each had its grace`, () =>
      Effect.gen(function* () {
        const program = yield* start(`
          const careful = Sh("trap 'echo saved > " + inbox + "; exit' TERM; echo ready > " + inbox + "; while :; do sleep 0.02; done")
          NodeRuntime.runMain(ExecutionBackend.submit(careful.make()).pipe(
            Effect.replicateEffect(3),
            Effect.zipRight(Effect.never),
            Effect.ensuring(Effect.sync(() => console.log("its own cleanup"))),
            Effect.provide(layer())
          ))`)
        assert.deepStrictEqual(yield* program.takeN(3), ready)
        program.child.kill(signal)
        yield* program.exit
        assert.deepStrictEqual(yield* program.alive, [])
        assert.deepStrictEqual(yield* program.takeN(3), ["saved", "saved", "saved"])
        assert.strictEqual(yield* program.output, "its own cleanup\n")
      })
    )
  }

  it.scopedLive("after SIGKILL", () =>
    Effect.gen(function* () {
      const program = yield* start(`${submit}
        Effect.runFork(run(Effect.never))`)
      assert.deepStrictEqual(yield* program.takeN(3), ready)
      program.child.kill("SIGKILL")
      yield* program.exit
      yield* eventually(program.alive, (alive) => alive.length === 0)
    })
  )
})

overBoth("what is left on purpose", ({ options }) => {
  it.scopedLive("stays after SIGKILL", () =>
    Effect.gen(function* () {
      const program = yield* startOver(options)(`
        const Start = Task.executable("Start", {
          orphans: "detach",
          command: () => ({
            executable: "sh",
            args: ["-c", "sh -c 'echo ready > " + inbox + "; exec sleep 1000' > /dev/null 2>&1 &"]
          })
        })
        Effect.runFork(Effect.gen(function* () {
          yield* ExecutionBackend.execute(Start.make())
          yield* ExecutionBackend.submit(deaf.make())
          yield* Effect.never
        }).pipe(Effect.provide(layer())))`)
      assert.deepStrictEqual(yield* program.takeN(2), ["ready", "ready"])
      program.child.kill("SIGKILL")
      yield* program.exit
      const daemons = Effect.map(program.alive, (alive) => alive.filter((what) => what.startsWith("sleep 1000 ")))
      // with an agent everything else goes, but the holder of the daemon
      if (options.launcher === "agent") {
        const isHolder = (what: string) => what.startsWith("effect-rhapsody holder of ")
        yield* eventually(program.alive, (alive) => alive.length === 2 && alive.some(isHolder))
      }
      assert.lengthOf(yield* daemons, 1)
    })
  )
})

overBoth("a program that has nothing more to do", ({ options }) => {
  const start = startOver(options)

  for (const [how, end] of [
    ["and has closed its backend", ""],
    ["and has forgotten to close its backend", "runtime.dispose = () => Promise.resolve()"]
  ] as const) {
    it.scopedLive(`${how} ends`, () =>
      Effect.gen(function* () {
        const program = yield* start(`
          import * as ManagedRuntime from "effect/ManagedRuntime"
          const runtime = ManagedRuntime.make(layer())
          ${end}
          const tasks = Array.from({ length: 3 }, () => ExecutionBackend.execute(Sh("echo done > " + inbox).make()))
          await runtime.runPromise(Effect.all(tasks, { concurrency: 3 }))
          await runtime.dispose()
          console.log("the end")`)
        assert.deepStrictEqual(yield* program.takeN(3), ["done", "done", "done"])
        assert.strictEqual(yield* program.exit, 0)
        assert.strictEqual(yield* program.output, "the end\n")
        yield* eventually(program.alive, (alive) => alive.length === 0)
      })
    )
  }
})

overBoth("an inherited variable that is no UTF-8", ({ launcher, options }) => {
  it.scopedLive(launcher === "agent" ? "is passed on byte by byte" : "is damaged: limit of Node", () =>
    Effect.gen(function* () {
      const program = yield* startOver(options)(
        `
        const seen = Sh('printf "%s:%s" "$TEST_BYTES" "$TEST_TEXT" | od -An -tx1 > ' + inbox)
        await Effect.runPromise(Effect.provide(ExecutionBackend.execute(seen.make()), layer()))`,
        `TEST_BYTES=$(printf 'a\\377\\376') TEST_TEXT=ü exec "$@"`
      )
      const damaged = "61 ef bf bd ef bf bd 3a c3 bc"
      assert.strictEqual((yield* program.take).trim(), launcher === "agent" ? "61 ff fe 3a c3 bc" : damaged)
      assert.strictEqual(yield* program.exit, 0, yield* program.output)
    })
  )
})
