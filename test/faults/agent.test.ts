/** The death of what watches the programs: they die with it, their tasks are Lost, and the next task finds another. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect, Exit, Fiber, Schedule } from "effect"
import { ConcurrentBackend, ExecutionBackend } from "effect-rhapsody"
import type { TaskError } from "effect-rhapsody/Errors"
import { command, directory, eventually, failureOf, gate, inbox, sh } from "../concurrent/support.js"
import { idle, nothingLeft } from "../support.js"
import type { Shape } from "./support.js"
import {
  allShapes,
  bash,
  caught,
  fault,
  forest,
  gone,
  leftAtLast,
  leftWhileBlocked,
  limit,
  over,
  python,
  reasonOf,
  reasons
} from "./support.js"
import type { AgentPids } from "./system.js"
import { agentsOf, kill, parentOf } from "./system.js"

const trees = Object.fromEntries(allShapes.map((shape) => [shape, 1])) as Record<Shape, number>
/** Waits until the second agent, which comes with the second task, is ready: it takes what is submitted next. */
const twoAgents = ({ path, take }: Effect.Effect.Success<typeof inbox>) => {
  const agents = new Set<string>()
  const ask = ExecutionBackend.execute(sh(`echo $PPID > ${path}`))
  return eventually(Effect.zipRight(ask, take), (agent) => agents.add(agent).size === 2)
}

/** A tree of each shape, over two agents. */
const standing = Effect.gen(function* () {
  const wood = yield* forest
  const submit = (shape: Shape) => ExecutionBackend.submit(bash(wood.script(shape), wood))
  const [first, ...rest] = allShapes
  const fibers = [yield* submit(first!)]
  yield* wood.stand({ [first!]: 1 })
  yield* twoAgents(yield* inbox)
  fibers.push(...(yield* Effect.forEach(rest, submit)))
  yield* wood.stand(trees)
  return { ...wood, agents: agentsOf(), fibers }
})

/** Signals one of the processes of each agent. */
const killed = (whom: keyof AgentPids, signal?: NodeJS.Signals) =>
  Effect.gen(function* () {
    const { agents, fibers, survivors } = yield* standing
    for (const pids of agents) kill(pids[whom], signal)
    assert.deepStrictEqual(yield* leftWhileBlocked(survivors), [])
    assert.deepStrictEqual(
      yield* reasons(fibers),
      allShapes.map(() => "Lost")
    )
    yield* gone(agents.flatMap(({ agent, keeper }) => [agent, keeper]))
    // many at once, and still no more agents than two
    const again = Effect.map(ExecutionBackend.execute(sh("echo again")), ({ stdout }) => stdout)
    const running = yield* Effect.fork(Effect.replicateEffect(again, 8, { concurrency: 8 }))
    assert.deepStrictEqual(yield* Fiber.join(running), Array(8).fill("again\n"))
    assert.isAtMost(agentsOf().length, 2)
    assert.deepStrictEqual(yield* idle, nothingLeft)
  }).pipe(over("agent", { maxWorkers: 20 }))

/** There is no agent: the parent of a program is this process. */
const none = Effect.gen(function* () {
  const letters = yield* inbox
  const fiber = yield* ExecutionBackend.submit(sh(`echo $PPID > ${letters.path}; sleep 100`))
  assert.strictEqual(yield* letters.take, String(process.pid))
  assert.deepStrictEqual(agentsOf(), [])
  yield* Fiber.interrupt(fiber)
}).pipe(over("node"))

fault("SIGKILL of the agents", {
  agent: caught("the keepers kill all that is left, tasks are Lost, the next one starts a new agent", killed("agent")),
  node: limit("there is none; who dies is the orchestrator", none)
})

fault("SIGKILL of the keepers", {
  agent: [
    caught("the agents kill all that is left, tasks are Lost, the next one starts a new agent", killed("keeper")),
    limit(
      "and of the agents at once: this process kills whole sessions; what left them may run on, and Lost says so",
      Effect.gen(function* () {
        const { agents, fibers, shapesAlive } = yield* standing
        for (const { keeper } of agents) kill(-keeper) // their group
        assert.deepStrictEqual(
          yield* reasons(fibers),
          allShapes.map(() => "Lost")
        )
        for (const fiber of fibers) {
          const { details, message } = failureOf(yield* Fiber.await(fiber)) as TaskError
          assert.isFalse(details["stopped"])
          assert.include(message, "may still be running")
        }
        const left = allShapes.filter((shape) => /setsid|double fork/.test(shape))
        yield* eventually(shapesAlive, (alive) => alive.join() === left.join())
        assert.strictEqual((yield* ExecutionBackend.execute(sh("echo again"))).stdout, "again\n")
      }).pipe(over("agent", { maxWorkers: 20 }))
    )
  ],
  node: limit("there is none", none)
})

