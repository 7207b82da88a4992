/** What the rows of a subject are made with. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Row, Subject } from "../../Conformance.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import type * as Task from "../../Task.js"
import { untilState } from "./check.js"

export const tools = ({ layer, work }: Subject) => {
  const hold = (options?: Task.Options<any>) => work({ how: "hold", value: 0 }, options)
  return {
    work,
    /** A task that gives its value. */
    echo: (value: number, options?: Task.Options<any>) => work({ how: "echo", value }, options),
    /** A task that never ends. */
    hold,
    /** One of these, that runs. */
    running: Effect.tap(ExecutionBackend.submit(hold()), (fiber) => untilState(fiber, "EXECUTING")),
    /** A row over a new backend. */
    row: (
      id: string,
      title: string,
      body: Effect.Effect<unknown, unknown, any>,
      options?: ExecutionBackend.Options
    ): Row => ({
      id,
      title,
      run: Effect.scoped(Effect.provide(body as Effect.Effect<unknown, unknown, never>, layer(options)))
    }),
    /** Uses a backend that is closed afterwards. */
    opened: <A>(use: Effect.Effect<A, unknown, any>): Effect.Effect<A, unknown> =>
      Effect.scoped(
        Effect.flatMap(Layer.build(layer()), (context) => Effect.provide(use, context) as Effect.Effect<A, unknown>)
      )
  }
}
