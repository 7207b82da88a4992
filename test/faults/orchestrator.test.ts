/** I2: however the program that runs the tasks dies, no process of theirs is left two seconds later. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { eventually } from "../concurrent/support.js"
import type { Launcher, Shape } from "./support.js"
import { allShapes, caught, fault, forest, gone, leftAtLast, limit, orchestrate } from "./support.js"
import { agentsOf, keepersOf, kill } from "./system.js"

/** 16 trees that ignore TERM, and one of each other shape. */
const trees = Object.fromEntries(allShapes.map((shape) => [shape, shape === "ignores TERM" ? 16 : 1])) as Record<
  Shape,
  number
>

/** An orchestrator whose trees stand. */
const standing = (launcher: Launcher, place: "trees" | "thread" = "trees") =>
  Effect.gen(function* () {
    const wood = yield* forest
    const scripts = allShapes.flatMap((shape) => Array.from({ length: trees[shape] }, () => wood.script(shape)))
    const program = yield* orchestrate({ program: place, plan: { launcher, scripts }, env: wood.env })
    yield* Effect.tapError(wood.stand(trees), () => Effect.flatMap(program.output, Effect.logError))
    const agents = eventually(
      Effect.sync(() => agentsOf(program.pid)),
      (agents) => agents.length === 2
    )
    return { ...wood, ...program, agents }
  })
type Standing = Effect.Effect.Success<ReturnType<typeof standing>>

/** Ends it: of process groups nothing is left, nor of the keeper. */
const onlyEscaped = (program: Standing, end: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const keepers = keepersOf(program.pid)
    assert.lengthOf(keepers, 1)
    yield* end
    const left: ReadonlyArray<Shape> = allShapes.filter((shape) => shape !== "ignores TERM" && shape !== "timeout(1)")
    yield* leftAtLast(Effect.map(program.shapesAlive, (alive) => alive.filter((shape) => !left.includes(shape))))
    assert.deepStrictEqual(yield* program.shapesAlive, left)
    yield* gone(keepers)
  })

/** Kills an orchestrator, and who else is chosen, at once. No process is left, of the agents and keepers neither. */
const killed = (others: (agents: ReturnType<typeof agentsOf>) => ReadonlyArray<number>) =>
  Effect.gen(function* () {
    const program = yield* standing("agent")
    for (const pid of [...others(yield* program.agents), program.pid]) kill(pid)
    assert.deepStrictEqual(yield* leftAtLast(program.alive), [])
    assert.strictEqual(yield* program.exit, "SIGKILL")
  })

fault("SIGKILL of the orchestrator", {
  agent: caught(
    "the keepers kill all",
    killed(() => [])
  ),
  node: limit(
    "the keeper kills process groups: those who left theirs are left",
    Effect.gen(function* () {
      const program = yield* standing("node")
      yield* onlyEscaped(
        program,
        Effect.sync(() => kill(program.pid))
      )
      assert.strictEqual(yield* program.exit, "SIGKILL")
    })
  )
})

fault("SIGKILL of the orchestrator and at once of who watches for it", {
  agent: [
    caught(
      "of the agents: the keepers kill all",
      killed((agents) => agents.map(({ agent }) => agent))
    ),
    caught(
      "of the keepers: the agents kill all",
      killed((agents) => agents.map(({ keeper }) => keeper))
    ),
    limit(
      "of all of them: all are left",
      Effect.gen(function* () {
        const program = yield* standing("agent")
        for (const { keeper } of yield* program.agents) kill(-keeper) // their group
        kill(program.pid)
        assert.strictEqual(yield* program.exit, "SIGKILL")
        yield* program.stand(trees)
      })
    )
  ],
  node: limit(
    "of the keeper: all are left",
    Effect.gen(function* () {
      const program = yield* standing("node")
      assert.deepStrictEqual(agentsOf(program.pid), [])
      const [keeper, ...others] = keepersOf(program.pid)
      assert.lengthOf(others, 0)
      for (const pid of [keeper!, program.pid]) kill(pid)
      assert.strictEqual(yield* program.exit, "SIGKILL")
      yield* program.stand(trees)
    })
  )
})

/** A thread that runs the tasks ends at once, and its process goes on. */
fault("worker.terminate() of a thread of the orchestrator", {
  agent: caught(
    "the agents kill all",
    Effect.gen(function* () {
      const program = yield* standing("agent", "thread")
      yield* program.send("terminate")
      const tree = Effect.map(program.shapesAlive, (shapes) => shapes.map(String))
      assert.deepStrictEqual(yield* leftAtLast(tree), [])
    })
  ),
  node: limit(
    "the keeper kills process groups: those who left theirs are left",
    Effect.gen(function* () {
      const program = yield* standing("node", "thread")
      yield* onlyEscaped(program, program.send("terminate"))
    })
  )
})

/** How a program of its own will ends, with an agent and without. */
const ending = (word: string, ended: (program: Standing) => Effect.Effect<void>) => ({
  agent: caught(
    "the keepers kill all",
    Effect.gen(function* () {
      const program = yield* standing("agent")
      yield* program.send(word)
      yield* ended(program)
      assert.deepStrictEqual(yield* leftAtLast(program.alive), [])
    })
  ),
  node: limit(
    "it kills process groups on its way out: those who left theirs are left",
    Effect.gen(function* () {
      const program = yield* standing("node")
      yield* onlyEscaped(program, Effect.zipRight(program.send(word), ended(program)))
    })
  )
})

fault(
  "process.exit of the orchestrator",
  ending("exit", (program) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* program.exit, 7)
    })
  )
)

fault(
  "an uncaught error in the orchestrator",
  ending("throw", (program) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* program.exit, 1)
      assert.include(yield* program.output, "Error: uncaught")
    })
  )
)
