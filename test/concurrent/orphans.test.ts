/** I2: what a program leaves running when it ends by itself is killed, unless its task says that it is to stay. */
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { ConcurrentBackend, ExecutionBackend } from "effect-rhapsody"
import { idle, nothingLeft } from "../support.js"
import {
  agents,
  directory,
  eventually,
  failing,
  gate,
  inbox,
  marked,
  overBoth,
  quote,
  sh,
  taskError
} from "./support.js"

const detach = { orphans: "detach" } as const
const apart = "> /dev/null 2>&1"

/** Reports that it is there, and again when it is let go on; two processes then. */
const daemon = Effect.gen(function* () {
  const [{ alive, env }, letters, door] = [yield* marked, yield* inbox, yield* gate]
  const script = `echo ready > ${letters.path}; read x < ${door.path}; echo on > ${letters.path}; sleep 1000; :`
  const goesOn = Effect.gen(function* () {
    yield* door.open()
    assert.strictEqual(yield* letters.take, "on")
  })
  return { env, alive, take: letters.take, start: `sh -c ${quote(script)}`, goesOn }
})

overBoth("what is left on purpose", ({ options, provide }) => {
  const backend = provide({ maxWorkers: 2, forceKillAfter: "1 minute" })

  for (const end of ["exit 0", "exit 3", "kill -9 $$"]) {
    it.scopedLive(`stays, and goes on, after ${end}`, () =>
      Effect.gen(function* () {
        const { alive, env, goesOn, start, take } = yield* daemon
        yield* failing(sh(`${start} ${apart} & ${end}`, { env, ...detach }))
        assert.strictEqual(yield* take, "ready")
        assert.deepStrictEqual(yield* idle, nothingLeft)
        // what the next one leaves goes, and nothing else
        yield* ExecutionBackend.execute(sh(`sleep 100 ${apart} &`, { env }))
        yield* goesOn
        yield* eventually(alive, (alive) => alive.length === 2)
      }).pipe(backend)
    )
  }

  it.scopedLive("stays when the backend is closed", () =>
    Effect.gen(function* () {
      const { alive, env, goesOn, start, take } = yield* daemon
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(ConcurrentBackend.layer(options), scope)
      yield* Effect.provide(ExecutionBackend.execute(sh(`${start} ${apart} &`, { env, ...detach })), context)
      assert.strictEqual(yield* take, "ready")
      // and while others are stopped
      const fiber = yield* Effect.provide(ExecutionBackend.submit(sh("sleep 100", { env })), context)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
      assert.deepStrictEqual(yield* agents, [])
      yield* goesOn
      yield* eventually(alive, (alive) => alive.length === 2)
    })
  )

  it.scopedLive("and holds the output open keeps no task waiting", () =>
    Effect.gen(function* () {
      const { alive, env, start, take } = yield* daemon
      const output = yield* ExecutionBackend.execute(sh(`echo out; ${start} &`, { env, ...detach }))
      assert.strictEqual(output.stdout, "out\n")
      assert.strictEqual(yield* take, "ready")
      assert.isNotEmpty(yield* alive)
    }).pipe(backend)
  )

  it.scopedLive("stays if it left the session, too, also when the backend is closed", () =>
    Effect.gen(function* () {
      const { alive, env, goesOn, start, take } = yield* daemon
      const script = `mkfifo ready; setsid sh -c ${quote(`echo > ready; exec ${start}`)} ${apart} & read x < ready`
      const cwd = yield* directory
      yield* ExecutionBackend.execute(sh(script, { cwd, env, ...detach })).pipe(provide())
      assert.strictEqual(yield* take, "ready")
      yield* goesOn
      yield* eventually(alive, (alive) => alive.length === 2)
    })
  )

  it.scopedLive("is not what a program had started that was stopped", () =>
    Effect.gen(function* () {
      const { alive, env, start, take } = yield* daemon
      const script = `${start} ${apart} & sleep 100`
      const fiber = yield* ExecutionBackend.submit(sh(script, { env, ...detach }))
      assert.strictEqual(yield* take, "ready")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* alive, [])
      const late = yield* taskError(sh(script, { env, ...detach, timeout: "300 millis" }))
      assert.strictEqual(late.reason, "Timeout")
      assert.deepStrictEqual(yield* alive, [])
      const loud = yield* taskError(sh(`${start} ${apart} & yes`, { env, ...detach, capture: { limit: 10 } }))
      assert.strictEqual(loud.reason, "OutputLimit")
      assert.deepStrictEqual(yield* alive, [])
    }).pipe(backend)
  )

  it.scopedLive("is nothing where the task says so", () =>
    Effect.gen(function* () {
      const { alive, env, start } = yield* daemon
      yield* ExecutionBackend.execute(sh(`${start} ${apart} &`, { env, orphans: "kill" }))
      assert.deepStrictEqual(yield* alive, [])
    }).pipe(backend)
  )
})
