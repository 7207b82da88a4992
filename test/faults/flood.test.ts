/** I4: whatever a program prints, this process and the agent keep no more of it than their limit. */
import * as v8 from "node:v8"
import * as vm from "node:vm"
import { assert } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { ExecutionBackend } from "effect-rhapsody"
import { command, failureOf, inbox, sh } from "../concurrent/support.js"
import type { Launcher } from "./support.js"
import { block, both, caught, fault, forest, over, reasonOf, reasons } from "./support.js"
import { agentsOf, forgetPeak, peak, read } from "./system.js"

const MiB = 1 << 20
const GiB = 1 << 30
const zeros = (bytes: number) => ({ executable: "head", args: ["-c", String(bytes), "/dev/zero"] })

v8.setFlagsFromString("--expose-gc")
const collectGarbage: () => void = vm.runInNewContext("gc")

/** Bytes that a process has written. */
const written = (pid: number) => Number(/wchar: (\d+)/.exec(read(pid, "io"))![1])

/** How much more memory this process and the agents took at their peak, in MiB. */
const growth = <A, E, R>(launcher: Launcher, work: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    yield* ExecutionBackend.execute(sh("true"))
    const agents = agentsOf().map(({ agent }) => agent)
    assert.lengthOf(agents, launcher === "agent" ? 1 : 0)
    collectGarbage()
    const pids = ["self" as const, ...agents]
    for (const pid of pids) forgetPeak(pid)
    const before = pids.map(peak)
    const result = yield* work
    const [self, agent = 0] = pids.map((pid, i) => Math.round(peak(pid) - before[i]!))
    return { result, self: self!, agent }
  })

fault(
  "1 GB of output, of which a part is kept",
  both(caught, "it is read to its end in bounded memory, and what is dropped is counted", (launcher) =>
    Effect.gen(function* () {
      // no multiple of anything
      const limit = 1_000_003
      const capture = { limit, overflow: "truncate" } as const
      const { agent, result, self } = yield* growth(
        launcher,
        ExecutionBackend.execute(command(zeros(GiB), { capture, timeout: "1 minute" }))
      )
      assert.strictEqual(result.stdoutBytes.length, limit)
      assert.deepStrictEqual(result.dropped?.stdout, GiB - limit)
      assert.isBelow(self, 200)
      assert.isBelow(agent, 32)
    }).pipe(over(launcher, { maxWorkers: 1 }))
  )
)

fault(
  "1 GB of output on both streams, with the default limit",
  both(caught, "OutputLimit, and the program is killed", (launcher) =>
    Effect.gen(function* () {
      const { alive, env } = yield* forest
      const { agent, result, self } = yield* growth(
        launcher,
        Effect.exit(
          ExecutionBackend.execute(sh(`head -c ${GiB} /dev/zero & head -c ${GiB} /dev/zero >&2; wait`, { env }))
        )
      )
      assert.strictEqual(reasonOf(result), "OutputLimit")
      assert.include(["stdout", "stderr"], (failureOf(result) as any).details.stream)
      assert.strictEqual((failureOf(result) as any).details.limit, 64 * MiB)
      assert.deepStrictEqual(yield* alive, [])
      // both streams up to the limit, and as much again while one of them is put together
      assert.isBelow(self, 300)
      assert.isBelow(agent, 32)
    }).pipe(over(launcher, { maxWorkers: 1 }))
  )
)

fault(
  "16 floods while this process is blocked for a second",
  both(caught, "the programs wait", (launcher) =>
    Effect.gen(function* () {
      const { alive, env } = yield* forest
      const { agent, result, self } = yield* growth(
        launcher,
        Effect.gen(function* () {
          const letters = yield* inbox
          const flood = sh(`echo > ${letters.path}; exec head -c ${GiB} /dev/zero`, {
            env,
            capture: { limit: 4 * MiB }
          })
          const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(flood), 16)
          yield* letters.takeN(16)
          yield* Effect.sync(() => block(1000))
          return yield* reasons(fibers)
        })
      )
      assert.deepStrictEqual(result, Array(16).fill("OutputLimit"))
      assert.deepStrictEqual(yield* alive, [])
      assert.isBelow(self, 300)
      assert.isBelow(agent, 32)
    }).pipe(over(launcher, { maxWorkers: 16 }))
  )
)

fault(
  "a flood to a listener that does not take it",
  both(caught, "the program waits, in bounded memory, others go on, and cancel ends it", (launcher) =>
    Effect.gen(function* () {
      const { alive, env } = yield* forest
      const first = yield* Deferred.make<void>()
      const onChunk = () => Effect.zipRight(Deferred.succeed(first, undefined), Effect.never)
      const { agent, self } = yield* growth(
        launcher,
        Effect.gen(function* () {
          const letters = yield* inbox
          const fiber = yield* ExecutionBackend.submit(
            sh(`echo $$ > ${letters.path}; exec head -c ${GiB} /dev/zero`, {
              env,
              capture: { onChunk, overflow: "truncate" }
            })
          )
          const pid = Number(yield* letters.take)
          yield* Deferred.await(first)
          for (let i = 0; i < 3; i++) {
            const output = yield* ExecutionBackend.execute(command(zeros(20 * MiB)))
            assert.strictEqual(output.stdoutBytes.length, 20 * MiB)
          }
          assert.isBelow(written(pid), 8 * MiB)
          yield* ExecutionBackend.cancel(fiber)
          assert.strictEqual((yield* reasons([fiber]))[0], "Canceled")
        })
      )
      assert.deepStrictEqual(yield* alive, [])
      assert.isBelow(self, 150)
      assert.isBelow(agent, 32)
    }).pipe(over(launcher, { maxWorkers: 2, forceKillAfter: "10 minutes" }))
  )
)

fault(
  "300 MB of output to a listener",
  both(caught, "all of it comes, in bounded memory", (launcher) =>
    Effect.gen(function* () {
      let seen = 0
      const onChunk = ({ bytes }: { readonly bytes: Uint8Array }) =>
        Effect.sync(() => {
          seen += bytes.length
        })
      const { agent, result, self } = yield* growth(
        launcher,
        ExecutionBackend.execute(command(zeros(300 * MiB), { capture: { onChunk, limit: 10, overflow: "truncate" } }))
      )
      assert.strictEqual(seen, 300 * MiB)
      assert.strictEqual(result.stdoutBytes.length, 10)
      assert.isBelow(self, 150)
      assert.isBelow(agent, 32)
    }).pipe(over(launcher, { maxWorkers: 1 }))
  )
)
