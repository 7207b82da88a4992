// What a hostile user, another client of the cluster or bad luck would do to it.
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import { promisify } from "node:util"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { cluster } from "../engines/dask.js"
import {
  base,
  below,
  bridges,
  call,
  failure,
  file,
  missing,
  python,
  Sleep,
  sleepers,
  until,
  untilRuns
} from "./support.js"

const { execute, submit } = ExecutionBackend

const attack = (name: string, payload: Record<string, unknown> = {}, options: Task.Options<any> = {}) =>
  call(name, payload, { callable: `attacks:${name}` }, options)
const set = (settings: Parameters<typeof DaskBackend.settings>[0]) => ({ settings: DaskBackend.settings(settings) })
const flipped = (task: Task.Instance<any, any, any>) => Effect.map(Effect.flip(execute(task)), (error: any) => error)

/** Runs a line of Python with a client of another program. */
const other = (address: string, line: string) =>
  Effect.promise(() =>
    promisify(execFile)(python, [
      "-c",
      `import sys; from distributed import Client; client = Client(sys.argv[1]); ${line}`,
      address
    ])
  )

/** Whether one of the processes listens at the port. */
const listens = (pids: ReadonlyArray<number>, port: number): boolean => {
  const rows = fs.readFileSync("/proc/net/tcp", "utf8").trim().split("\n").slice(1)
  const inodes = rows
    .map((row) => row.trim().split(/\s+/))
    .filter(([, local, , state]) => state === "0A" && Number.parseInt(local!.split(":")[1]!, 16) === port)
    .map((row) => `socket:[${row[9]}]`)
  return pids.some((pid) =>
    fs.readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return inodes.includes(fs.readlinkSync(`/proc/${pid}/fd/${fd}`))
      } catch {
        return false // it was closed meanwhile
      }
    })
  )
}

