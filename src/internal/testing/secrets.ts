/** The case of secrets: everything that is reported of a task is collected and searched. */
import { inspect } from "node:util"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Tracer from "effect/Tracer"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import type { Options } from "../../Task.js"
import { check, collect, untilState } from "./check.js"
import type { CaseWithNeed } from "./fixture.js"
import { fixture, needs } from "./fixture.js"
import type { Subject } from "./subject.js"
import type { How } from "./work.js"

/** All the ways in which a value may be printed. */
const printed = (value: unknown): string => [String(value), JSON.stringify(value), inspect(value, { depth: 6 })].join()

/** A tracer that passes on all that it is given. */
const tracer = (say: (value: unknown) => void) =>
  Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      return {
        _tag: "Span",
        name,
        spanId: name,
        traceId: "conformance",
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes,
        links,
        sampled: true,
        kind,
        end: (_, exit) => say(Exit.isFailure(exit) ? Cause.pretty(exit.cause, { renderErrorCause: true }) : ""),
        attribute: (key, value) => {
          attributes.set(key, value)
          say([key, value])
        },
        event: (name, _, attributes) => say([name, attributes]),
        addLinks: () => {}
      }
    },
    context: (run) => run()
  })

export const secrets = (subject: Subject): ReadonlyArray<CaseWithNeed> => {
  const { makeCase, work } = fixture(subject)
  const secret = "hunter2-hunter2"
  const variants = [{}, ...(subject.options ?? [])]

  return [
    needs(
      "environment",
      makeCase(
        "secrets",
        "a Redacted variable is in no event, log, span, metric or error, in no task and in no fiber, however task and engine end",
        Effect.gen(function* () {
          const seen: Array<string> = []
          const say = (value: unknown) => void seen.push(printed(value))
          const logger = Logger.make(({ annotations, cause, message }) => say([[...annotations], message, cause]))
          const events = yield* ExecutionBackend.events
          const options = {
            env: { SECRET: Redacted.make(secret) },
            retry: { times: 1, schedule: Schedule.forever }
          }
          const run = (how: How, more: Options<any>) =>
            Effect.tap(
              Effect.suspend(() => {
                const task = work({ how, value: 2 }, { ...options, ...more })
                say(task)
                return ExecutionBackend.submit(task)
              }),
              (fiber) => Effect.sync(() => say(fiber))
            )
          const ended = (fiber: Fiber.RuntimeFiber<unknown, unknown>) =>
            Effect.map(Fiber.await(fiber), (exit) => {
              say(exit)
              if (Exit.isFailure(exit)) say(Cause.pretty(exit.cause, { renderErrorCause: true }))
            })
          const held = Effect.tap(run("hold", {}), (fiber) => untilState(fiber, "EXECUTING"))
          yield* Effect.gen(function* () {
            for (const more of variants) {
              for (const how of ["echo", "fail", "die", "wrong", "flaky"] as const) {
                yield* Effect.flatMap(run(how, more), ended)
              }
            }
            const stopped = yield* held
            yield* Fiber.interrupt(stopped)
            yield* ended(stopped)
            say(yield* collect(events, 5 * variants.length + 1))
            if (subject.failEngine === undefined) return
            const lost = yield* held
            yield* subject.failEngine
            yield* ended(lost)
          }).pipe(
            Effect.withTracer(tracer(say)),
            Logger.withMinimumLogLevel(LogLevel.All),
            Effect.provide(Logger.replace(Logger.defaultLogger, logger))
          )
          say(yield* Metric.snapshot)
          const where = seen.find((text) => text.includes(secret))
          yield* check(where === undefined, `the secret is printed in: ${where?.replaceAll(secret, "<the secret>")}`)
        })
      )
    )
  ]
}
