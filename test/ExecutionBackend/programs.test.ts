// Random programs over both forms of a backend and a simulated clock: whatever is submitted, nested, cancelled,
// interrupted, lost and closed in whatever order, every task ends exactly once, in a legal order of states, and nothing
// is left of it.
import { setImmediate } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FastCheck as fc, Layer, Schema, Scope, Stream, TestClock, TestContext } from "effect"
import type { TaskFiber } from "effect-rhapsody"
import { Backend, ExecutionBackend, Task } from "effect-rhapsody"
import type { TaskState } from "effect-rhapsody/TaskState"
import { canFollow, isTerminal } from "effect-rhapsody/TaskState"
import { TestBackend } from "effect-rhapsody/testing"
import { runningEngine } from "../engines/runningEngine.js"
import { isChange } from "../support.js"

interface Work {
  readonly sleep: number
  readonly end: "succeed" | "fail" | "die" | "never" | "interrupt" | "stuck"
  readonly how: "execute" | "submit" | "join" | "all"
  readonly timeout: number | undefined
  readonly retries: number
  readonly priority: number
  readonly children: ReadonlyArray<Work>
}
const Work: Schema.Schema<Work> = Schema.Any
const Run = Task.function("Run", { payload: { work: Work }, error: Schema.String })

const workOf = (children: fc.Arbitrary<ReadonlyArray<Work>>): fc.Arbitrary<Work> =>
  fc.record({
    sleep: fc.integer({ min: 0, max: 20 }),
    end: fc.oneof(
      { weight: 5, arbitrary: fc.constant("succeed" as const) },
      {
        weight: 4,
        arbitrary: fc.constantFrom("fail" as const, "die" as const, "never" as const, "interrupt" as const)
      },
      { weight: 1, arbitrary: fc.constant("stuck" as const) }
    ),
    how: fc.constantFrom("execute" as const, "submit" as const, "join" as const, "all" as const),
    timeout: fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined }),
    retries: fc.integer({ min: 0, max: 2 }),
    priority: fc.integer({ min: 0, max: 1 }),
    children
  })
/** Three generations at most. */
const leaf = workOf(fc.constant([]))
const work = workOf(fc.array(workOf(fc.array(leaf, { maxLength: 2 })), { maxLength: 2 }))

type Step =
  | { readonly _tag: "submit" | "scoped"; readonly work: Work }
  | { readonly _tag: "cancel" | "interrupt"; readonly which: number }
  | { readonly _tag: "advance"; readonly millis: number }
  | { readonly _tag: "yield" | "cancelAll" | "closeScope" | "lose" }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ _tag: fc.constantFrom("submit" as const, "scoped" as const), work }) },
  {
    weight: 3,
    arbitrary: fc.record({ _tag: fc.constantFrom("cancel" as const, "interrupt" as const), which: fc.nat() })
  },
  {
    weight: 2,
    arbitrary: fc.record({ _tag: fc.constant("advance" as const), millis: fc.integer({ min: 1, max: 15 }) })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      _tag: fc.constantFrom("yield" as const, "cancelAll" as const, "closeScope" as const, "lose" as const)
    })
  }
)
const program = fc.record({
  concurrency: fc.integer({ min: 1, max: 3 }),
  admission: fc.integer({ min: 1, max: 5 }),
  steps: fc.array(step, { maxLength: 12 })
})

const instance = ({ priority, retries, timeout, ...work }: Work) =>
  Run.make(
    { work: { priority, retries, timeout, ...work } },
    { priority, retry: { times: retries }, ...(timeout === undefined ? {} : { timeout }) }
  )

const handler = Run.toLayer(({ work: { children, end, how, sleep } }) =>
  Effect.gen(function* () {
    const instances = children.map(instance)
    switch (how) {
      case "execute":
        yield* Effect.forEach(instances, (one) => Effect.exit(ExecutionBackend.execute(one)))
        break
      case "all":
        yield* Effect.forEach(instances, (one) => Effect.exit(ExecutionBackend.execute(one)), {
          concurrency: "unbounded"
        })
        break
      case "submit":
        yield* Effect.forEach(instances, (one) => Effect.exit(ExecutionBackend.submit(one)))
        break
      case "join":
        yield* Effect.forEach(instances, (one) => Effect.exit(Effect.flatMap(ExecutionBackend.submit(one), Fiber.join)))
    }
    yield* Effect.sleep(sleep)
    switch (end) {
      case "succeed":
        return
      case "fail":
        return yield* Effect.fail("as asked")
      case "die":
        return yield* Effect.die("as asked")
      case "never":
        return yield* Effect.never
      case "interrupt":
        return yield* Effect.interrupt
      case "stuck":
        return yield* Effect.uninterruptible(Effect.sleep("1 minute"))
    }
  })
)