describe.skipIf(missing)("Odd tasks on Dask", () => {
  layer(DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 4 }), {
    excludeTestServices: true,
    timeout: 60_000
  })((it) => {
    it.effect("an exception of a class without a module fails its own task, and nothing else", () =>
      Effect.gen(function* () {
        assert.strictEqual((yield* failure(attack("odd"))).details["type"], "Odd")
        assert.deepStrictEqual(yield* execute(call("f", { a: 1 })), [1, 1])
      })
    )

    it.effect("a whole number that would arrive as another is refused", () =>
      Effect.gen(function* () {
        const exact = { a: [1.5, "1234567890123456789"], b: [2 ** 53, -(2 ** 53)] }
        assert.deepStrictEqual(yield* execute(attack("exact", { bits: 53 })), exact)
        for (const bits of [53, 63, 2000]) {
          const error = yield* failure(attack("beyond", { bits }))
          assert.strictEqual(error.reason, "InvalidResult")
          assert.include(error.message, `result.a[1] is a number of ${bits + 1} bits`)
        }
      })
    )

    it.effect("a worker whose name is a number is found by it", () =>
      Effect.gen(function* () {
        for (const name of ["0", 0]) {
          assert.deepStrictEqual(yield* execute(call("f", { a: 1 }, {}, set({ workers: [name] }))), [1, 1])
        }
        for (const name of [-1, 0.5, ""]) {
          const error = yield* flipped(call("f", { a: 1 }, {}, set({ workers: [name] })))
          assert.strictEqual(error.configKey, "settings.workers[0]")
        }
      })
    )

    it.effect("a key that another task has is refused, and may be had after that one", () =>
      Effect.gen(function* () {
        const trace = yield* file
        const first = yield* submit(call("waits", { path: trace }, {}, set({ key: "one" })))
        yield* untilRuns(first.uid)
        const error = yield* flipped(call("f", { a: 1 }, {}, set({ key: "one" })))
        assert.deepStrictEqual([error._tag, error.reason], ["BackendError", "Rejected"])
        assert.include(error.message, "the key one")
        yield* ExecutionBackend.cancel(first)
        for (let a = 0; a < 50; a++) {
          assert.deepStrictEqual(yield* execute(call("f", { a }, {}, set({ key: "one" }))), [a, 1])
        }
      }).pipe(Effect.scoped)
    )

    it.effect("text that is no Unicode reaches no message of Dask's", () =>
      Effect.gen(function* () {
        for (const [key, settings] of [
          ["settings.key", { key: "a\ud800" }],
          ["settings.workers[0]", { workers: ["\udfff"] }]
        ] as const) {
          assert.strictEqual((yield* flipped(call("f", { a: 1 }, {}, set(settings as any)))).configKey, key)
        }
        assert.throws(() => Task.python("a\ud800", { callable: "functions:nothing" }), "name")
      })
    )

    it.effect("what is too long for a message fails alone, and not what was submitted beside it", () =>
      Effect.gen(function* () {
        const text = "x".repeat(68_000_000)
        const command = () => ({ executable: "echo", args: [text] })
        const Live = Task.executable("Live", { command, capture: { onChunk: () => Effect.void } })
        const fibers = yield* Effect.forEach(
          [call("f", { a: 1 }), attack("size", { a: text }), Task.executable("Long", { command }).make(), Live.make()],
          submit
        )
        const last = yield* submit(attack("size", { a: "x".repeat(5_000_000) }))
        assert.deepStrictEqual(yield* Fiber.join(fibers[0]!), [1, 1])
        const argument = "the longest of its arguments and variables is args[0], with 68000000 bytes"
        for (const [i, words] of ["its payload has 680", argument, argument].entries()) {
          const error: any = yield* Effect.flip(Fiber.join(fibers[i + 1]!))
          assert.deepStrictEqual([error._tag, error.reason], ["TaskError", "LaunchFailed"])
          assert.include(error.message, words)
          assert.match(error.message, /pass large data (on stdin or )?in a file/)
        }
        assert.strictEqual(yield* Fiber.join(last), 5_000_000)
      })
    )

    it.effect("a program that Dask runs again gets all of its input again, and reports what it printed last", () =>
      Effect.gen(function* () {
        const trace = yield* file
        const script = `n=$(wc -c); if [ -e ${trace} ]; then echo $n; else echo first; touch ${trace}; exit 1; fi`
        const heard: Array<string> = []
        for (const capture of [
          {},
          {
            onChunk: ({ bytes }: { readonly bytes: Uint8Array }) =>
              Effect.sync(() => heard.push(`${Buffer.from(bytes)}`))
          }
        ]) {
          fs.rmSync(trace, { force: true })
          const Count = Task.executable("Count", {
            command: () => ({ executable: "sh", args: ["-c", script], stdin: new Uint8Array(3_000_000) }),
            capture,
            ...set({ retries: 1 })
          })
          assert.strictEqual(yield* execute(Count.make()), "3000000\n")
        }
        assert.strictEqual(heard.join(""), "first\n3000000\n")
      }).pipe(Effect.scoped)
    )

    it.effect("no port for a dashboard is opened that was not asked for", () =>
      Effect.sync(() => {
        const { bridge, keeper } = bridges()[0]!
        assert.isFalse(listens([bridge, ...below(keeper)], 8787))
      })
    )
  })
})

