/** How many programs run at a time. */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { ExecutionBackend } from "effect-rhapsody"
import { idle, nothingLeft } from "../support.js"
import type { Program } from "./support.js"
import { command, failing, gate, inbox, overBoth, sh } from "./support.js"

overBoth("slots", ({ provide }) => {
  it.scopedLive("are all used, and never more of them, as the programs see it", () =>
    Effect.gen(function* () {
      const [letters, door] = [yield* inbox, yield* gate]
      const script = `echo + > ${letters.path}; read x < ${door.path}; echo - > ${letters.path}`
      const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(sh(script)), 12)
      const seen: Array<string> = []
      const until = (starts: number) =>
        Effect.gen(function* () {
          while (seen.filter((line) => line === "+").length < starts) seen.push(yield* letters.take)
        })
      for (let ended = 0; ended <= 9; ended++) {
        // none goes on before the next three run side by side
        yield* until(ended + 3)
        const { active, queued } = yield* ExecutionBackend.state
        assert.deepStrictEqual([active, queued], [3, 9 - ended])
        yield* door.open()
      }
      yield* door.open(2)
      yield* Fiber.joinAll(fibers)
      while (seen.length < 24) seen.push(yield* letters.take)
      let running = 0
      const counts = seen.map((line) => (running += line === "+" ? 1 : -1))
      assert.deepStrictEqual([Math.max(...counts), running], [3, 0])
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(provide({ maxWorkers: 3 }))
  )

  it.scopedLive("of one runs one program after the other", () =>
    Effect.gen(function* () {
      const { path, take } = yield* inbox
      const script = `echo + > ${path}; echo - > ${path}`
      const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(sh(script)), 20)
      yield* Fiber.joinAll(fibers)
      const lines = yield* Effect.replicateEffect(take, 40)
      assert.strictEqual(lines.join(""), "+-".repeat(20))
    }).pipe(provide({ maxWorkers: 1 }))
  )

  it.live("come back from tasks that end in any way", () =>
    Effect.gen(function* () {
      const ways: ReadonlyArray<Program> = [
        sh("exit 1"),
        sh("kill -9 $$"),
        command({ executable: "not-there" }),
        sh("true", { cwd: "/not/there" }),
        sh("echo much", { capture: { limit: 1 } }),
        sh("sleep 100", { timeout: "20 millis" })
      ]
      for (const task of ways) yield* failing(task)
      yield* Effect.flatMap(ExecutionBackend.submit(sh("sleep 100")), Fiber.interrupt)
      yield* Effect.flatMap(ExecutionBackend.submit(sh("sleep 100")), (fiber) => ExecutionBackend.cancel(fiber))
      assert.strictEqual((yield* ExecutionBackend.execute(sh("echo still here"))).stdout, "still here\n")
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(provide({ maxWorkers: 1 }))
  )

  it.live("are enough for a thousand tasks", () =>
    Effect.gen(function* () {
      const tasks = Array.from({ length: 1000 }, (_, i) => command({ executable: "true" }, { uid: `${i}` }))
      const fibers = yield* Effect.forEach(tasks, (task) => ExecutionBackend.submit(task))
      const outputs = yield* Fiber.joinAll(fibers)
      assert.deepStrictEqual([...outputs].filter(({ exitCode }) => exitCode === 0).length, 1000)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(provide({ maxWorkers: 4 }))
  )
})
