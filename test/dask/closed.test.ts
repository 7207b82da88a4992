// Who else on this machine can use a cluster of the layer's own: no other user.
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as net from "node:net"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Logger, Schedule } from "effect"
import { BackendRegistry, ConcurrentBackend, DaskBackend, ExecutionBackend } from "effect-rhapsody"
import { listeners, loopback } from "./sockets.js"
import { base, below, bridges, call, file, missing, python, Sleep, until, untilRuns } from "./support.js"

const { execute, submit } = ExecutionBackend

/** All processes of the one Dask backend of this process. */
const processes = () => bridges().flatMap(({ keeper }) => [keeper, ...below(keeper)])

const scheduler = Effect.map(ExecutionBackend.state, ({ details }) => details?.["scheduler"] ?? "")

/** What another user would try at a port: each way of connecting, then code in the scheduler and on the workers. */
const attack = `
import asyncio, os, sys
from distributed import Client, LocalCluster
from distributed.security import Security
trace, ports = sys.argv[1], sys.argv[2:]
mine = Security.temporary()
def nothing(dask_scheduler=None):
    pass
async def warm_up():
    options = dict(n_workers=1, processes=False, protocol="tcp", dashboard_address=None, asynchronous=True)
    async with LocalCluster(local_directory=os.path.dirname(trace), **options) as cluster:
        async with Client(cluster, asynchronous=True) as client:
            await client.run_on_scheduler(nothing)
            await client.run(nothing)
asyncio.run(warm_up())
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
def code(dask_scheduler=None):
    with open(trace, "a") as file:
        file.write("ran as %d\\n" % os.getuid())
async def attack(address, security):
    async with Client(address, asynchronous=True, timeout=3, security=security) as client:
        await client.run_on_scheduler(code)
        await client.run(code)
for port in ports:
    for scheme, security in (("tcp", None), ("tls", mine)):
        try:
            asyncio.run(asyncio.wait_for(attack("%s://127.0.0.1:%s" % (scheme, port), security), 10))
            print("connected to", port, scheme)
        except BaseException as problem:
            print("refused", port, scheme, type(problem).__name__)
`

/** Runs it: what it said, and what the attacked processes wrote as their own user. It drops its rights by itself, when all
 * that it imports is there: another user may not enter the directory where this Python is. */
const attacked = (ports: ReadonlyArray<number>, trace: string) => {
  assert.isAbove(ports.length, 0)
  const { stderr, stdout } = spawnSync(python, ["-I", "-c", attack, trace, ...ports.map(String)], {
    ...{ cwd: "/", encoding: "utf8", env: { ...process.env, DASK_TEMPORARY_DIRECTORY: path.dirname(trace) } }
  })
  return { said: `${stdout}${stderr}`, ran: fs.existsSync(trace) ? fs.readFileSync(trace, "utf8") : "" }
}

/** What a port answers to a browser. */
const browse = (port: number) =>
  new Promise<string>((resolve) => {
    let said = ""
    const socket = net.connect(port, "127.0.0.1", () => socket.end("GET /info/logs.html HTTP/1.0\r\n\r\n"))
    socket.on("data", (data) => {
      said += data.toString("latin1")
    })
    socket.on("error", () => {})
    socket.on("close", () => resolve(said.includes("HTTP") ? said : ""))
  })

const root = process.getuid?.() === 0

