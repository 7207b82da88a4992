/**
 * The launcher of a backend: launch agents where a Python is found, else Node itself. Decided with the first program,
 * for a backend that only runs functions needs neither.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as FiberId from "effect/FiberId"
import * as Scope from "effect/Scope"
import type { Executable } from "../../Driver.js"
import { ConfigurationError } from "../../Errors.js"
import type { Time } from "../bridge/channel.js"
import * as agentLauncher from "./agentLauncher.js"
import type { Launcher } from "./launcher.js"
import * as nodeLauncher from "./nodeLauncher.js"
import { interpreters } from "./python.js"

/** Which launcher: `"auto"` takes Node where no agent can be started. */
export type Choice = "auto" | "agent" | "node"

export interface Options {
  readonly launcher: Choice
  /** The interpreter for the agents, instead of the usual names. */
  readonly python: string | undefined
  /** The usual names. */
  readonly names?: ReadonlyArray<string>
  /** How many programs there are at the same time: one agent is enough for one. */
  readonly width: number
  readonly silence?: number | undefined
  readonly orchestratorSilence?: number | undefined
  readonly time?: Time | undefined
}

/** What a program inherits: the environment of this process at this moment. */
export const snapshot = (): NodeJS.ProcessEnv => ({ ...process.env })

/** The first interpreter that can run an agent; fails with what each of them said. */
const withAgents = (
  { names = interpreters, orchestratorSilence, python, silence, time, width }: Options,
  env: NodeJS.ProcessEnv
): Effect.Effect<Launcher, ReadonlyArray<string>, Scope.Scope> => {
  const attempt = (python: string) =>
    Effect.mapError(
      agentLauncher.make({
        python,
        env,
        agents: Math.min(2, width),
        ...(silence === undefined ? {} : { silence }),
        ...(orchestratorSilence === undefined ? {} : { orchestratorSilence }),
        ...(time === undefined ? {} : { time })
      }),
      ({ message }) => message
    )
  if (process.platform !== "linux")
    return Effect.fail([`the launch agent runs on Linux, and this is ${process.platform}`])
  return Effect.mapError(Effect.validateFirst(python === undefined ? names : [python], attempt), (reasons) => [
    ...new Set(reasons)
  ])
}

/** Of what an interpreter printed the last line alone, which says what it was. */
const oneLine = (reason: string): string => {
  const [first, ...rest] = reason.split("\n")
  return rest.length === 0 ? first! : first!.replace(/; its stderr ends with:$/, `: ${rest.at(-1)}`)
}

export const make = (options: Options): Effect.Effect<Launcher, ConfigurationError, Scope.Scope> =>
  Effect.gen(function* () {
    const env = snapshot()
    // made now, so that it closes after the users of the launcher, although the agents come later
    const scope = yield* Scope.fork(yield* Effect.scope, ExecutionStrategy.sequential)
    if (options.launcher === "node") return yield* Scope.extend(nodeLauncher.make(env), scope)
    if (options.launcher === "agent" || options.python !== undefined) {
      return yield* Effect.mapError(
        withAgents(options, env),
        (reasons) =>
          new ConfigurationError({
            configKey: options.python === undefined ? "launcher" : "python",
            reason: "InvalidOption",
            details: {
              message: `no launch agent can be started; install Python 3.8 or later, or use "node": ${reasons.join("; ")}`
            }
          })
      )
    }

    let decided: Launcher | undefined
    let killed = false
    let deciding: Deferred.Deferred<Launcher> | undefined
    const decide = withAgents(options, env).pipe(
      Effect.catchAll((reasons) =>
        Effect.logWarning(
          `no launch agent could be started, so programs are launched through Node, which is slower and has the limits in the documentation of ConcurrentBackend; to use the launch agent, install Python 3.8 or later. Why it could not be started: ${reasons.map(oneLine).join("; ")}`
        ).pipe(
          Effect.zipRight(Effect.logDebug(`no launch agent: ${reasons.join("; ")}`)),
          Effect.zipRight(nodeLauncher.make(env))
        )
      ),
      Scope.extend(scope),
      Effect.tap((launcher) => {
        decided = launcher
        return killed ? launcher.kill : Effect.void
      })
    )
    // in the backend's scope: the task that asked first may end before the launcher is there
    const launcher: Effect.Effect<Launcher> = Effect.suspend(() => {
      if (decided !== undefined) return Effect.succeed(decided)
      if (deciding !== undefined) return Deferred.await(deciding)
      const waiting = Deferred.unsafeMake<Launcher>(FiberId.none)
      deciding = waiting
      return Effect.zipRight(
        Effect.forkIn(
          // also when it is interrupted, as the backend closes
          Effect.onExit(decide, (exit) => Deferred.done(waiting, exit)),
          scope
        ),
        Deferred.await(waiting)
      )
    })

    return {
      check: (program: Executable) =>
        Effect.catchAll(nodeLauncher.check(program), () => Effect.flatMap(launcher, (_) => _.check(program))),
      launch: (launch) => Effect.flatMap(launcher, (_) => _.launch(launch)),
      kill: Effect.suspend(() => {
        killed = true
        return decided === undefined ? Effect.void : decided.kill
      })
    } satisfies Launcher
  })
