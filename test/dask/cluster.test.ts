// Clusters, managed and joined ones: what is found, what is reported when there is none, and what is left.
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Fiber, Layer, Logger } from "effect"
import { BackendRegistry, DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { certificates, cluster } from "../engines/dask.js"
import {
  allGone,
  base,
  below,
  bridges,
  call,
  file,
  missing,
  python,
  Sleep,
  sleepers,
  until,
  untilRuns
} from "./support.js"

const { execute, submit } = ExecutionBackend

const refusal = (options: DaskBackend.Options) =>
  Effect.flip(Effect.scoped(Layer.build(DaskBackend.layer({ ...base, ...options }))))

/** What a scheduler and its workers have of ours: plugins by name. */
const ours = (address: string): ReadonlyArray<string> => {
  const look = `
import json, sys
from distributed import Client
def names(dask_scheduler=None, dask_worker=None):
    node = dask_scheduler or dask_worker
    plugins = list(node.plugins) + list(getattr(node, "worker_plugins", ()))
    return [name for name in plugins if "rhapsody" in str(name)]
with Client(sys.argv[1]) as client:
    print(json.dumps(client.run_on_scheduler(names) + sum(client.run(names).values(), [])))
`
  return JSON.parse(spawnSync(python, ["-c", look, address], { encoding: "utf8" }).stdout)
}

/** What is said of tasks that no worker can take, once something is. */
const unserved = Effect.gen(function* () {
  for (;;) {
    const { details } = yield* ExecutionBackend.state
    if (details?.["unserved"] !== undefined) return details["unserved"]
    yield* Effect.sleep("10 millis")
  }
})

const configured = (values: Readonly<Record<string, string>>) =>
  ConfigProvider.fromMap(new Map(Object.entries(values).map(([key, value]) => [`RHAPSODY.DASK.${key}`, value])))

describe.skipIf(missing)("A cluster of the layer's own", () => {
  it.scopedLive("is as its options say, and closed with the layer, whatever runs on it", () =>
    Effect.gen(function* () {
      const trace = yield* file
      const options = { workers: 2, threadsPerWorker: 3, memoryLimit: "400MB", workerResources: { GPU: 2 } }
      const { all, fibers } = yield* Effect.gen(function* () {
        const fibers = [
          ...(yield* Effect.replicateEffect(submit(Sleep.make()), 2)),
          ...(yield* Effect.replicateEffect(submit(call("sleeps", { path: trace })), 5))
        ]
        yield* Effect.forEach(fibers.slice(0, 6), ({ uid }) => untilRuns(uid))
        const { active, queued } = yield* ExecutionBackend.state
        assert.deepStrictEqual([active, queued], [6, 1])
        const { keeper } = bridges()[0]!
        return { all: [keeper, ...below(keeper)], fibers }
      }).pipe(
        Effect.provide(
          DaskBackend.layer({ ...base, ...options, stopTimeout: "500 millis", forceKillAfter: "100 millis" })
        )
      )
      yield* allGone(all)
      for (const fiber of fibers)
        assert.strictEqual(((yield* Effect.flip(Fiber.join(fiber))) as any).reason, "Canceled")
    })
  )

  it.scopedLive("may be threads of one process", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* execute(call("f", { a: 1 })), [1, 1])
      const Echo = Task.executable("Echo", { command: () => ({ executable: "echo", args: ["a"] }) })
      assert.strictEqual(yield* execute(Echo.make()), "a\n")
    }).pipe(Effect.provide(DaskBackend.layer({ ...base, workers: 2, processes: false })))
  )

  it.scopedLive("is found by the registry, with options from Config", () =>
    Effect.gen(function* () {
      const found = yield* BackendRegistry.discover()
      assert.deepInclude(found, { name: "dask", available: true })
    }).pipe(Effect.provide(BackendRegistry.layerDefault), Effect.withConfigProvider(configured({ PYTHON: python })))
  )
})