describe.skipIf(missing)("A cluster of the layer's own", () => {
  it.scopedLive.skipIf(!root)(
    "runs no code of another user, at none of its ports; an insecure one does, and says so in the log",
    () =>
      Effect.gen(function* () {
        const trace = yield* file
        const logged: Array<string> = []
        const logger = Logger.make(({ logLevel, message }) => void logged.push(`${logLevel.label} ${String(message)}`))
        const attackOn = (options: DaskBackend.Options) =>
          Effect.gen(function* () {
            yield* execute(call("f", { a: 1 }))
            const ports = listeners(processes()).map(({ port }) => port)
            return { ports, ...attacked(ports, trace), scheduler: yield* scheduler }
          }).pipe(
            Effect.provide(
              Layer.provideMerge(
                DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 1, ...options }),
                Logger.replace(Logger.defaultLogger, logger)
              )
            )
          )
        const closed = yield* attackOn({})
        assert.match(closed.scheduler, /^tls:\/\/127\.0\.0\.1:\d+$/)
        assert.strictEqual(closed.ran, "", closed.said)
        assert.notInclude(closed.said, "connected")
        assert.notInclude(closed.said, "ModuleNotFoundError") // it was refused there, and did not fail here
        assert.strictEqual(closed.said.split("refused").length - 1, closed.ports.length * 2, closed.said)
        assert.deepStrictEqual(
          logged.filter((line) => line.startsWith("WARN")),
          []
        )

        const open = yield* attackOn({ insecure: true })
        assert.include(open.ran, "ran as 0", open.said)
        const [warning] = logged.filter((line) => line.startsWith("WARN"))
        assert.include(warning, open.scheduler)
        assert.include(warning, "insecure")
      })
  )

  it.scopedLive("listens on the loopback interface alone, and serves no web page that was not asked for", () =>
    Effect.gen(function* () {
      yield* execute(call("f", { a: 1 }))
      const all = listeners(processes())
      // a scheduler, a nanny and a worker, and nothing else
      assert.strictEqual(all.length, 3, JSON.stringify(all))
      for (const { address, family, port } of all) {
        assert.deepStrictEqual([family, address], ["tcp", loopback])
        const said = yield* Effect.promise(() => browse(port))
        assert.strictEqual(said, "", `port ${port} answered a browser`)
      }
    }).pipe(Effect.provide(DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 1 })))
  )

  it.scopedLive("has a dashboard on the loopback interface when it is asked for, and logs where", () => {
    const logged: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => void logged.push(`${logLevel.label} ${String(message)}`))
    return Effect.gen(function* () {
      const { details } = yield* ExecutionBackend.state
      const { pathname, port } = new URL(details!["dashboard"]!)
      assert.strictEqual(pathname, "/status")
      const found = listeners(processes()).filter((one) => String(one.port) === port)
      assert.deepStrictEqual(
        found.map(({ address, family }) => [family, address]),
        [["tcp", loopback]]
      )
      const [line] = logged.filter((line) => line.startsWith("INFO"))
      assert.include(line, details!["dashboard"])
      assert.include(line, details!["scheduler"])
    }).pipe(
      Effect.provide(
        Layer.provideMerge(
          DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 1, dashboardAddress: ":0" }),
          Logger.replace(Logger.defaultLogger, logger)
        )
      )
    )
  })

  it.scopedLive("listens nowhere where its workers are threads, as when it is looked for", () =>
    Effect.gen(function* () {
      yield* execute(call("f", { a: 1 }))
      assert.strictEqual(bridges().length, 1)
      assert.deepStrictEqual(listeners(processes()), [])
    }).pipe(Effect.provide(DaskBackend.layer({ ...base, workers: 2, processes: false })))
  )

  it.scopedLive("opens no port at any moment while it is looked for", () =>
    Effect.gen(function* () {
      const seen = new Set<string>()
      let samples = 0
      const look = Effect.sync(() => {
        const pids = processes()
        if (pids.length > 1) samples++
        for (const listener of listeners(pids)) seen.add(JSON.stringify(listener))
      })
      yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced("2 millis")))
      const found = yield* BackendRegistry.discover()
      assert.deepInclude(found, { name: "dask", available: true })
      assert.isAbove(samples, 0)
      assert.deepStrictEqual([...seen], [])
    }).pipe(
      Effect.provide(BackendRegistry.layerDefault),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["RHAPSODY.DASK.PYTHON", python]])))
    )
  )

  it.scopedLive("keeps its files in a directory that no other user can enter, and leaves none behind", () =>
    Effect.gen(function* () {
      const found: any = yield* Effect.provide(
        execute(call("scratch")),
        DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 1 })
      )
      assert.strictEqual(found.mode, 0o700)
      yield* until(() => !fs.existsSync(found.made), "the directory to be removed")
      // also when the bridge is killed
      const killed: any = yield* Effect.gen(function* () {
        const found = yield* execute(call("scratch"))
        process.kill(bridges()[0]!.bridge, "SIGKILL")
        return found
      }).pipe(Effect.provide(DaskBackend.layer({ ...base, workers: 1, threadsPerWorker: 1 })))
      yield* until(() => !fs.existsSync(killed.made), "the directory to be removed")
    })
  )
})

describe("The Concurrent backend", () => {
  it.scopedLive("listens nowhere", () =>
    Effect.gen(function* () {
      const { uid } = yield* submit(Sleep.make())
      yield* untilRuns(uid)
      const all = below(process.pid)
      assert.isAbove(all.length, 2)
      assert.deepStrictEqual(listeners(all), [])
    }).pipe(Effect.provide(ConcurrentBackend.layer({ maxWorkers: 2, killGrace: "100 millis" })))
  )
})