describe.skipIf(missing)("Others on the same cluster", () => {
  it.scopedLive("may restart it: every task ends as Lost, and the next one runs", () =>
    Effect.gen(function* () {
      const { address, worker } = yield* cluster(python)
      yield* worker("--nthreads", "2", "--resources", "X=inf")
      const trace = yield* file
      yield* Effect.gen(function* () {
        const fibers = [yield* submit(Sleep.make()), yield* submit(call("waits", { path: trace }))]
        for (const { uid } of fibers) yield* untilRuns(uid)
        fibers.push(...(yield* Effect.replicateEffect(submit(call("waits", { path: trace })), 5)))
        yield* other(address, "client.restart()")
        for (const fiber of fibers) {
          const error: any = yield* Effect.flip(Effect.timeout(Fiber.join(fiber), "10 seconds"))
          assert.deepStrictEqual([error._tag, error.reason], ["TaskError", "Lost"])
        }
        // a worker may have infinitely much of something, for which JSON has no word
        assert.deepStrictEqual(yield* execute(call("f", { a: 1 }, {}, set({ resources: { X: 1000 } }))), [1, 1])
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, address })))
    })
  )

  it.scopedLive("may have a task of the same key: its result is not taken for ours", () =>
    Effect.gen(function* () {
      const { address, worker } = yield* cluster(python)
      yield* worker("--nthreads", "2", "--no-nanny")
      // what is published stays when its client has gone
      yield* other(address, `mine = client.submit(len, "ab", key="theirs"); client.publish_dataset(theirs=mine)`)
      const error = yield* Effect.provide(
        flipped(call("f", { a: 1 }, {}, set({ key: "theirs" }))),
        DaskBackend.layer({ ...base, address })
      )
      assert.deepStrictEqual([error._tag, error.reason], ["BackendError", "Rejected"])
      assert.include(error.message, "the key theirs")
    })
  )

  it.scopedLive("who use this library, too: a live task of the same key is theirs alone", () =>
    Effect.gen(function* () {
      const { address, worker } = yield* cluster(python)
      yield* worker("--nthreads", "2", "--no-nanny")
      const trace = yield* file
      const layer = DaskBackend.layer({ ...base, address })
      yield* Effect.gen(function* () {
        fs.writeFileSync(trace, "")
        const first = yield* submit(call("held", { path: trace }, {}, set({ key: "ours" })))
        yield* untilRuns(first.uid)
        const theirs = flipped(call("f", { a: 1 }, {}, set({ key: "ours" })))
        const second = yield* Effect.fork(Effect.provide(theirs, Layer.fresh(layer)))
        const wanted = "client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks['ours'].who_wants))"
        yield* other(address, `\nwhile ${wanted} < 2: pass`)
        fs.rmSync(trace)
        const error = yield* Fiber.join(second)
        assert.deepStrictEqual([error._tag, error.reason], ["BackendError", "Rejected"])
        assert.strictEqual(yield* Fiber.join(first), "free")
      }).pipe(Effect.provide(layer))
    })
  )
})

describe.skipIf(missing)("A worker that is restarted to stop a function", () => {
  it.scopedLive("takes the programs along that were being stopped on it, and they are reported as stopped", () =>
    Effect.gen(function* () {
      const trace = yield* file
      const script = `trap "" TERM; touch ${trace}; while :; do sleep 0.1; done`
      const Stubborn = Task.executable("Stubborn", { command: () => ({ executable: "sh", args: ["-c", script] }) })
      const program = yield* submit(Stubborn.make())
      const busy = yield* file
      const fiber = yield* submit(call("sleeps", { path: busy }))
      yield* until(() => fs.existsSync(trace), "the program to run")
      yield* untilRuns(program.uid)
      yield* untilRuns(fiber.uid)
      const stopping = yield* Effect.fork(ExecutionBackend.cancel(program))
      yield* Effect.yieldNow()
      assert.strictEqual(yield* ExecutionBackend.cancel(fiber), true)
      assert.strictEqual(yield* Effect.timeout(Fiber.join(stopping), "5 seconds"), true)
    }).pipe(
      Effect.provide(
        DaskBackend.layer({
          ...{ ...base, workers: 1, threadsPerWorker: 2, onUncancellable: "restart" },
          ...{ forceKillAfter: "1 minute", stopTimeout: "1 minute" }
        })
      )
    )
  )
})

describe.skipIf(missing)("A function that does not let go of the interpreter", () => {
  it.scopedLive("keeps a program of its worker from being stopped, which is reported, and it stops after that", () =>
    Effect.gen(function* () {
      const program = yield* submit(Sleep.make())
      yield* untilRuns(program.uid)
      const trace = yield* file
      const selfish = yield* submit(attack("selfish", { path: trace }))
      yield* until(() => fs.existsSync(trace), "the function to run")
      assert.strictEqual(yield* ExecutionBackend.cancel(program), true)
      assert.isAbove(sleepers(bridges()[0]!.bridge).length, 0)
      const error: any = yield* Effect.flip(Fiber.join(program))
      assert.deepStrictEqual([error._tag, error.reason, error.details.stopped], ["TaskError", "Canceled", false])
      fs.writeFileSync(trace, "x")
      yield* Fiber.join(selfish)
      yield* until(() => sleepers(bridges()[0]!.bridge).length === 0, "the program to end")
      assert.deepStrictEqual(yield* execute(call("f", { a: 1 })), [1, 1])
    }).pipe(
      Effect.provide(
        DaskBackend.layer({
          ...{ ...base, workers: 1, threadsPerWorker: 2 },
          ...{ forceKillAfter: "100 millis", stopTimeout: "300 millis" }
        })
      )
    )
  )
})
