/** Programs that defend themselves, and programs that attack: what is left of them, and who else suffers. */
import { assert } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { ExecutionBackend } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import { eventually, failureOf, gate, inbox, sh } from "../concurrent/support.js"
import { idle, nothingLeft } from "../support.js"
import type { Launcher, Shape } from "./support.js"
import {
  allShapes,
  bash,
  both,
  caught,
  fault,
  forest,
  leftAtLast,
  limit,
  orchestrate,
  over,
  reasons
} from "./support.js"
import { agentsOf, stateOf } from "./system.js"

const none: ReadonlyArray<string> = []

// -------------------------------------------------------------------------------------------------------------- cancel

/** Shapes that something is left of when a tree of each was cancelled. */
const canceled = (launcher: Launcher, left: ReadonlyArray<Shape>) =>
  Effect.gen(function* () {
    const { alive, env, script, shapesAlive, stand } = yield* forest
    // beside each other: whose a process is has to be found out
    const fibers = yield* Effect.forEach(allShapes, (shape) => ExecutionBackend.submit(bash(script(shape), { env })))
    yield* stand(Object.fromEntries(allShapes.map((shape) => [shape, 1])))
    // each is gone when its cancel returns, not later
    yield* Effect.forEach(
      allShapes,
      (shape, i) =>
        Effect.gen(function* () {
          yield* ExecutionBackend.cancel(fibers[i]!)
          assert.strictEqual((yield* shapesAlive).includes(shape), left.includes(shape), shape)
        }),
      { concurrency: "unbounded" }
    )
    assert.deepStrictEqual(yield* shapesAlive, left)
    if (left.length === 0) assert.deepStrictEqual(yield* alive, none)
    assert.deepStrictEqual(yield* idle, nothingLeft)
  }).pipe(over(launcher, { maxWorkers: 20 }))

const leavesItsGroup = allShapes.filter((shape) => shape !== "ignores TERM" && shape !== "timeout(1)")

fault("a cancelled tree of each shape", {
  agent: caught("all of it is gone when the cancel returns", canceled("agent", [])),
  node: limit("who left the group is left", canceled("node", leavesItsGroup))
})

/** Forks twice, leaves its session, clears its environment and closes its output. */
const hidden = (leaf: string) => `(env -i setsid ${leaf} < /dev/null > /dev/null 2>&1 &); sleep 100`

fault("a process that hides: another session, no environment, no parent, no output of its task's", {
  agent: [
    caught(
      "it is gone when the cancel returns, if its task runs alone",
      Effect.gen(function* () {
        const { alive, env, leaf, stand } = yield* forest
        const fiber = yield* ExecutionBackend.submit(bash(hidden(leaf("setsid")), { env }))
        yield* stand({ setsid: 1 })
        yield* ExecutionBackend.cancel(fiber)
        assert.deepStrictEqual(yield* alive, none)
      }).pipe(over("agent"))
    ),
    limit(
      "beside other tasks it lives until the last of those has ended",
      Effect.gen(function* () {
        const { alive, env, leaf, shapesAlive, stand } = yield* forest
        const [letters, door] = [yield* inbox, yield* gate]
        const other = yield* ExecutionBackend.submit(sh(`echo > ${letters.path}; read x < ${door.path}`, { env }))
        yield* letters.take
        const fiber = yield* ExecutionBackend.submit(bash(hidden(leaf("setsid")), { env }))
        yield* stand({ setsid: 1 })
        yield* ExecutionBackend.cancel(fiber)
        assert.deepStrictEqual(yield* shapesAlive, ["setsid"])
        yield* door.open()
        yield* Fiber.join(other)
        assert.deepStrictEqual(yield* leftAtLast(alive), none)
      }).pipe(over("agent"))
    )
  ],
  node: limit(
    "it is left",
    Effect.gen(function* () {
      const { env, leaf, stand } = yield* forest
      const fiber = yield* ExecutionBackend.submit(bash(hidden(leaf("setsid")), { env }))
      yield* stand({ setsid: 1 })
      yield* ExecutionBackend.cancel(fiber)
      yield* stand({ setsid: 1 })
    }).pipe(over("node"))
  )
})

