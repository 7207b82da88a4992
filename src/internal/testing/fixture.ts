/** What the cases of a subject are made with. */
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Backend from "../../Backend.js"
import * as ExecutionBackend from "../../ExecutionBackend.js"
import type * as Task from "../../Task.js"
import { untilState } from "./check.js"
import type { Case, Subject } from "./subject.js"

/** What not every subject has: the cases that need it are waived for a subject without it. */
export type Need = "executable" | "service" | "programs" | "environment" | "failEngine"

/** A case, with what a subject must have for it. */
export interface CaseWithNeed extends Case {
  readonly need?: Need
}

/** A directory that is removed afterwards. */
export const folder = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(path.join(tmpdir(), "rhapsody-conformance-"))),
  (folder) => Effect.sync(() => fs.rmSync(folder, { recursive: true, force: true }))
)

type Body = Effect.Effect<unknown, unknown, any>

/** Uses a layer that is closed afterwards. */
export const withLayer = <A>(layer: Layer.Layer<any, unknown>, use: Effect.Effect<A, unknown, any>) =>
  Effect.scoped(
    Effect.flatMap(Layer.build(layer), (context) => Effect.provide(use, context) as Effect.Effect<A, unknown>)
  )

export const fixture = ({ layer, work }: Pick<Subject, "layer" | "work">) => {
  const hold = (options?: Task.Options<any>) => work({ how: "hold", value: 0 }, options)
  return {
    work,
    /** A task that gives its value. */
    echo: (value: number, options?: Task.Options<any>) => work({ how: "echo", value }, options),
    /** A task that never ends. */
    hold,
    /** One of these, that runs. */
    running: Effect.tap(ExecutionBackend.submit(hold()), (fiber) => untilState(fiber, "EXECUTING")),
    /** A case over a new backend. */
    makeCase: (id: string, title: string, body: Body, options?: Backend.Options): Case => ({
      id,
      title,
      run: Effect.scoped(Effect.provide(body as Effect.Effect<unknown, unknown, never>, layer(options)))
    }),
    /** Uses a backend that is closed afterwards. */
    opened: <A>(use: Effect.Effect<A, unknown, any>, options?: Backend.Options): Effect.Effect<A, unknown> =>
      withLayer(layer(options), use)
  }
}

export const needs = (need: Need, one: Case): CaseWithNeed => ({ ...one, need })
