/** Programs whose output is reported while they run: each has a fiber of its own, as it has in this process. */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Attempt, ProcessExit } from "../../Driver.js"
import * as capture from "../process/capture.js"
import type { Launch, Launcher, LaunchFailure } from "../process/launcher.js"
import { tooLong } from "../process/unstarted.js"
import type { Bridge, EncodedTask } from "./bridge.js"
import type { AttemptInFlight, Kinds } from "./inFlight.js"
import { outcomeOf } from "./inFlight.js"

/** Dask may have run it before: the output of that run was reported while it ran, and is no part of the result. */
const ofLastRun = ({ asked }: AttemptInFlight, exit: ProcessExit): ProcessExit => {
  if (asked === undefined) return exit
  const { stderr, stdout } = asked.before
  const rest = (text: ProcessExit["stdout"], from: number) => (text instanceof Uint8Array ? text.subarray(from) : text)
  return {
    ...exit,
    ...(stdout === 0 ? {} : { stdout: rest(exit.stdout, stdout) }),
    ...(stderr === 0 ? {} : { stderr: rest(exit.stderr, stderr) })
  } as ProcessExit
}

/** Runs to the end, and reports it. */
export const make =
  (
    fly: (attempt: Attempt<Kinds>) => AttemptInFlight,
    load: (inFlight: AttemptInFlight, launch: Launch) => EncodedTask,
    bridge: Bridge
  ) =>
  (attempt: Attempt<Kinds>, launch: Launch): Effect.Effect<void> => {
    const inFlight = fly(attempt)
    const launcher: Launcher = {
      check: () => Effect.void,
      kill: Effect.void,
      launch: (launch) =>
        Effect.acquireUseRelease(
          Effect.try({
            try: () => {
              bridge.submit([load(inFlight, launch)])
              return inFlight
            },
            // longer than a frame, as no arguments may be
            catch: (cause): LaunchFailure =>
              cause instanceof RangeError
                ? tooLong(launch, {}, cause)
                : { reason: "LaunchFailed", details: { message: (cause as Error).message }, cause }
          }),
          (inFlight) =>
            Effect.async<ProcessExit, LaunchFailure>((resume) => {
              // without an end here, its end has been reported already, and no fiber waits for this one
              inFlight.live = { exit: (end) => resume(end ?? Effect.interrupt) }
            }),
          (inFlight) =>
            inFlight.ended
              ? Effect.void
              : Effect.async<void>((resume) => {
                  // it printed too much: that is its end, and not that it was stopped
                  inFlight.live = { exit: () => resume(Effect.void), quiet: true }
                  bridge.cancel([inFlight.id], launch.grace, "wait")
                })
        )
    }
    return Effect.map(Effect.either(capture.launch(launcher, launch, undefined)), (end) => {
      inFlight.say(
        outcomeOf(
          attempt.spec,
          Either.map(end, (exit) => ofLastRun(inFlight, exit))
        )
      )
    })
  }
