/** Finding the processes of a task: by a variable in their environment, which what they start inherits. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import { same } from "./check.js"

export const markName = "RHAPSODY_MARK"

/** Processes with this mark, or those of a program; the dead that wait to be reaped are none. */
export const marked = (mark: string, program?: string): ReadonlyArray<number> =>
  fs
    .readdirSync("/proc")
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return (
          (program === undefined || fs.readFileSync(`/proc/${pid}/comm`, "latin1") === `${program}\n`) &&
          fs.readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`${markName}=${mark}`) &&
          !/^State:\s+[ZX]/m.test(fs.readFileSync(`/proc/${pid}/status`, "latin1"))
        )
      } catch {
        return false // ended meanwhile
      }
    })
    .map(Number)

let serial = 0
export const newMark = Effect.sync(() => `${process.pid}-${++serial}`)
export const markEnv = (mark: string) => ({ [markName]: mark })

export const alive = (mark: string, program?: string) => Effect.sync(() => marked(mark, program).length)
export const noneLeft = (mark: string) => Effect.flatMap(alive(mark), (left) => same(left, 0, "processes left"))
