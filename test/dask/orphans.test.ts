// Programs on Dask when their worker, its launch agent or both are lost: they are gone before that is reported.
import { randomInt } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { Backend, DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import { make } from "../../src/internal/dask/driver.js"
import { cluster } from "../engines/dask.js"
import type { AgentPids } from "../faults/system.js"
import { agentsOf, kill, processes } from "../faults/system.js"
import { allGone, base, call, content, file, lives, missing, python, until } from "./support.js"

const { execute, submit } = ExecutionBackend

/** Notes that it runs, and leaves a process in a session of its own. No other process sleeps for its time. */
const Stays = Task.executable("Stays", {
  payload: { trace: Schema.String, seconds: Schema.String },
  command: ({ seconds, trace }) => ({
    executable: "sh",
    args: ["-c", 'echo ran >> "$0"; setsid sleep "$1" & sleep "$1" & wait', trace, seconds]
  })
})

/** Says that it was asked to end, and goes on. */
const Stubborn = Task.executable("Stubborn", {
  payload: { trace: Schema.String, seconds: Schema.String },
  command: ({ seconds, trace }) => ({
    executable: "sh",
    args: ["-c", 'trap \'echo asked >> "$0"\' TERM; while :; do sleep "$1" & sleep "$1"; wait; done', trace, seconds]
  })
})

const staying = (options: Task.Options = {}, definition: typeof Stays | typeof Stubborn = Stays) =>
  Effect.gen(function* () {
    const trace = yield* file
    const seconds = `1000.${randomInt(10 ** 9, 10 ** 10)}`
    const pids = () => processes().flatMap(({ args, pid }) => (args.includes(seconds) ? [pid] : []))
    const sleeping = () => processes().filter(({ args }) => args[0] === "sleep" && args.includes(seconds)).length
    yield* Effect.addFinalizer(() => Effect.sync(() => pids().map((pid) => kill(pid))))
    return {
      task: definition.make({ trace, seconds }, options),
      runs: until(() => sleeping() === 2, "the program to run"),
      pids,
      times: () => content(trace).split("\n").length - 1
    }
  })

const Echo = Task.executable("Echo", { command: () => ({ executable: "echo", args: ["again"] }) })

/** A joined cluster, with one worker; a silent agent is taken for dead soon. */
const oneWorkerWith = (forceKillAfter: number) =>
  Effect.gen(function* () {
    const { address, worker } = yield* cluster(python)
    const start = worker("--nthreads", "2", "--no-nanny")
    const driver = make(
      {
        ...{ python, path: base.path, env: { ...process.env }, cluster: { address }, timeout: 30_000 },
        ...{ noWorkersTimeout: 600_000, resultLimit: 2 ** 20, forceKillAfter, deaf: "wait", sandboxes: "sandboxes" },
        ...{ kinds: ["executable", "python"], agentSilence: 600 }
      },
      DaskBackend.settings
    )
    return { layer: Backend.layer(driver), start, worker: yield* start }
  })
const oneWorker = oneWorkerWith(200)

const stop = (...pids: ReadonlyArray<number>) => {
  for (const pid of pids) kill(pid, "SIGSTOP")
}

/** The program's task is Lost, and at that very moment nothing of it is left. */
const lost = (fiber: Fiber.Fiber<unknown, unknown>, pids: () => ReadonlyArray<number>) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(Fiber.join(fiber))
    const left = pids()
    assert(error instanceof TaskError && error.reason === "Lost", `${error}`)
    assert.deepStrictEqual(left, [])
    return error
  })

const silences: Readonly<Record<string, (pids: AgentPids) => void>> = {
  "the agent is stopped": ({ agent }) => stop(agent),
  "agent and keeper are stopped": ({ agent, keeper }) => stop(agent, keeper),
  "the agent is stopped and its keeper killed": ({ agent, keeper }) => {
    stop(agent)
    kill(keeper)
  },
  "the keeper is stopped and its agent killed": ({ agent, keeper }) => {
    stop(keeper)
    kill(agent)
  }
}

describe.skipIf(missing)("The launch agent of a Dask worker", () => {
  for (const [name, silence] of Object.entries(silences)) {
    it.scopedLive(`${name}: its programs are Lost when they are gone, and the next one has another`, () =>
      Effect.gen(function* () {
        const { layer, worker } = yield* oneWorker
        yield* Effect.gen(function* () {
          const { pids, runs, task, times } = yield* staying()
          const fiber = yield* submit(task)
          yield* runs
          const [pair] = agentsOf(worker.pid)
          silence(pair!)
          const { details } = yield* lost(fiber, pids)
          assert.isUndefined(details["stopped"])
          yield* allGone([pair!.agent, pair!.keeper])
          yield* execute(Echo.make())
          assert.strictEqual(times(), 1)
        }).pipe(Effect.provide(layer))
      })
    )
  }

  it.scopedLive(
    "and its keeper are killed while they are stopped: it says stopped: false, and is not tried again",
    () =>
      Effect.gen(function* () {
        const { layer, worker } = yield* oneWorker
        yield* Effect.gen(function* () {
          const settings = DaskBackend.settings({ retries: 3 })
          const { pids, runs, task, times } = yield* staying({ retry: { times: 3 }, settings })
          const fiber = yield* submit(task)
          yield* runs
          const [pair] = agentsOf(worker.pid)
          stop(pair!.keeper, pair!.agent)
          kill(pair!.agent)
          kill(pair!.keeper)
          const error = yield* Effect.flip(Fiber.join(fiber))
          assert(error instanceof TaskError && error.reason === "Lost", `${error}`)
          assert.strictEqual(error.details["stopped"], false)
          yield* allGone(pids())
          assert.strictEqual(times(), 1)
        }).pipe(Effect.provide(layer))
      })
  )
})

