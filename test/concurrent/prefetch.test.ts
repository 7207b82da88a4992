/** Of a long queue, programs are handed over before there are slots for them: that must be nothing but faster. */
import { execFileSync } from "node:child_process"
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Ref, Stream } from "effect"
import { Backend, ConcurrentBackend, ExecutionBackend } from "effect-rhapsody"
import { idle, nothingLeft } from "../support.js"
import { gate, inbox, overBoth, sh } from "./support.js"

/** How many tasks the launchers of one backend were handed early, and whether these took a place by themselves. */
const counting = (options: ConcurrentBackend.Options) =>
  Effect.gen(function* () {
    const early = yield* Ref.make(0)
    const alone = { count: 0 }
    const driver = yield* ConcurrentBackend.driver(options)
    const layer = Backend.layer({
      ...driver,
      run: (spec, hooks) => {
        if (hooks.early === undefined) return driver.run(spec, hooks)
        const { early: own } = hooks
        const unsafeExecuting = () => {
          if (own.permission !== "go") alone.count++
          hooks.unsafeExecuting()
        }
        return Effect.zipRight(
          Ref.update(early, (n) => n + 1),
          driver.run(spec, { ...hooks, unsafeExecuting })
        )
      }
    })
    return { early, alone, layer }
  })

overBoth("of a long queue", ({ launcher, options, provide }) => {
  it.scopedLive("as many run at a time as there are slots, and each once", () =>
    Effect.gen(function* () {
      const { alone, early, layer } = yield* counting({ maxWorkers: 3, ...options })
      yield* Effect.gen(function* () {
        const { path, take } = yield* inbox
        const script = `echo + > ${path}; sleep 0.01; echo - > ${path}`
        const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(sh(script)), 60)
        const lines = yield* Effect.replicateEffect(take, 120)
        let running = 0
        const counts = lines.map((line) => (running += line === "+" ? 1 : -1))
        assert.deepStrictEqual([Math.max(...counts), running], [3, 0])
        yield* Fiber.joinAll(fibers)
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(Effect.provide(layer))
      assert.isAbove(yield* early, 20)
      if (launcher === "agent") assert.isAbove(alone.count, 5)
      else assert.strictEqual(alone.count, 0)
    })
  )

  it.scopedLive("who comes later with a higher priority starts before who waits", () =>
    Effect.gen(function* () {
      const [letters, door] = [yield* inbox, yield* gate]
      const task = (name: string, priority: number) =>
        ExecutionBackend.submit(sh(`echo ${name} > ${letters.path}; read x < ${door.path}`, { priority }))
      const fibers = [yield* task("first", 0)]
      assert.strictEqual(yield* letters.take, "first")
      for (let i = 0; i < 20; i++) fibers.push(yield* task("low", 0))
      // so that some of them are with the launcher
      yield* Effect.repeatN(Effect.yieldNow(), 100)
      for (let i = 0; i < 5; i++) fibers.push(yield* task("high", 1))
      yield* door.open(26)
      const order = yield* Effect.replicateEffect(letters.take, 25)
      assert.deepStrictEqual(order.slice(0, 5), Array<string>(5).fill("high"))
      yield* Fiber.joinAll(fibers)
    }).pipe(provide({ maxWorkers: 1, prefetch: 4 }))
  )

  it.scopedLive("cancelled before they started, they never run", () =>
    Effect.gen(function* () {
      const { path, take } = yield* inbox
      const script = `echo ran > ${path}; exec sleep 100`
      const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(sh(script)), 30)
      yield* Effect.replicateEffect(take, 2)
      // one of those that were handed over, then all
      assert.isTrue(yield* ExecutionBackend.cancel(fibers[3]!))
      assert.strictEqual(yield* ExecutionBackend.cancelAll, 29)
      const ends = yield* Effect.forEach(fibers, Fiber.await)
      assert.isTrue(ends.every((end) => Exit.isFailure(end)))
      yield* ExecutionBackend.execute(sh(`echo last > ${path}`))
      assert.strictEqual(yield* take, "last")
    }).pipe(provide({ maxWorkers: 2 }))
  )

  it.scopedLive("one that cannot be started holds no other up", () =>
    Effect.gen(function* () {
      const bad = () => ExecutionBackend.submit(sh("true", { cwd: "/not/there" }))
      const good = () => ExecutionBackend.submit(sh("echo good"))
      const fibers = yield* Effect.forEach(
        Array.from({ length: 40 }, (_, i) => i),
        (i) => (i % 3 === 0 ? bad() : good())
      )
      const ends = yield* Effect.forEach(fibers, Fiber.await)
      const whole = ends.map((end) => (Exit.isSuccess(end) ? "good" : "bad"))
      assert.deepStrictEqual(
        whole,
        fibers.map((_, i) => (i % 3 === 0 ? "bad" : "good"))
      )
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(provide({ maxWorkers: 2 }))
  )

  it.scopedLive("each goes through its states in order", () =>
    Effect.gen(function* () {
      const events = yield* ExecutionBackend.events
      const fibers = yield* Effect.replicateEffect(ExecutionBackend.submit(sh("true")), 40)
      yield* Fiber.joinAll(fibers)
      const reported = yield* Stream.runCollect(Stream.take(events, 40 * 4))
      const states = new Map<string, Array<string>>()
      for (const event of reported) {
        if (event._tag === "StateChange") states.set(event.uid, [...(states.get(event.uid) ?? []), event.state])
      }
      assert.strictEqual(states.size, 40)
      for (const all of states.values()) assert.deepStrictEqual(all, ["NEW", "READY", "EXECUTING", "COMPLETED"])
    }).pipe(provide({ maxWorkers: 2 }))
  )

  if (launcher === "agent") {
    it.scopedLive("those that a dead agent had end as Lost, and may be tried again", () =>
      Effect.gen(function* () {
        const { path, take } = yield* inbox
        const running = yield* ExecutionBackend.submit(sh(`echo $PPID > ${path}; exec sleep 100`))
        const agent = yield* take
        const early = yield* ExecutionBackend.submit(sh("true"))
        const again = yield* Effect.replicateEffect(ExecutionBackend.submit(sh("true", { retry: { times: 1 } })), 7)
        execFileSync("kill", ["-9", agent])
        const ends = yield* Effect.forEach([running, early], (fiber) => Effect.flip(Fiber.join(fiber)))
        assert.deepStrictEqual(
          ends.map(({ reason }) => reason),
          ["Lost", "Lost"]
        )
        yield* Fiber.joinAll(again)
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(provide({ maxWorkers: 1, prefetch: 3 }))
    )
  }
})

it.scoped("a number of programs to hand over early that is none is refused by name", () =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(ConcurrentBackend.driver({ prefetch: -1 }))
    assert.deepStrictEqual([error.configKey, error.reason], ["prefetch", "InvalidOption"])
  })
)