fault("a tree that answers TERM with new processes, of another session", {
  agent: caught("all of it is gone when the cancel returns", breeds("agent", 0)),
  node: limit("the new ones are left", breeds("node", 3))
})

/** Three shells that each start another program when they are asked to end, and go on. */
function breeds(launcher: Launcher, left: number) {
  return Effect.gen(function* () {
    const { env, leaf, survivors } = yield* forest
    const letters = yield* inbox
    const shell = `trap "setsid ${leaf("setsid")} & echo bred > ${letters.path}" TERM; echo ready > ${letters.path}; while :; do sleep 0.05; done`
    const fiber = yield* ExecutionBackend.submit(
      bash(`for i in 1 2; do bash -c '${shell}' & done; ${shell.replaceAll('"', "'")}`, { env })
    )
    yield* letters.takeN(3)
    const cancel = yield* Effect.fork(ExecutionBackend.cancel(fiber))
    yield* letters.takeN(3)
    yield* Fiber.join(cancel)
    assert.lengthOf(
      survivors().filter(({ args }) => args[0] === "sleep"),
      left
    )
  }).pipe(over(launcher, { forceKillAfter: "2 seconds" }))
}

/** Waits until a process is stopped. */
const asleep = (pid: string) =>
  eventually(
    Effect.sync(() => stateOf(Number(pid))),
    (state) => state === "T"
  )

fault(
  "SIGSTOP of a task and all its group",
  both(caught, "cancel ends it", (launcher) =>
    Effect.gen(function* () {
      const { alive, env } = yield* forest
      const letters = yield* inbox
      const script = `sleep 100 & sh -c 'sleep 100' & echo $$ > ${letters.path}; kill -STOP 0; sleep 100`
      const fiber = yield* ExecutionBackend.submit(sh(script, { env }))
      yield* asleep(yield* letters.take)
      // the grace is longer than this test may take: it ends because TERM is heard
      yield* ExecutionBackend.cancel(fiber)
      assert.deepStrictEqual(yield* alive, none)
    }).pipe(over(launcher, { forceKillAfter: "10 minutes" }))
  )
)

fault(
  "SIGSTOP of a task that cleans up when it is asked to end",
  both(caught, "it is woken to use its grace", (launcher) =>
    Effect.gen(function* () {
      const { alive, env } = yield* forest
      const letters = yield* inbox
      const script = `trap 'echo cleaned > ${letters.path}; exit' TERM; echo $$ > ${letters.path}; kill -STOP $$; sleep 100 & wait`
      const fiber = yield* ExecutionBackend.submit(sh(script, { env }))
      yield* asleep(yield* letters.take)
      yield* ExecutionBackend.cancel(fiber)
      assert.strictEqual(yield* letters.take, "cleaned")
      assert.deepStrictEqual(yield* alive, none)
    }).pipe(over(launcher, { forceKillAfter: "1 minute" }))
  )
)

// -------------------------------------------------------------------------------------------------------------- attack

fault(
  "a task that kills its own group",
  both(caught, "it ends as by that signal, others go on", (launcher) =>
    Effect.gen(function* () {
      const { alive, env } = yield* forest
      const door = yield* gate
      const other = yield* ExecutionBackend.submit(sh(`read x < ${door.path}; echo fine`))
      for (const signal of ["KILL", "TERM", "HUP", "INT"]) {
        const script = `sleep 100 & (sleep 100; :) & kill -${signal} 0; sleep 100`
        const error = failureOf(yield* Effect.exit(ExecutionBackend.execute(bash(script, { env })))) as TaskError
        assert.instanceOf(error, TaskError)
        assert.deepStrictEqual([error.reason, error.signal], ["Signal", `SIG${signal}`])
        assert.deepStrictEqual(yield* alive, none)
      }
      yield* door.open()
      assert.strictEqual((yield* Fiber.join(other)).stdout, "fine\n")
    }).pipe(over(launcher))
  )
)

