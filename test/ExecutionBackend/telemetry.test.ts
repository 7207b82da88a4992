import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, HashMap, Logger, Metric, MetricState, Option, Schedule, Schema, Tracer } from "effect"
import { Backend, Driver, ExecutionBackend, Task } from "effect-rhapsody"
import { fakeEngine } from "../engines/fakeEngine.js"
import { runningEngine } from "../engines/runningEngine.js"
import { executables, functions, ok, Program } from "../support.js"

interface Seen {
  readonly name: string
  readonly parent: string | undefined
  readonly attributes: Map<string, unknown>
  readonly events: Array<readonly [string, Record<string, unknown> | undefined]>
  exit: Exit.Exit<unknown, unknown> | undefined
}

/** A tracer that remembers its spans. */
const recorder = () => {
  const spans: Array<Seen> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const seen: Seen = {
        name,
        parent: Option.getOrUndefined(parent)?.spanId,
        attributes: new Map(),
        events: [],
        exit: undefined
      }
      spans.push(seen)
      return {
        _tag: "Span",
        name,
        spanId: name,
        traceId: "t",
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes: seen.attributes,
        links,
        sampled: true,
        kind,
        end: (_, exit) => {
          assert.isUndefined(seen.exit)
          seen.exit = exit
        },
        attribute: (key, value) => seen.attributes.set(key, value),
        event: (event, _, attributes) => seen.events.push([event, attributes]),
        addLinks: () => {}
      }
    },
    context: (run) => run()
  })
  return { spans, tracer }
}

describe("spans", () => {
  it.effect("what a handler does is below its task, on every driver", () =>
    Effect.gen(function* () {
      const Traced = Task.function("Traced", {})
      const handler = Traced.toLayer(() => Effect.withSpan(Effect.logInfo("traced"), "inner"))
      const { driver } = yield* runningEngine
      for (const layer of [functions(1), Backend.layer(driver)]) {
        const { spans, tracer } = recorder()
        const said: Array<unknown> = []
        const logger = Logger.make(({ annotations }) => void said.push(Object.fromEntries(annotations)))
        yield* ExecutionBackend.execute(Traced.make(undefined, { uid: "x" })).pipe(
          Effect.provide([layer, handler]),
          Effect.provide(Logger.add(logger)),
          Effect.withTracer(tracer)
        )
        assert.deepStrictEqual(
          spans.map(({ name, parent }) => [name, parent]),
          [
            ["task Traced", undefined],
            ["inner", "task Traced"]
          ]
        )
        assert.deepStrictEqual(said, [{ task: "Traced", uid: "x" }])
      }
    })
  )

  it.effect("one per task, child of the submitter's, with its states as events", () => {
    const { spans, tracer } = recorder()
    return Effect.gen(function* () {
      const task = Program.make(undefined, { uid: "x", retry: { times: 1, schedule: Schedule.forever } })
      yield* Effect.withSpan(ExecutionBackend.execute(task), "workflow")
      const [span, ...others] = spans.filter(({ name }) => name === "task Program")
      assert.strictEqual(others.length, 0)
      assert.strictEqual(span!.parent, "workflow")
      assert.deepStrictEqual(Object.fromEntries(span!.attributes), {
        "task.uid": "x",
        "task.name": "Program",
        "task.kind": "executable",
        "task.backend": "fake",
        "task.state": "COMPLETED",
        "task.attempts": 2
      })
      assert.deepStrictEqual(
        span!.events.map(([name, attributes]) => `${name} ${attributes?.["attempt"]}`),
        ["NEW 1", "READY 1", "EXECUTING 1", "RETRYING 1", "WAITING 2", "READY 2", "EXECUTING 2", "COMPLETED 2"]
      )
      assert.strictEqual(span!.events[3]![1]?.["reason"], "Exit")
      assert.isTrue(span!.exit !== undefined && Exit.isSuccess(span!.exit))
    }).pipe(
      Effect.provide(
        executables(({ attempt }) => (attempt === 1 ? Effect.succeed(Driver.Outcome.exited({ exitCode: 1 })) : ok))
      ),
      Effect.withTracer(tracer)
    )
  })

  it.effect("are the parents of what a handler traces, and show no error and no secret of the user's", () => {
    const { spans, tracer } = recorder()
    const Failing = Task.function("Failing", { payload: { password: Schema.String }, error: Schema.String })
    const handler = Failing.toLayer(({ password }) => Effect.withSpan(Effect.fail(`wrong: ${password}`), "inner"))
    return Effect.gen(function* () {
      yield* Effect.flip(ExecutionBackend.execute(Failing.make({ password: "hunter2" })))
      const task = spans.find(({ name }) => name === "task Failing")!
      assert.strictEqual(spans.find(({ name }) => name === "inner")!.parent, "task Failing")
      assert.isTrue(Exit.isFailure(task.exit!))
      assert.notInclude(JSON.stringify([[...task.attributes], task.events, task.exit]), "hunter2")
    }).pipe(Effect.provide([functions(1), handler]), Effect.withTracer(tracer))
  })

  it.effect("are not made where no tracer is installed, or tracing is off", () => {
    const { spans, tracer } = recorder()
    return Effect.gen(function* () {
      const fiber = yield* ExecutionBackend.submit(Program.make())
      yield* fiber
      assert.isUndefined((fiber as any)["~effect-rhapsody/TaskFiber"].span)
      const untraced = ExecutionBackend.execute(Program.make()).pipe(
        Effect.withTracerEnabled(false),
        Effect.withTracer(tracer)
      )
      yield* untraced
      assert.strictEqual(spans.length, 0)
    }).pipe(Effect.provide(executables(() => ok)))
  })
})