describe.skipIf(missing)("A joined cluster", () => {
  it.scopedLive("is left running, with nothing of ours, and serves several at once", () =>
    Effect.gen(function* () {
      const { address, scheduler, worker } = yield* cluster(python)
      const { pid } = yield* worker("--nthreads", "4")
      const before = [below(pid).length, below(scheduler.pid).length]
      const layer = DaskBackend.layer({ ...base, address, forceKillAfter: "100 millis" })
      const held = yield* Effect.scoped(
        Effect.gen(function* () {
          const outer = yield* Layer.build(layer)
          const fiber = yield* Effect.provide(submit(Sleep.make()), outer)
          yield* Effect.provide(untilRuns(fiber.uid), outer)
          // another one comes and goes meanwhile
          yield* Effect.gen(function* () {
            const own = yield* submit(Sleep.make())
            yield* untilRuns(own.uid)
            // a shell that runs has not started its child yet
            yield* until(() => sleepers(pid).length === 4, "both programs to run")
          }).pipe(Effect.provide(layer))
          assert.strictEqual(sleepers(pid).length, 2)
          yield* Effect.provide(execute(call("f", { a: 1 })), outer)
          assert.isAbove(ours(address).length, 0)
          return fiber
        })
      )
      assert.strictEqual(((yield* Effect.flip(Fiber.join(held))) as any).reason, "Canceled")
      assert.deepStrictEqual(ours(address), [])
      yield* until(() => below(pid).length === before[0] && below(scheduler.pid).length === before[1], "agents to end")
    })
  )

  it.scopedLive("that has no workers is reported, and a task waits for one no longer than it may", () => {
    const logged: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void logged.push(`${logLevel.label} ${String(message)}`))
    return Effect.gen(function* () {
      const { address, worker } = yield* cluster(python)
      yield* Effect.gen(function* () {
        // more than one worker would be given, so that some are queued by the scheduler
        const fibers = yield* Effect.forEach([1, 2, 3], (a) => submit(call("f", { a }, {}, { timeout: "2 seconds" })))
        assert.strictEqual(yield* unserved, "3 tasks wait for a worker: there are no workers")
        for (const fiber of fibers) {
          const error: any = yield* Effect.flip(Fiber.join(fiber))
          assert.deepStrictEqual([error._tag, error.reason], ["BackendError", "Unavailable"])
          assert.include(error.message, "no worker took it within 1s: there are no workers; start workers")
        }
        assert.include(logged.join("\n"), "WARN Dask: 3 tasks wait for a worker: there are no workers; start workers")
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, address, noWorkersTimeout: "1 second" })))
      yield* Effect.gen(function* () {
        const held = yield* submit(call("f", { a: 1 }))
        yield* unserved
        assert.strictEqual(yield* ExecutionBackend.cancel(held), true)
        const served = yield* submit(call("f", { a: 1 }))
        yield* worker("--nthreads", "1")
        assert.deepStrictEqual(yield* Fiber.join(served), [1, 1])
        while ((yield* ExecutionBackend.state).details?.["unserved"] !== undefined) yield* Effect.sleep("10 millis")
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, address })))
    }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
  })

  it.scopedLive("whose only worker with a resource is gone is reported as well", () =>
    Effect.gen(function* () {
      const { address, worker } = yield* cluster(python)
      yield* worker("--nthreads", "1")
      const strong = yield* worker("--nthreads", "1", "--resources", "GPU=1")
      const trace = yield* file
      yield* Effect.gen(function* () {
        const options = { resources: { gpus: 1 } }
        const first = yield* submit(call("sleeps", { path: trace }, {}, options))
        const second = yield* submit(call("f", { a: 1 }, {}, options))
        yield* untilRuns(first.uid)
        yield* strong.kill
        const error: any = yield* Effect.flip(Fiber.join(second))
        assert.include(error.message, "none of the 1 workers has what it asks for; start workers that have it")
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, address, noWorkersTimeout: "1 second" })))
    })
  )

  it.scopedLive("may get its workers later", () =>
    Effect.gen(function* () {
      const { address, worker } = yield* cluster(python)
      yield* Effect.gen(function* () {
        const fiber = yield* submit(call("f", { a: 1 }))
        yield* worker("--nthreads", "1")
        assert.deepStrictEqual(yield* Fiber.join(fiber), [1, 1])
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, address })))
    })
  )
})

describe.skipIf(missing)("A cluster with TLS", () => {
  it.scopedLive("is joined with ca, cert and key, and by no client with another certificate", () =>
    Effect.gen(function* () {
      const tls = certificates(python, path.dirname(yield* file))
      const other = certificates(python, path.dirname(yield* file))
      const flags = ["--tls-ca-file", tls.ca, "--tls-cert", tls.cert, "--tls-key", tls.key]
      const { address, worker } = yield* cluster(python, "--protocol", "tls", ...flags)
      assert.match(address, /^tls:/)
      yield* worker("--nthreads", "1")
      const value = execute(call("f", { a: 1 }))
      assert.deepStrictEqual(yield* Effect.provide(value, DaskBackend.layer({ ...base, address, ...tls })), [1, 1])
      for (const options of [other, { ca: tls.ca, cert: other.cert, key: other.key }]) {
        const error = yield* refusal({ address, ...options, connectTimeout: "1 second" })
        assert.deepInclude(error, { _tag: "BackendError", reason: "Unavailable" })
      }
      for (const [key, value] of [
        ["ca", "/no/such/ca"],
        ["cert", "/no/such/cert"],
        ["key", other.key]
      ] as const) {
        const error = yield* refusal({ address, ...tls, [key]: value })
        assert.deepInclude(error, { _tag: "ConfigurationError", reason: "InvalidOption" })
        assert.include((error as any).message, "ca, cert and key")
      }
    })
  )
})