fault("a task that kills its parent", {
  agent: [
    caught(
      "the agent: the tasks in it are Lost, no process is left, the next task finds another",
      killsParent("kill -9 $PPID")
    ),
    caught(
      "with TERM, HUP, INT, QUIT: it goes on",
      Effect.gen(function* () {
        const script = "for s in TERM HUP INT QUIT; do kill -$s $PPID; done; sleep 0.1; echo fine"
        assert.strictEqual((yield* ExecutionBackend.execute(sh(script))).stdout, "fine\n")
        assert.strictEqual((yield* ExecutionBackend.execute(sh("echo fine"))).stdout, "fine\n")
      }).pipe(over("agent"))
    )
  ],
  node: limit(
    "its parent is the orchestrator: that dies, and its other tasks with it",
    Effect.gen(function* () {
      const { alive, env, script } = yield* forest
      const scripts = [script("ignores TERM"), "kill -9 $PPID"]
      const program = yield* orchestrate({ program: "trees", plan: { launcher: "node", scripts }, env })
      assert.strictEqual(yield* program.exit, "SIGKILL")
      assert.deepStrictEqual(yield* leftAtLast(alive), [])
    })
  )
})

function killsParent(attack: string) {
  return Effect.gen(function* () {
    const { alive, env, script, stand } = yield* forest
    const victim = yield* ExecutionBackend.submit(bash(script("ignores TERM"), { env }))
    yield* stand({ "ignores TERM": 1 })
    const before = agentsOf()
    const attacker = yield* ExecutionBackend.submit(bash(`${attack}; sleep 100`, { env }))
    assert.deepStrictEqual(yield* reasons([attacker, victim]), ["Lost", "Lost"])
    assert.deepStrictEqual(yield* leftAtLast(alive), none)
    assert.strictEqual((yield* ExecutionBackend.execute(sh("echo again"))).stdout, "again\n")
    assert.notDeepEqual(agentsOf(), before)
    assert.deepStrictEqual(yield* idle, nothingLeft)
  }).pipe(over("agent", { maxWorkers: 2 }))
}

// --------------------------------------------------------------------------------------------------------------- forks

const forks = (launcher: Launcher, how: string, left: number) =>
  Effect.gen(function* () {
    const { env, leaf, survivors } = yield* forest
    const letters = yield* inbox
    const sleeps = Effect.sync(() => survivors().filter(({ args }) => args[0] === "sleep").length)
    const fork = `for i in $(seq 200); do ${how} ${leaf("setsid")} & done; echo ready > ${letters.path}`
    const fiber = yield* ExecutionBackend.submit(bash(`${fork}; wait`, { env }))
    yield* letters.take
    yield* eventually(sleeps, (n) => n === 200)
    yield* ExecutionBackend.cancel(fiber)
    assert.strictEqual(yield* sleeps, left)
    // by itself, and leaving them: no fiber waits for them either
    const output = yield* ExecutionBackend.execute(
      bash(`${fork}; while ! ${all(leaf("setsid"))}; do sleep 0.05; done; echo done`, { env })
    )
    assert.strictEqual(output.stdout, "done\n")
    assert.strictEqual(yield* sleeps, 2 * left)
  }).pipe(over(launcher))

/** All 200, and those that were left before, run what they should. */
const all = (leaf: string) => `[ $(pgrep -c -fx '${leaf}') -ge 200 ]`

fault("a task that forks 200 children", {
  agent: [
    caught("all are gone when it was cancelled, or has ended", forks("agent", "", 0)),
    caught("in sessions of their own: the same", forks("agent", "setsid", 0))
  ],
  node: [
    caught("all are gone when it was cancelled, or has ended", forks("node", "", 0)),
    limit("in sessions of their own: all are left", forks("node", "setsid", 200))
  ]
})