describe("metrics", () => {
  it.effect("count ends by state and reason, waits and runs, with labels of bounded number", () =>
    Effect.gen(function* () {
      const backend = "metrics-test"
      yield* Effect.gen(function* () {
        for (let i = 0; i < 20; i++) {
          yield* Effect.exit(ExecutionBackend.execute(Program.make(undefined, { uid: `uid-${i}` })))
        }
      }).pipe(
        Effect.provide(
          executables(({ uid }) => (uid.endsWith("3") ? Effect.succeed(Driver.Outcome.exited({ exitCode: 1 })) : ok), {
            type: backend
          })
        )
      )
      const snapshot = (yield* Metric.snapshot).filter(({ metricKey }) =>
        metricKey.tags.some(({ key, value }) => key === "backend" && value === backend)
      )
      const labels = (pair: (typeof snapshot)[number]) =>
        pair.metricKey.tags.map(({ key, value }) => `${key}=${value}`).sort()
      const ends = snapshot.filter(({ metricKey }) => metricKey.name === "effect_rhapsody_tasks")
      assert.deepStrictEqual(
        ends
          .map((pair) => [
            ...labels(pair),
            MetricState.isCounterState(pair.metricState) && Number(pair.metricState.count)
          ])
          .sort(),
        [
          [`backend=${backend}`, "reason=", "state=COMPLETED", 18],
          [`backend=${backend}`, "reason=Exit", "state=FAILED", 2]
        ]
      )
      for (const name of ["effect_rhapsody_wait_seconds", "effect_rhapsody_run_seconds"]) {
        const pair = snapshot.find(({ metricKey }) => metricKey.name === name)!
        assert.isTrue(MetricState.isHistogramState(pair.metricState) && pair.metricState.count === 20)
      }
      assert.isFalse(snapshot.some((pair) => labels(pair).some((label) => label.includes("uid"))))
      const gauge = snapshot.find(({ metricKey }) => metricKey.name === "effect_rhapsody_active")!
      assert.isTrue(MetricState.isGaugeState(gauge.metricState) && Number(gauge.metricState.value) === 0)
    })
  )
})

describe("what an engine says to no purpose", () => {
  it.effect("is counted", () =>
    Effect.gen(function* () {
      const engine = yield* fakeEngine({ type: "talkative" })
      yield* Effect.gen(function* () {
        const fiber = yield* ExecutionBackend.submit(Program.make(undefined, { uid: "known" }))
        while (!engine.held.has("known")) yield* Effect.yieldNow()
        // of an unknown task, of another attempt, of no sense; then its end, and its end again before the stream is over
        yield* engine.started("unknown")
        yield* engine.started("known", 2)
        yield* engine.report(null)
        yield* engine.ended("known")
        yield* engine.ended("known")
        yield* fiber
        yield* engine.gone()
        while ((yield* ExecutionBackend.state).status !== "FAILED") yield* Effect.yieldNow()
      }).pipe(Effect.provide(engine.layer()))
      const pair = (yield* Metric.snapshot).find(
        ({ metricKey }) =>
          metricKey.name === "effect_rhapsody_updates_ignored" &&
          metricKey.tags.some(({ value }) => value === "talkative")
      )!
      assert.isTrue(MetricState.isCounterState(pair.metricState) && Number(pair.metricState.count) === 4)
    })
  )
})

describe("logs of a handler", () => {
  it.effect("name its task", () => {
    const lines: Array<Record<string, unknown>> = []
    const logger = Logger.make(({ annotations }) => {
      lines.push(Object.fromEntries(HashMap.toEntries(annotations)))
    })
    const Logs = Task.function("Logs", {})
    return Effect.gen(function* () {
      yield* ExecutionBackend.execute(Logs.make(undefined, { uid: "me" })).pipe(Effect.annotateLogs("run", "r1"))
      yield* Effect.log("outside")
      assert.deepStrictEqual(lines, [{ run: "r1", task: "Logs", uid: "me" }, {}])
    }).pipe(
      Effect.provide([
        functions(1),
        Logs.toLayer(() => Effect.log("inside")),
        Logger.replace(Logger.defaultLogger, logger)
      ])
    )
  })
})