describe.skipIf(missing)("Where there is none", () => {
  it.scopedLive(
    "a missing interpreter or a missing Dask is a ConfigurationError with the command that installs it",
    () =>
      Effect.gen(function* () {
        const nowhere = yield* refusal({ python: "/no/such/python" })
        assert.deepInclude(nowhere, { _tag: "ConfigurationError", configKey: "python" })
        const bare = yield* file
        fs.writeFileSync(bare, `#!/bin/sh\nexec ${python} -S "$@"\n`, { mode: 0o755 })
        const without = yield* refusal({ python: path.resolve(bare) })
        assert.deepInclude(without, { _tag: "ConfigurationError", configKey: "python" })
        assert.include(without.message, "No module named 'dask'")
        assert.include(without.message, "-m pip install dask distributed")
      })
  )

  it.scopedLive(
    "a missing cryptography is named with the command that installs it, unless no certificate is needed",
    () =>
      Effect.gen(function* () {
        const environment = path.dirname(yield* file)
        const run = (command: string, ...args: ReadonlyArray<string>) =>
          spawnSync(command, args, { encoding: "utf8" }).stdout.trim()
        run(python, "-m", "venv", "--without-pip", environment)
        const site = ["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        const without = path.join(environment, "bin/python")
        fs.writeFileSync(
          path.join(run(without, ...site), "sitecustomize.py"),
          `import site, sys\nsys.modules["cryptography"] = None\nsite.addsitedir(${JSON.stringify(run(python, ...site))})\n`
        )
        for (const options of [{}, { processes: false }]) {
          const error = yield* refusal({ ...options, python: without })
          assert.deepInclude(error, { _tag: "ConfigurationError", configKey: "python" })
          assert.include(error.message, "cryptography")
          assert.include(error.message, "-m pip install dask distributed cryptography")
        }
        const layer = DaskBackend.layer({ ...base, python: without, insecure: true, workers: 1, threadsPerWorker: 1 })
        assert.deepStrictEqual(yield* Effect.provide(execute(call("f", { a: 1 })), layer), [1, 1])
      })
  )

  it.scopedLive("a scheduler that does not answer is Unavailable, in the time that is given", () =>
    Effect.gen(function* () {
      const error = yield* refusal({ address: "tcp://127.0.0.1:1", connectTimeout: "1 second" })
      assert.deepInclude(error, { _tag: "BackendError", reason: "Unavailable" })
      assert.include(error.message, "tcp://127.0.0.1:1")
    })
  )

  it.scopedLive("options that cannot be honoured are named", () =>
    Effect.forEach(
      [
        ["workers", { workers: 0 }],
        ["workers", { address: "tcp://a:1", workers: 2 }],
        ["threadsPerWorker", { threadsPerWorker: 1.5 }],
        ["onUncancellable", { onUncancellable: "never" as any }],
        ["resultLimit", { resultLimit: 0 }],
        ["forceKillAfter", { forceKillAfter: "soon" as any }],
        ["noWorkersTimeout", { noWorkersTimeout: "soon" as any }],
        ["kinds", { kinds: ["function" as any] }],
        ["address", { address: "" }],
        ["workerResources.GPU", { workerResources: { GPU: -1 } }],
        ["insecure", { insecure: "yes" as any }],
        ["insecure", { address: "tcp://a:1", insecure: true }],
        ["ca", { ca: "ca.pem", cert: "cert.pem" }],
        ["key", { address: "tls://a:1", ca: "ca.pem", cert: "cert.pem", key: "" }],
        ["ca", { address: "tls://a:1", cert: "cert.pem" }],
        ["cert", { address: "tls://a:1", ca: "ca.pem" }],
        ["address", { address: "tcp://a:1", ca: "ca.pem", cert: "cert.pem" }],
        ["key", { address: "tls://a:1", ca: "ca.pem", cert: "cert.pem", key: "/dev/fd/63" }],
        ["sandboxRoot", { sandboxRoot: "/proc/self/cwd" }],
        ["python", { python: "/proc/self/exe" }],
        ["path[1]", { path: ["a", "/dev/fd/3"] }]
      ] as ReadonlyArray<readonly [string, DaskBackend.Options]>,
      ([key, options]) => Effect.map(refusal(options), (error) => assert.deepInclude(error, { configKey: key }))
    )
  )
})
