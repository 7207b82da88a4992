/** The row of secrets: everything that is told of a task is collected and searched. */
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
import type { Subject } from "../../Conformance.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import { check, collect, untilState } from "./check.js"
import type { Needing } from "./tools.js"
import { needs, tools } from "./tools.js"

/** All the ways in which somebody may print it. */
const printed = (value: unknown): string => [String(value), JSON.stringify(value), inspect(value, { depth: 6 })].join()

/** A tracer that says all that it is told. */
const tracer = (say: (told: unknown) => void) =>
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

export const secrets = (subject: Subject): ReadonlyArray<Needing> => {
  const { row, work } = tools(subject)
  const secret = "hunter2-hunter2"

  return [
    needs(
      "environment",
      row(
        "secrets",
        "a Redacted variable is in no event, log, span, metric or error, in no task and in no fiber, however it ends",
        Effect.gen(function* () {
          const told: Array<string> = []
          const say = (value: unknown) => void told.push(printed(value))
          const logger = Logger.make(({ annotations, cause, message }) => say([[...annotations], message, cause]))
          const events = yield* ExecutionBackend.events
          const options = {
            env: { SECRET: Redacted.make(secret) },
            retry: { times: 1, schedule: Schedule.forever }
          }
          yield* Effect.gen(function* () {
            for (const how of ["echo", "fail", "die", "wrong", "flaky"] as const) {
              const task = work({ how, value: 2 }, options)
              say(task)
              const fiber = yield* ExecutionBackend.submit(task)
              say(fiber)
              const exit = yield* Fiber.await(fiber)
              say(exit)
              if (Exit.isFailure(exit)) say(Cause.pretty(exit.cause, { renderErrorCause: true }))
            }
            const held = yield* ExecutionBackend.submit(work({ how: "hold", value: 0 }, options))
            yield* untilState(held, "EXECUTING")
            yield* Fiber.interrupt(held)
            say(yield* Fiber.await(held))
          }).pipe(
            Effect.withTracer(tracer(say)),
            Logger.withMinimumLogLevel(LogLevel.All),
            Effect.provide(Logger.replace(Logger.defaultLogger, logger))
          )
          say(yield* collect(events, 6))
          say(yield* Metric.snapshot)
          const where = told.find((text) => text.includes(secret))
          yield* check(where === undefined, `the secret was told: ${where?.replaceAll(secret, "<the secret>")}`)
        })
      )
    )
  ]
}
