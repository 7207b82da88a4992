/** Who is in a process group, by the system's process table. */
import * as fs from "node:fs"

/** From when on, in milliseconds, the process table is read: before, the group may only not be reaped yet. */
const zombieGrace = 7

/** The dead that are not reaped yet still are in their group; the table tells them apart. True where there is none. */
const groupLives = (group: number): boolean => {
  let pids: Array<string>
  try {
    pids = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name))
  } catch {
    return true
  }
  return pids.some((pid) => {
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
      const [state, , itsGroup] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      return itsGroup === String(group) && state !== "Z" && state !== "X"
    } catch {
      return false // ended meanwhile
    }
  })
}

/** False when no process is in the group. */
export const signalGroup = (group: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    process.kill(-group, signal)
    return true
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code !== "ESRCH"
  }
}

/** Whether a process is left in a group that was waited for so long. */
export const groupLeft = (group: number, waited: number): boolean =>
  signalGroup(group, 0) && (waited < zombieGrace || groupLives(group))
