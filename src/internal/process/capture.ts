/** What is captured in ways that no launcher knows of: reported while the program runs, or spilled to files. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type { ProcessExit } from "../../Driver.js"
import type { OutputChunk } from "../../TaskOptions.js"
import { beyond, Kept } from "./kept.js"
import type { Launch, Launcher, LaunchFailure } from "./launcher.js"
import { spilled } from "./spill.js"

type Stream = OutputChunk["stream"]

export const launch = (
  launcher: Launcher,
  launch: Launch,
  sandbox: string | undefined
): Effect.Effect<ProcessExit, LaunchFailure> => {
  const { onChunk, program } = launch
  const { overflow } = program.capture
  if (onChunk !== undefined) return streamed(launcher, launch, onChunk)
  return overflow === "spill" ? spilled(launcher, launch, sandbox) : launcher.launch(launch)
}

/** It printed more than it may: no failure, because its exit is known. */
class TooMuch {
  constructor(readonly stream: Stream) {}
}

/** One piece after the other, in the order of coming; kept for the result as well, as the limit allows. */
const streamed = (
  launcher: Launcher,
  launch: Launch,
  onChunk: (chunk: OutputChunk) => Effect.Effect<void>
): Effect.Effect<ProcessExit, LaunchFailure> =>
  Effect.suspend(() => {
    const { limit, overflow } = launch.program.capture
    const kept = { stdout: new Kept(limit), stderr: new Kept(limit) }
    let tooMuch: TooMuch | undefined
    /** How it ended: by itself, or because it printed too much. */
    let ended: ProcessExit = { signal: "SIGKILL" }
    /** No chunk is taken any more: what still comes must hold up neither the program nor its launcher. */
    let over = false
    const keep = ({ bytes, stream }: OutputChunk): void => {
      // of what is stopped already it is no matter any more
      if (!kept[stream].add(bytes) && overflow !== "truncate" && !over) tooMuch ??= new TooMuch(stream)
    }
    const leave = (chunk: OutputChunk, taken: () => void): void => {
      keep(chunk)
      taken()
    }
    const whole = (exit: ProcessExit): ProcessExit => ({
      ...exit,
      ...(exit.stdoutPath === undefined ? { stdout: kept.stdout.whole() } : {}),
      stderr: kept.stderr.whole(),
      ...beyond(kept)
    })
    return Effect.flatMap(
      // bounded by the window of the launcher
      Queue.unbounded<{ readonly chunk: OutputChunk; readonly taken: () => void } | undefined>(),
      (queue) => {
        const next: Effect.Effect<void, TooMuch> = Effect.flatMap(Queue.take(queue), (given) => {
          if (given === undefined) return Effect.void
          const { chunk, taken } = given
          keep(chunk)
          if (tooMuch !== undefined) return Effect.fail(tooMuch)
          // an `onChunk` that cannot be interrupted must not hold up the program
          return Effect.zipRight(
            Effect.disconnect(Effect.suspend(() => onChunk(chunk))),
            Effect.suspend(() => {
              taken()
              return next
            })
          )
        })
        const consume = Effect.ensuring(
          next,
          Effect.suspend(() => {
            over = true
            return Effect.map(Queue.takeAll(queue), (rest) => {
              for (const given of rest) {
                if (given !== undefined) leave(given.chunk, given.taken)
              }
            })
          })
        )
        const program: Launch = {
          ...launch,
          live: {
            give: (chunk, taken) => {
              if (over) leave(chunk, taken)
              else queue.unsafeOffer({ chunk, taken })
            }
          },
          stopped: (exit) => {
            if (tooMuch === undefined) launch.stopped?.(whole(exit))
            else ended = { ...exit, exitCode: undefined, signal: "SIGKILL" } // however the program reacted to being stopped
          },
          get grace() {
            return tooMuch === undefined ? launch.grace : 0
          }
        }
        const run = Effect.flatMap(launcher.launch(program), (exit) => {
          ended = exit
          return Queue.offer(queue, undefined)
        })
        return Effect.zip(run, consume, { concurrent: true }).pipe(
          Effect.as(undefined),
          Effect.catchIf(
            (failure) => failure === tooMuch,
            () => Effect.succeed(tooMuch)
          ),
          Effect.map((tooMuch) =>
            tooMuch === undefined ? whole(ended) : { ...whole(ended), overflow: tooMuch.stream }
          )
        ) as Effect.Effect<ProcessExit, LaunchFailure>
      }
    )
  })
