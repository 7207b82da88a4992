/** The cases of the end of the process that submits the tasks. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import { ConformanceError, same, until, within } from "./check.js"
import type { CaseWithNeed } from "./fixture.js"
import { folder } from "./fixture.js"
import { alive, marked, markName, newMark, noneLeft } from "./processProbe.js"
import type { Subject } from "./subject.js"

/** Starts the subject's own, with a mark that all it starts inherits. */
const started = ({ orchestrator }: Subject, variables: ReadonlyArray<string> = []) =>
  Effect.gen(function* () {
    if (orchestrator === undefined) return yield* new ConformanceError({ message: "the subject names no orchestrator" })
    const mark = yield* newMark
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => spawn("env", [`${markName}=${mark}`, ...variables, ...orchestrator], { stdio: "ignore" })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    return {
      child,
      mark,
      gone: until(
        Effect.map(alive(mark), (count) => count === 0),
        "its processes to end"
      )
    }
  })

/** Takes a moment to save its state when it is asked to end. */
const careful = (state: string) =>
  `trap 'sleep 0.3; echo saved > "${state}"; exit' TERM; echo runs > "${state}"; while :; do sleep 0.05; done`

/** Kills the subject's own while its script runs, of which two sleep; by default one of them leaves its group. */
const killed = (subject: Subject, variables?: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { child, gone, mark } = yield* started(subject, variables)
    yield* until(
      Effect.map(alive(mark, "sleep"), (count) => count >= 2),
      "its task to run"
    )
    child.kill("SIGKILL")
    yield* Effect.ignore(within(gone, "their end", 2))
    yield* noneLeft(mark)
  }).pipe(Effect.scoped)

export const orchestrated = (subject: Subject): ReadonlyArray<CaseWithNeed> => [
  {
    id: "process-orchestrator-killed",
    title: "no process of a program's group outlives this one, when it is killed with SIGKILL",
    need: "programs",
    run: killed(subject, ["RHAPSODY_SCRIPT=sh -c 'sleep 3600 & wait' & sleep 3600 & wait"])
  },
  {
    id: "process-orchestrator-killed-escape",
    title: "no process that left its program's group outlives this one either",
    need: "programs",
    run: killed(subject)
  },
  {
    id: "process-sigterm",
    title: "SIGTERM to every process, as batch systems and containers send it, leaves a program its grace period",
    need: "programs",
    run: Effect.gen(function* () {
      const state = path.join(yield* folder, "state")
      const read = Effect.sync(() => (fs.existsSync(state) ? fs.readFileSync(state, "utf8").trim() : ""))
      const { gone, mark } = yield* started(subject, [`RHAPSODY_SCRIPT=${careful(state)}`])
      yield* until(
        Effect.map(read, (state) => state === "runs"),
        "its task to run"
      )
      for (const pid of marked(mark)) yield* Effect.ignore(Effect.try(() => process.kill(pid, "SIGTERM")))
      yield* gone
      yield* same(yield* read, "saved", "the state of the program")
    }).pipe(Effect.scoped)
  }
]
