/** Programs whose output is told while they run: each has a fiber of its own, as it has in this process. */
import * as Effect from "effect/Effect"
import type { Program, Spec } from "../../Driver.js"
import * as capture from "../launch/capture.js"
import type { Launch, Launcher } from "../launch/launcher.js"
import type { Bridge, Loaded } from "./bridge.js"
import type { End, Flight } from "./flight.js"
import { outcomeOf } from "./flight.js"

export const isLive = (program: Program): boolean =>
  program._tag === "executable" && program.capture.onChunk !== undefined

/** Runs to the end, and tells it. */
export const make =
  (load: (spec: Spec, launch: Launch) => Loaded, bridge: Bridge) =>
  (spec: Spec, launch: Launch): Effect.Effect<void> => {
    let flight: Flight | undefined
    const launcher: Launcher = {
      check: () => Effect.void,
      kill: Effect.void,
      launch: (launch) =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            const loaded = load(spec, launch)
            flight = loaded.flight
            bridge.submit([loaded])
            return loaded.flight
          }),
          (flight) =>
            Effect.async<
              Extract<End, { readonly _tag: "Right" }>["right"],
              Extract<End, { readonly _tag: "Left" }>["left"]
            >((resume) => {
              // without an end, its end is told already, and nobody waits for this
              flight.live = { exit: (end) => resume(end ?? Effect.interrupt) }
            }),
          (flight) =>
            flight.ended
              ? Effect.void
              : Effect.async<void>((resume) => {
                  // it printed too much: that is its end, and not that it was stopped
                  flight.live = { exit: () => resume(Effect.void), quiet: true }
                  bridge.cancel([flight.id], launch.grace, "wait")
                })
        )
    }
    return Effect.map(Effect.either(capture.launch(launcher, launch, undefined)), (end) => {
      flight?.finish(outcomeOf(spec, end))
    })
  }