/** What befalls a worker and its agent, while a program runs. */
const deaths: Readonly<Record<string, (worker: number, pids: AgentPids) => void>> = {
  "is killed": (worker) => kill(worker),
  "is killed with its stopped agent and keeper": (worker, { agent, keeper }) => {
    stop(keeper, agent)
    kill(worker)
  },
  "and then its keeper are killed, while the agent is stopped": (worker, { agent, keeper }) => {
    stop(agent)
    kill(worker)
    kill(keeper)
  }
}

describe.skipIf(missing)("A Dask worker", () => {
  for (const [name, death] of Object.entries(deaths)) {
    it.scopedLive(`${name}: its program is Lost when it is gone, and Dask does not run it elsewhere`, () =>
      Effect.gen(function* () {
        const { layer, start, worker } = yield* oneWorker
        yield* Effect.gen(function* () {
          const { pids, runs, task, times } = yield* staying()
          const fiber = yield* submit(task)
          yield* runs
          yield* start
          const [pair] = agentsOf(worker.pid)
          death(worker.pid, pair!)
          const { details } = yield* lost(fiber, pids)
          assert.isUndefined(details["stopped"])
          assert.include(details["message"], "has died or left the cluster")
          // what ran again would be before these, on the worker that is left
          for (let i = 0; i < 5; i++) yield* execute(Echo.make())
          assert.strictEqual(times(), 1)
        }).pipe(Effect.provide(layer))
      })
    )
  }

  it.scopedLive("that is killed: its program is tried again where `retry` says so", () =>
    Effect.gen(function* () {
      const { layer, start, worker } = yield* oneWorker
      yield* Effect.gen(function* () {
        const { pids, runs, task, times } = yield* staying({ retry: { times: 1 } })
        const fiber = yield* submit(task)
        yield* runs
        const before = pids()
        yield* start
        yield* worker.kill
        yield* until(() => times() === 2, "the program to run again")
        assert.isFalse(before.some(lives))
        yield* runs
        assert.isTrue(yield* ExecutionBackend.cancel(fiber))
        assert.deepStrictEqual(pids(), [])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("that is killed while its program is being stopped: it is Canceled when it is gone", () =>
    Effect.gen(function* () {
      const { layer, worker } = yield* oneWorkerWith(600_000)
      yield* Effect.gen(function* () {
        const { pids, runs, task, times } = yield* staying({}, Stubborn)
        const fiber = yield* submit(task)
        yield* runs
        const canceled = yield* Effect.fork(ExecutionBackend.cancel(fiber))
        yield* until(() => times() > 0, "the program to be asked to end")
        yield* worker.kill
        assert.isTrue(yield* Fiber.join(canceled))
        assert.deepStrictEqual(pids(), [])
        const error: any = yield* Effect.flip(Fiber.join(fiber))
        assert.deepStrictEqual([error.reason, error.details.stopped], ["Canceled", undefined])
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("that is killed leaves no program, though a copy of it by fork holds the channel to its agent", () =>
    Effect.gen(function* () {
      const { layer, worker } = yield* oneWorker
      yield* Effect.gen(function* () {
        const { pids, runs, task } = yield* staying()
        const fiber = yield* submit(task)
        yield* runs
        const copy = yield* Effect.acquireRelease(Effect.map(execute(call("copies")), Number), (pid) =>
          Effect.sync(() => kill(pid))
        )
        const programs = pids()
        kill(worker.pid)
        yield* allGone(programs)
        assert.isTrue(lives(copy))
        kill(copy) // it holds the connection to the scheduler as well
        yield* lost(fiber, pids)
      }).pipe(Effect.provide(layer))
    })
  )

  it.scopedLive("that is killed while its agent starts leaves neither agent nor program", () =>
    Effect.gen(function* () {
      const { layer, start, worker } = yield* oneWorker
      yield* Effect.gen(function* () {
        const { pids, task } = yield* staying()
        const agents = () => processes().filter(({ args }) => args.includes("effect-rhapsody launch agent"))
        const before = new Set(agents().map(({ pid }) => pid))
        const mine = () => agents().filter(({ pid }) => !before.has(pid))
        const fiber = yield* submit(task)
        while (mine().length === 0) yield* Effect.sleep("1 millis")
        kill(worker.pid)
        const died = mine().map(({ pid }) => pid)
        yield* start
        yield* lost(fiber, pids)
        yield* allGone(died)
        assert.deepStrictEqual(pids(), [])
      }).pipe(Effect.provide(layer))
    })
  )
})
