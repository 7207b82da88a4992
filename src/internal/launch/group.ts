/** Who is in a process group, by the system's process table. */
import * as fs from "node:fs"

/** The dead that are not reaped yet still are in their group; the table tells them apart. True where there is none. */
export const groupLives = (group: number): boolean => {
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
