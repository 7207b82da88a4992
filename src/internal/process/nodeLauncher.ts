/**
 * Launches through `node:child_process`: one spawn per program, which blocks the event loop for about a millisecond.
 *
 * Limits, by design of Node: arguments and variables must be UTF-8, as must what is inherited; a process that leaves
 * its group (`setsid`, but also `timeout` inside of a script) is not found; pipes are sockets, so that a program cannot
 * open /dev/stdout or /dev/stderr, only write to them; death by a real-time signal is reported as exit code 0. When this
 * process is killed, a keeper (nodeKeeper.ts) kills the groups of its programs.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import type { Executable, ProcessExit } from "../../Driver.js"
import type { ConfigurationErrorReason } from "../../Errors.js"
import { ConfigurationError } from "../../Errors.js"
import type { Text } from "../../TaskOptions.js"
import type { Launch, Launcher, LaunchFailure } from "./launcher.js"
import { valueOf } from "./launcher.js"
import { Keeper } from "./nodeKeeper.js"
import { ChildProcess } from "./nodeProcess.js"

// ignoreBOM keeps a byte order mark, which is three bytes like any others here
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
/** Bytes that no argument or variable may have on any system: what is longer is reported as such. */
const longest = 64 * 1024 * 1024

const text = (value: Text): string => {
  if (value.length > longest) throw Object.assign(new Error("Argument list too long"), { code: "E2BIG" })
  return typeof value === "string" ? value : utf8.decode(value)
}

const undecodable = (value: Text): boolean => {
  if (typeof value === "string" || value.length > longest) return false
  try {
    utf8.decode(value)
    return false
  } catch {
    return true
  }
}

export const check = ({
  args,
  capture,
  env,
  executable,
  rlimits,
  nice
}: Executable): Effect.Effect<void, ConfigurationError> => {
  const refuse = (configKey: string, reason: ConfigurationErrorReason, message: string) =>
    Effect.fail(new ConfigurationError({ configKey, reason, details: { message } }))
  const bytes = "these bytes are not UTF-8, and Node cannot pass them on unchanged; pass them on stdin or in a file"
  const agent = "only the launch agent can set it: install Python 3.8 or later"
  if (undecodable(executable)) return refuse("executable", "InvalidPayload", bytes)
  const arg = args.findIndex(undecodable)
  if (arg >= 0) return refuse(`args[${arg}]`, "InvalidPayload", bytes)
  for (const name in env) {
    const value = env[name]
    if (value instanceof Uint8Array && undecodable(value)) return refuse(`env.${name}`, "InvalidPayload", bytes)
  }
  if (rlimits !== undefined && Object.values(rlimits).some((limit) => limit !== undefined)) {
    return refuse("rlimits", "UnsupportedOption", agent)
  }
  if (capture.streaming && capture.mergeStderr && capture.stdout === undefined) {
    const message =
      "only the launch agent can report merged streams while the program runs: install Python 3.8 or later"
    return refuse("capture.onChunk", "UnsupportedOption", message)
  }
  if (nice !== undefined) return refuse("nice", "UnsupportedOption", agent)
  return Effect.void
}

const environment = (inherited: NodeJS.ProcessEnv, launch: Launch): NodeJS.ProcessEnv => {
  const all: NodeJS.ProcessEnv = Object.assign(Object.create(null), inherited, launch.env) // __proto__ is a name, too
  for (const [name, variable] of Object.entries(launch.program.env)) {
    const value = valueOf(launch, name, variable)
    if (value === undefined) delete all[name]
    else all[name] = text(value)
  }
  return all
}

// If this process ends without closing its scopes (process.exit, an uncaught error), its children end with it.
const running = new Set<ChildProcess>()
const killAll = () => {
  for (const child of running) child.kill("SIGKILL")
}
const track = (child: ChildProcess) => {
  if (running.size === 0) process.on("exit", killAll)
  running.add(child)
}
const untrack = (child: ChildProcess) => {
  running.delete(child)
  if (running.size === 0) process.off("exit", killAll)
}

const spawn = (inherited: NodeJS.ProcessEnv, keeper: Keeper, launch: Launch) =>
  Effect.async<ChildProcess, LaunchFailure>((resume) => {
    const child = new ChildProcess(
      launch,
      keeper,
      text,
      inherited,
      () => environment(inherited, launch),
      (failure) => {
        if (failure !== undefined) return resume(Effect.fail(failure))
        track(child)
        resume(Effect.succeed(child))
      }
    )
  })

/** Between two programs nothing is won here by knowing the next. */
const slot = ({ early }: Launch): Effect.Effect<void> =>
  early === undefined || early.permission === "go"
    ? Effect.void
    : Effect.async((resume) => early.listen((word) => (word === "go" ? resume(Effect.void) : undefined)))

const keeper = Effect.acquireRelease(
  Effect.sync(() => new Keeper()),
  (keeper) => Effect.async<void>((resume) => keeper.close(() => resume(Effect.void)))
)

/** Its scope closes after all that it launched has ended. */
export const make = (inherited: NodeJS.ProcessEnv): Effect.Effect<Launcher, never, Scope.Scope> =>
  Effect.map(keeper, (keeper) => {
    const children = new Set<ChildProcess>()
    let killed = false

    return {
      check,
      launch: (launch) =>
        Effect.acquireUseRelease(
          Effect.zipRight(
            Effect.interruptible(slot(launch)),
            Effect.tap(spawn(inherited, keeper, launch), (child) => children.add(child))
          ),
          (child) =>
            Effect.async<ProcessExit, LaunchFailure>((resume) => {
              launch.started()
              child.onEnd(resume)
            }),
          (child) =>
            Effect.ensuring(
              child.ended
                ? Effect.void
                : Effect.async<void>((resume) =>
                    child.stop(killed ? 0 : launch.grace, (end) => {
                      if (Either.isRight(end)) launch.stopped?.(end.right)
                      resume(Effect.void)
                    })
                  ),
              Effect.sync(() => {
                children.delete(child)
                untrack(child)
              })
            )
        ),
      kill: Effect.sync(() => {
        killed = true
        for (const child of children) child.kill("SIGKILL")
      })
    }
  })