type Built = Effect.Effect<{
  readonly layer: Layer.Layer<ExecutionBackend.ExecutionBackend<"function"> | TestBackend.TestBackend, unknown>
  readonly lose: Effect.Effect<unknown, never, TestBackend.TestBackend>
}>
const limits = { maxNestedTasks: 50, stopTimeout: "10 seconds", eventBuffer: 100_000 } as const

const slots = (concurrency: number, admission: number): Built =>
  Effect.succeed({
    layer: TestBackend.layer({ ...limits, concurrency, maxActiveTasks: admission }),
    lose: TestBackend.failEngine
  })
/** Has no slots: all that is admitted runs. */
const batches = (_: number, admission: number): Built =>
  Effect.map(runningEngine, ({ driver, gone }) => ({
    layer: Layer.merge(Backend.layer(driver, { ...limits, maxActiveTasks: admission }), TestBackend.layer()),
    lose: gone
  }))

const play = (
  form: typeof slots,
  { admission, concurrency, steps }: typeof program extends fc.Arbitrary<infer P> ? P : never
) =>
  Effect.gen(function* () {
    const backend = yield* Scope.make()
    const { layer, lose } = yield* form(concurrency, admission)
    const context = yield* Layer.buildWithScope(Layer.provideMerge(handler, layer), backend)
    yield* Effect.gen(function* () {
      const events = yield* ExecutionBackend.events
      const owner = yield* Scope.make()
      const submissions: Array<Fiber.RuntimeFiber<TaskFiber.TaskFiber<void, unknown>, unknown>> = []
      const waits: Array<Fiber.Fiber<unknown, unknown>> = []
      const fiberOf = Effect.fnUntraced(function* (which: number) {
        const submission = submissions[which % submissions.length]
        const exit = submission === undefined ? null : submission.unsafePoll()
        return exit !== null && Exit.isSuccess(exit) ? exit.value : undefined
      })
      for (const one of steps) {
        switch (one._tag) {
          case "submit":
            submissions.push(yield* Effect.fork(ExecutionBackend.submit(instance(one.work))))
            break
          case "scoped":
            submissions.push(yield* Effect.fork(Scope.extend(ExecutionBackend.submitScoped(instance(one.work)), owner)))
            break
          case "cancel":
          case "interrupt": {
            const fiber = yield* fiberOf(one.which)
            if (fiber === undefined) break
            const reported: Effect.Effect<unknown, unknown> =
              one._tag === "cancel" ? ExecutionBackend.cancel(fiber) : Fiber.interrupt(fiber)
            waits.push(yield* Effect.fork(reported))
            break
          }
          case "advance":
            yield* TestClock.adjust(one.millis)
            break
          case "cancelAll":
            waits.push(yield* Effect.fork(ExecutionBackend.cancelAll))
            break
          case "closeScope":
            waits.push(yield* Effect.fork(Scope.close(owner, Exit.void)))
            break
          case "lose":
            yield* lose
            break
          case "yield":
            yield* Effect.yieldNow()
        }
      }
      const closing = yield* Effect.fork(Scope.close(backend, Exit.void))
      // nothing lasts longer than the graces of one generation after another
      for (let i = 0; i < 8 && closing.unsafePoll() === null; i++) yield* TestClock.adjust("20 seconds")
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(closing)))
      yield* Effect.forEach(waits, Fiber.await)
      for (const submission of submissions) {
        const exit = yield* Fiber.await(submission)
        if (Exit.isSuccess(exit)) assert.isNotNull(exit.value.unsafePoll())
      }
      const last = new Map<string, TaskState>()
      for (const event of yield* Stream.runCollect(events)) {
        assert.isTrue(isChange(event))
        if (!isChange(event)) continue
        const before = last.get(event.uid)
        assert.isTrue(
          before === undefined ? event.state === "NEW" : canFollow(before, event.state),
          `${before} -> ${event.state}`
        )
        last.set(event.uid, event.state)
      }
      assert.isTrue([...last.values()].every(isTerminal))
      const { active, queued, waiting } = yield* ExecutionBackend.state
      assert.deepStrictEqual({ active, queued, waiting }, { active: 0, queued: 0, waiting: 0 })
    }).pipe(Effect.scoped, Effect.provide(context))
  })

describe("random programs", () => {
  for (const [name, form] of Object.entries({ slots, batches })) {
    it(`end every task exactly once, and leave nothing: ${name}`, () =>
      fc.assert(
        fc.asyncProperty(program, async (one) => {
          // the simulated clock leaves no time to the runner of tests
          await setImmediate()
          await Effect.runPromise(Effect.provide(play(form, one), TestContext.TestContext))
        }),
        { numRuns: 500 }
      ))
  }
})