fault("SIGTERM, SIGINT, SIGHUP and SIGQUIT of agents and keepers", {
  agent: caught(
    "as a batch system sends them to every process: programs go on, and end as they do by themselves",
    Effect.gen(function* () {
      const [letters, door] = [yield* inbox, yield* gate]
      const script = `echo ready > ${letters.path}; read x < ${door.path}; echo through`
      const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(sh(script)), 2)
      yield* letters.takeN(2)
      yield* twoAgents(letters)
      const before = agentsOf()
      for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] as const) {
        for (const { agent, keeper } of before) for (const pid of [agent, keeper]) kill(pid, signal)
      }
      yield* door.open(2)
      for (const fiber of fibers) assert.strictEqual((yield* Fiber.join(fiber)).stdout, "through\n")
      assert.deepStrictEqual(agentsOf(), before)
      // and what they start does not ignore them
      for (const signal of ["TERM", "INT", "HUP", "QUIT"]) {
        for (const options of [{}, { nice: 1 }]) {
          const dies = { executable: "sh", args: ["-c", `kill -${signal} $$; echo deaf`] }
          const error = failureOf(yield* Effect.exit(ExecutionBackend.execute(command(dies, options))))
          assert.strictEqual((error as TaskError).signal, `SIG${signal}`)
        }
      }
    }).pipe(over("agent"))
  ),
  node: limit("there is none", none)
})

fault("SIGKILL of one agent of two", {
  agent: caught(
    "only its own tasks are Lost; a retry runs at once in the other",
    Effect.gen(function* () {
      const letters = yield* inbox
      const door = yield* gate
      const script = `echo $$ > ${letters.path}; read x < ${door.path}; echo through`
      const first = yield* ExecutionBackend.submit(
        sh(script, { retry: { times: 1, schedule: Schedule.spaced("1 millis") } })
      )
      const itsAgent = parentOf(Number(yield* letters.take))
      yield* twoAgents(letters)
      const other = yield* ExecutionBackend.submit(sh(script))
      assert.notStrictEqual(parentOf(Number(yield* letters.take)), itsAgent)
      kill(itsAgent)
      // the second attempt
      assert.notStrictEqual(parentOf(Number(yield* letters.take)), itsAgent)
      yield* door.open(2)
      assert.strictEqual((yield* Fiber.join(first)).stdout, "through\n")
      assert.strictEqual((yield* Fiber.join(other)).stdout, "through\n")
    }).pipe(over("agent"))
  ),
  node: limit("there is none", none)
})

fault("SIGKILL of agents again and again while tasks start", {
  agent: caught(
    "each task ends, as itself or as Lost, and no process is left",
    Effect.gen(function* () {
      const { alive, env } = yield* forest
      const events = { Lost: 0, done: 0 }
      const task = Effect.map(Effect.exit(ExecutionBackend.execute(sh("sleep 0.001; echo x", { env }))), (exit) => {
        events[Exit.isSuccess(exit) && exit.value.stdout === "x\n" ? "done" : (reasonOf(exit) as "Lost")]++
      })
      const all = yield* Effect.fork(Effect.replicateEffect(task, 400, { concurrency: 16, discard: true }))
      for (const at of [40, 90, 150, 210, 280]) {
        yield* eventually(
          Effect.sync(() => events.done + events.Lost),
          (n) => n >= at
        )
        for (const { agent } of agentsOf()) kill(agent)
      }
      yield* Fiber.join(all)
      assert.strictEqual(events.done + events.Lost, 400)
      assert.isAbove(events.Lost, 0)
      assert.isAbove(events.done, 200)
      assert.deepStrictEqual(yield* leftAtLast(alive), [])
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(over("agent", { maxWorkers: 16 }))
  ),
  node: limit("there is none", none)
})

fault("an interpreter that is gone when an agent has died", {
  agent: caught(
    "tasks are Lost with the reason until it is back",
    Effect.gen(function* () {
      const letters = yield* inbox
      const path = join(yield* directory, "python")
      const install = () => fs.writeFileSync(path, `#!/bin/sh\nexec ${python} "$@"\n`, { mode: 0o755 })
      install()
      const echo = ExecutionBackend.execute(sh("echo on"))
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(sh(`echo $PPID > ${letters.path}; sleep 100`))
        const agent = Number(yield* letters.take)
        fs.rmSync(path)
        kill(agent)
        assert.deepStrictEqual(yield* reasons([fiber]), ["Lost"])
        const lost = failureOf(yield* Effect.exit(echo)) as Error
        assert.include(lost.message, "was lost")
        assert.include(lost.message, "ENOENT")
        install()
        assert.strictEqual((yield* echo).stdout, "on\n")
      }).pipe(Effect.provide(ConcurrentBackend.layer({ launcher: "agent", maxWorkers: 2, python: path })))
    })
  ),
  node: limit("it needs none", none)
})
