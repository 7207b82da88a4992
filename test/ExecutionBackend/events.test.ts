import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, Fiber, Layer, Logger, Redacted, Schema, Scope, Stream, TestClock } from "effect"
import { ExecutionBackend } from "effect-rhapsody"
import { StateChange, TaskEvent } from "effect-rhapsody/TaskState"
import { executables, idle, isChange, nothingLeft, ok, Program } from "../support.js"

const submit = (n: number) =>
  Effect.flatMap(Effect.replicateEffect(ExecutionBackend.submit(Program.make()), n), Fiber.joinAll)

describe("events", () => {
  it.scoped("are there from the subscription on, although the stream runs later; each fits its schema", () =>
    Effect.gen(function* () {
      yield* submit(1)
      const events = yield* ExecutionBackend.events
      yield* TestClock.adjust("1 minute")
      yield* submit(2)
      const seen = [...(yield* Stream.runCollect(Stream.take(events, 8)))].filter(isChange)
      assert.deepStrictEqual(
        seen.filter(({ uid }) => uid === "task.000003").map(({ state, time }) => [state, time]),
        ["NEW", "READY", "EXECUTING", "COMPLETED"].map((state) => [state, 60_000])
      )
      assert.isTrue(seen.every((event) => event.uid !== "task.000001"))
      for (const event of seen) {
        assert.deepStrictEqual(yield* Schema.decodeUnknown(TaskEvent)(yield* Schema.encode(StateChange)(event)), event)
      }
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.scoped("a slow subscriber loses the newest and gets their number; no other subscriber loses any", () =>
    Effect.gen(function* () {
      const [slow, quick] = yield* Effect.all([ExecutionBackend.events, ExecutionBackend.events])
      const all = yield* Effect.fork(Stream.runCollect(Stream.take(quick, 400)))
      for (let i = 0; i < 100; i++) yield* submit(1)
      assert.isTrue([...(yield* Fiber.join(all))].every(isChange))
      const first = [...(yield* Stream.runCollect(Stream.take(slow, 11)))]
      assert.isTrue(first.slice(0, 10).every(isChange))
      assert.deepStrictEqual(first[10], { _tag: "EventsDropped", backend: "fake", count: 390 })
      // and it goes on
      yield* submit(1)
      assert.deepStrictEqual(
        [...(yield* Stream.runCollect(Stream.take(slow, 4)))].map((event) => isChange(event) && event.state),
        ["NEW", "READY", "EXECUTING", "COMPLETED"]
      )
    }).pipe(Effect.provide(executables(() => ok, {}, { eventBuffer: 10 })))
  )

  it.scoped("a failing subscriber, and one that is forgotten, harm no task", () =>
    Effect.gen(function* () {
      const failing = yield* ExecutionBackend.events
      const forgotten = yield* ExecutionBackend.events // its scope stays open and its events are not read
      const failed = yield* Effect.fork(Stream.runForEach(failing, () => Effect.fail("no")))
      const dying = yield* ExecutionBackend.events
      const died = yield* Effect.fork(Stream.runForEach(dying, () => Effect.die("no")))
      yield* submit(1_000)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(failed)))
      assert.isTrue(Exit.isFailure(yield* Fiber.await(died)))
      assert.strictEqual(Chunk.size(yield* Stream.runCollect(Stream.take(forgotten, 11))), 11)
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(Effect.provide(executables(() => ok, {}, { eventBuffer: 10 })))
  )

  it.effect("a subscription ends with its scope, and the stream with the backend, after the last event", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(
        executables(() => Effect.never),
        scope
      )
      const short = yield* Effect.scoped(Effect.provide(ExecutionBackend.events, context))
      assert.strictEqual(Chunk.size(yield* Stream.runCollect(short)), 0)
      yield* Effect.scoped(
        Effect.gen(function* () {
          const events = yield* ExecutionBackend.events
          yield* ExecutionBackend.submit(Program.make())
          yield* Scope.close(scope, Exit.void)
          const seen = [...(yield* Stream.runCollect(events))].filter(isChange)
          assert.deepStrictEqual(
            seen.map(({ state }) => state).filter((state) => state !== "EXECUTING"),
            ["NEW", "READY", "CANCELED"]
          )
          assert.strictEqual(seen.at(-1)!.reason, "Canceled")
        }).pipe(Effect.provide(context))
      )
      const late = yield* Effect.scoped(
        Effect.flatMap(Effect.provide(ExecutionBackend.events, context), Stream.runCollect)
      )
      assert.strictEqual(Chunk.size(late), 0)
    })
  )

  it.scoped("a reader that waits is woken by the first event and by the end", () =>
    Effect.gen(function* () {
      const events = yield* ExecutionBackend.events
      const first = yield* Deferred.make<TaskEvent>()
      const reader = yield* Effect.fork(Stream.runForEach(events, (event) => Deferred.succeed(first, event)))
      yield* Effect.yieldNow()
      yield* submit(1)
      const event = yield* Deferred.await(first)
      assert.isTrue(isChange(event) && event.state === "NEW")
      yield* Fiber.interrupt(reader)
    }).pipe(Effect.provide(executables(() => ok)))
  )

  it.scoped("show no secret", () =>
    Effect.gen(function* () {
      const events = yield* ExecutionBackend.events
      const env = { TOKEN: Redacted.make("hunter2") }
      const error = yield* Effect.flip(ExecutionBackend.execute(Program.make(undefined, { env })))
      const seen = yield* Stream.runCollect(Stream.take(events, 4))
      for (const text of [JSON.stringify([...seen]), JSON.stringify(error), String(error), error.message]) {
        assert.notInclude(text, "hunter2")
      }
    }).pipe(Effect.provide(executables(({ work }) => Effect.die(new Error(JSON.stringify(work))))))
  )
})

describe("closing a subscription", () => {
  const ended = (event: TaskEvent) => isChange(event) && event.state === "COMPLETED"
  const logged = () => {
    const log: Array<string> = []
    return {
      log,
      layer: Logger.replace(
        Logger.defaultLogger,
        Logger.make(({ message }) => log.push(String(message)))
      )
    }
  }

  /** Reads slowly: every event takes several turns. */
  const slow = (seen: Array<TaskEvent>) => (event: TaskEvent) =>
    Effect.zipRight(
      Effect.repeatN(Effect.yieldNow(), 50),
      Effect.sync(() => {
        seen.push(event)
      })
    )
  const readers: Record<
    string,
    (seen: Array<TaskEvent>) => Effect.Effect<unknown, never, ExecutionBackend.Any | Scope.Scope>
  > = {
    "a stream in a fiber of its scope": (seen) =>
      Effect.flatMap(ExecutionBackend.events, (events) => Effect.forkScoped(Stream.runForEach(events, slow(seen)))),
    "a stream in a fiber of the caller": (seen) =>
      Effect.flatMap(ExecutionBackend.events, (events) => Effect.fork(Stream.runForEach(events, slow(seen)))),
    "a stream with a buffer of its own": (seen) =>
      Effect.flatMap(ExecutionBackend.events, (events) =>
        Effect.forkScoped(Stream.runForEach(Stream.buffer(events, { capacity: 2 }), slow(seen)))
      ),
    onStateChange: (seen) => ExecutionBackend.onStateChange(slow(seen))
  }
  for (const [name, read] of Object.entries(readers)) {
    for (const interrupted of [false, true]) {
      it.effect(
        `${interrupted ? "by an interruption " : ""}waits until all is read by ${name}, or says what was not`,
        () =>
          Effect.gen(function* () {
            const { layer, log } = logged()
            const seen: Array<TaskEvent> = []
            const submitted = yield* Deferred.make<void>()
            const fiber = yield* read(seen).pipe(
              Effect.zipRight(submit(5)),
              Effect.zipRight(Deferred.succeed(submitted, undefined)),
              Effect.zipRight(interrupted ? Effect.never : Effect.void),
              Effect.scoped,
              Effect.provide(layer),
              Effect.fork
            )
            yield* Deferred.await(submitted)
            yield* interrupted ? Fiber.interrupt(fiber) : Fiber.join(fiber)
            // Effect interrupts the fibers of a fiber that is interrupted, before any scope closes
            if (interrupted && name === "a stream in a fiber of the caller") {
              const [, unread] =
                /^A reader of the events of backend fake was interrupted with (\d+) events unread\.$/.exec(
                  log.join("\n")
                )!
              // it may have had one in its hands
              assert.include([19, 20], Number(unread) + seen.length)
              return
            }
            if (name === "a stream with a buffer of its own") assert.isAtLeast(seen.filter(ended).length, 4)
            else assert.deepStrictEqual([seen.length, seen.filter(ended).length], [20, 5])
            assert.deepStrictEqual(log, [])
          }).pipe(Effect.provide(executables(() => ok)))
      )
    }
  }

  it.live("is bounded when the reader never comes back, and says how much was not read", () =>
    Effect.gen(function* () {
      const { layer, log } = logged()
      yield* ExecutionBackend.onStateChange(() => Effect.never).pipe(
        Effect.zipRight(submit(5)),
        Effect.scoped,
        Effect.provide(layer)
      )
      assert.deepStrictEqual(log, ["A reader of the events of backend fake was interrupted with 20 events unread."])
    }).pipe(Effect.provide(executables(() => ok, {}, { stopTimeout: "50 millis" })))
  )

  it.effect("says what a reader did not read that was interrupted before, and nothing of one that had enough", () =>
    Effect.gen(function* () {
      const { layer, log } = logged()
      yield* Effect.scoped(
        Effect.gen(function* () {
          const events = yield* ExecutionBackend.events
          const reader = yield* Effect.fork(Stream.runForEach(events, () => Effect.never))
          yield* submit(5)
          yield* Effect.repeatN(Effect.yieldNow(), 50)
          yield* Fiber.interrupt(reader)
          assert.deepStrictEqual(log, [])
        })
      ).pipe(Effect.provide(layer))
      assert.strictEqual(log.length, 1)
      assert.include(log[0], "was interrupted with 20 events unread")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const events = yield* ExecutionBackend.events
          const unused = yield* ExecutionBackend.events
          assert.isDefined(unused)
          const reader = yield* Effect.fork(Stream.runDrain(yield* ExecutionBackend.events))
          yield* submit(5)
          yield* Stream.runHead(events)
          yield* Effect.repeatN(Effect.yieldNow(), 50)
          yield* Fiber.interrupt(reader)
        })
      ).pipe(Effect.provide(layer))
      assert.strictEqual(log.length, 1)
    }).pipe(Effect.provide(executables(() => ok)))
  )
})
