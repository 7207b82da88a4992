/** Programs whose output is told while they run: each has a fiber of its own, as it has in this process. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { ProcessExit, Spec, Work } from "../../Driver.js"
import * as capture from "../process/capture.js"
import type { Launch, Launcher, LaunchFailure } from "../process/launcher.js"
import { tooLong } from "../process/unstarted.js"
import type { Bridge, Loaded } from "./bridge.js"
import type { Flight } from "./flight.js"
import { outcomeOf } from "./flight.js"

export const isLive = (program: Work): boolean => program._tag === "executable" && program.capture.onChunk !== undefined

/** Dask may have run it before: that was told while it ran, and is no part of the result. */
const ofLastRun = ({ asked }: Flight, exit: ProcessExit): ProcessExit => {
  if (asked === undefined) return exit
  const { stderr, stdout } = asked.before
  const rest = (text: ProcessExit["stdout"], from: number) => (text instanceof Uint8Array ? text.subarray(from) : text)
  return {
    ...exit,
    ...(stdout === 0 ? {} : { stdout: rest(exit.stdout, stdout) }),
    ...(stderr === 0 ? {} : { stderr: rest(exit.stderr, stderr) })
  } as ProcessExit
}

/** Runs to the end, and tells it. */
export const make =
  (fly: (spec: Spec) => Flight, load: (flight: Flight, launch: Launch) => Loaded, bridge: Bridge) =>
  (spec: Spec, launch: Launch): Effect.Effect<void> => {
    const flight = fly(spec)
    const launcher: Launcher = {
      check: () => Effect.void,
      kill: Effect.void,
      launch: (launch) =>
        Effect.acquireUseRelease(
          Effect.try({
            try: () => {
              bridge.submit([load(flight, launch)])
              return flight
            },
            // longer than a frame, as no arguments may be
            catch: (cause): LaunchFailure =>
              cause instanceof RangeError
                ? tooLong(launch, {}, cause)
                : { reason: "LaunchFailed", details: { message: (cause as Error).message }, cause }
          }),
          (flight) =>
            Effect.async<ProcessExit, LaunchFailure>((resume) => {
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
      flight.say(
        outcomeOf(
          spec,
          Either.map(end, (exit) => ofLastRun(flight, exit))
        )
      )
    })
  }
