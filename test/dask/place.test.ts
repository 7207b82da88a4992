// Where Dask runs a task, and what it is refused for.
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { ConfigurationError } from "effect-rhapsody/Errors"
import { cluster } from "../engines/dask.js"
import { base, call, content, file, missing, python, untilRuns } from "./support.js"

const { execute, submit } = ExecutionBackend

const set = (settings: Parameters<typeof DaskBackend.settings>[0], options: Task.Options<any> = {}) => ({
  ...options,
  settings: DaskBackend.settings(settings)
})
const pid = (options: Task.Options<any>) => execute(call("pid", {}, {}, options))

const refusal = (options: Task.Options<any>) =>
  Effect.flatMap(Effect.flip(submit(call("pid", {}, {}, options))), (error) =>
    error instanceof ConfigurationError ? Effect.succeed(error) : Effect.dieMessage(`${error}`)
  )

describe.skipIf(missing)("Workers with resources and names", () => {
  it.scopedLive("run what asks for them; what no worker has is refused at submission, with what there is", () =>
    Effect.gen(function* () {
      const { address, worker } = yield* cluster(python)
      yield* worker("--nthreads", "1", "--name", "plain")
      yield* worker("--nthreads", "1", "--name", "strong", "--resources", "GPU=2 MEMORY=1e9")
      yield* Effect.gen(function* () {
        const plain = yield* pid(set({ workers: ["plain"] }))
        const strong = yield* pid(set({ workers: ["strong"] }))
        assert.notStrictEqual(plain, strong)
        for (let i = 0; i < 3; i++) {
          assert.strictEqual(yield* pid(set({ resources: { GPU: 2 } })), strong)
          assert.strictEqual(yield* pid({ resources: { gpus: 1, memory: 1000 } }), strong)
          assert.strictEqual(yield* pid(set({ workers: ["plain"], allowOtherWorkers: false })), plain)
        }
        assert.include([plain, strong], yield* pid(set({ workers: ["gone"], allowOtherWorkers: true })))
        assert.include([plain, strong], yield* pid({ resources: { cores: 1, nodes: 1, walltime: "1 hour" } }))

        const none = yield* refusal(set({ resources: { GPU: 3 } }))
        assert.strictEqual(none.configKey, "settings.resources")
        assert.include(none.message, "no worker can satisfy {GPU: 3}; there are {GPU: 2, MEMORY: 1000000000}, {};")
        assert.strictEqual((yield* refusal({ resources: { gpus: 3 } })).configKey, "resources")
        assert.strictEqual((yield* refusal({ resources: { cores: 8 } })).configKey, "resources")
        const both = yield* refusal(set({ workers: ["plain"], resources: { GPU: 1 } }))
        assert.include(both.message, "there are {};")
        const unknown = yield* refusal(set({ workers: ["gone"] }))
        assert.strictEqual(unknown.configKey, "settings.workers")
        assert.include(unknown.message, "plain (tcp://")
        for (const [key, options] of [
          ["resources.nodes", { resources: { nodes: 2 } }],
          ["resources.ranks", { resources: { ranks: 4 } }],
          ["settings.allowOtherWorkers", set({ allowOtherWorkers: true })],
          ["settings.retries", set({ retries: -1 })],
          ["settings.resources.GPU", set({ resources: { GPU: 0 } })]
        ] as const) {
          assert.strictEqual((yield* refusal(options)).configKey, key)
        }
        assert.deepStrictEqual([...(yield* ExecutionBackend.taskStates).values()].includes("READY"), false)
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, address })))
    })
  )
})

describe.skipIf(missing)("Workers of a managed cluster", () => {
  it.scopedLive("have their threads as cores and their memory; beyond that the options that give more are named", () =>
    Effect.gen(function* () {
      yield* pid({ resources: { cores: 3 } })
      yield* pid({ resources: { cores: 2, memory: 300_000_000 } })
      yield* pid(set({ resources: { CPU: 1, GPU: 1 } }))
      for (const [key, options] of [
        ["resources", { resources: { cores: 4000 } }],
        ["resources", { resources: { memory: 500_000_000 } }],
        ["settings.resources", set({ resources: { GPU: 2 } })]
      ] as const) {
        const none = yield* refusal(options)
        assert.strictEqual(none.configKey, key)
        assert.include(none.message, "MEMORY: 400000000, GPU: 1}; give each worker more with threadsPerWorker")
        assert.notInclude(none.message, "--resources")
      }
    }).pipe(
      Effect.provide(
        DaskBackend.layer({
          ...{ ...base, workers: 1, threadsPerWorker: 3, memoryLimit: "400MB", workerResources: { GPU: 1 } }
        })
      )
    )
  )
})

describe.skipIf(missing)("Settings of one task", () => {
  layer(DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 1 }), {
    excludeTestServices: true,
    timeout: 60_000
  })((it) => {
    it.scoped("priority decides who starts first, the common one and Dask's own", () =>
      Effect.gen(function* () {
        const [busy, trace] = [yield* file, yield* file]
        const first = yield* submit(call("sleeps", { path: busy, seconds: 0.5 }))
        yield* untilRuns(first.uid)
        const touch = (text: string, options: Task.Options<any>) =>
          submit(call("touch", { path: trace, text }, {}, options))
        const fibers = [
          // a worker is given more than it runs, in the order of coming: these
          yield* touch("x", {}),
          yield* touch("x", {}),
          yield* touch("d", { priority: -1 }),
          yield* touch("c", {}),
          yield* touch("b", { priority: 5 }),
          yield* touch("a", set({ priority: 9 }, { priority: -9 }))
        ]
        yield* Fiber.joinAll(fibers)
        // of those that come in between, Dask has given some to the worker already
        const places = [..."abcd"].map((name) => content(trace).indexOf(name)) as [number, number, number, number]
        assert.isBelow(places[0], places[1])
        assert.isBelow(places[2], places[3])
        assert.strictEqual(content(trace).length, 6)
      })
    )

    it.scoped("retries are Dask's own, of the same attempt, for functions and programs", () =>
      Effect.gen(function* () {
        const trace = yield* file
        const Fails = Task.executable("Fails", {
          payload: { path: Schema.String },
          command: ({ path }) => ({
            executable: "sh",
            args: ["-c", 'echo x >> "$1"; test $(wc -l < "$1") -gt 2', "sh", path]
          })
        })
        yield* execute(Fails.make({ path: trace }, set({ retries: 2 })))
        assert.strictEqual(content(trace), "x\nx\nx\n")
        const last: any = yield* Effect.flip(execute(call("fails", { why: "again" }, {}, set({ retries: 1 }))))
        assert.deepStrictEqual([last.reason, last.details.type], ["Defect", "ValueError"])
      })
    )

    it.scoped("key is what Dask calls it", () =>
      Effect.gen(function* () {
        const names = call("f", {}, { callable: "functions:own_key" }, set({ key: "my-key" }))
        assert.strictEqual(yield* execute(names), "my-key")
      })
    )
  })
})
