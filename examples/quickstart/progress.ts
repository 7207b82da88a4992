/** Live progress from the events of the backends: a line that updates itself on a terminal, a few lines elsewhere. */
import { Terminal } from "@effect/platform"
import { Data, Effect, Equal, HashMap, Stream } from "effect"
import { Backend } from "effect-rhapsody"
import type { StateChange, TaskState } from "effect-rhapsody/TaskState"

interface Counts {
  readonly done: number
  readonly running: number
  readonly retried: number
  readonly failed: number
}

const count = (latest: HashMap.HashMap<string, StateChange>): Counts => {
  const tasks = HashMap.toValues(latest)
  const having = (state: TaskState) => tasks.filter((task) => task.state === state).length
  return Data.struct({
    done: having("COMPLETED"),
    running: having("EXECUTING"),
    retried: tasks.filter(({ attempt }) => attempt > 1).length,
    failed: having("FAILED")
  })
}

/** Subscribes before it returns, so that no event is missed; the fiber ends with the last of `total` tasks. */
export const follow = (total: number) =>
  Effect.gen(function* () {
    const terminal = yield* Terminal.Terminal
    const isTTY = yield* terminal.isTTY
    const width = Math.min(24, Math.max(0, (yield* terminal.columns) - 52))
    // Programs and functions may have a backend each, or share one.
    const executables = yield* Backend.forKind("executable")
    const functions = yield* Backend.forKind("function")
    const events = yield* Effect.forEach(new Set([executables, functions]), (backend) => backend.events)

    const clear = isTTY ? "\r\x1b[2K" : ""
    const show = ({ done, failed, retried, running }: Counts) => {
      const filled = Math.round((width * done) / total)
      const bar = `${"█".repeat(filled)}${"░".repeat(width - filled)} `
      const line = `${done}/${total} done, ${running} running, ${retried} retried, ${failed} failed`
      return terminal.display(isTTY ? `${clear}${bar}${line}` : `${line}\n`)
    }
    const quarter = ({ done }: Counts) => Math.floor((4 * done) / total)

    return yield* Stream.mergeAll(events, { concurrency: "unbounded" }).pipe(
      Stream.filter((event) => event._tag === "StateChange"),
      Stream.tap(({ attempt, reason, state, uid }) =>
        state === "RETRYING"
          ? terminal.display(`${clear}${uid}: attempt ${attempt} failed (${reason}), another follows\n`)
          : Effect.void
      ),
      Stream.scan(HashMap.empty<string, StateChange>(), (latest, event) => HashMap.set(latest, event.uid, event)),
      Stream.map(count),
      Stream.changesWith((a, b) => (isTTY ? Equal.equals(a, b) : quarter(a) === quarter(b))),
      Stream.tap(show),
      Stream.takeUntil(({ done }) => done === total),
      Stream.runFold(count(HashMap.empty()), (_, counts) => counts),
      Effect.ensuring(isTTY ? Effect.ignore(terminal.display("\n")) : Effect.void),
      Effect.forkScoped
    )
  })
