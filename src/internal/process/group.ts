/** Who is in a process group, by the system's process table. */
import { lives, processes } from "../processTable.js"

/** From when on, in milliseconds, the process table is read: before, the group may only not be reaped yet. */
const zombieGrace = 7

/** Processes that are dead and not reaped yet are still in their group: the process table shows which those are. True where there is no table. */
const groupLives = (group: number): boolean => {
  try {
    return [...processes().values()].some((stat) => stat.group === group && lives(stat))
  } catch {
    return true
  }
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
