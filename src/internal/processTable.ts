/** The processes of this machine, by the table of the system. */
import * as fs from "node:fs"

export interface Stat {
  readonly state: string
  readonly parent: number
  readonly group: number
  readonly session: number
  readonly born: string
}

export const statOf = (pid: number): Stat | undefined => {
  try {
    const text = fs.readFileSync(`/proc/${pid}/stat`, "latin1")
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ")
    return {
      state: fields[0]!,
      parent: Number(fields[1]),
      group: Number(fields[2]),
      session: Number(fields[3]),
      born: fields[19]!
    }
  } catch {
    return undefined // it ended
  }
}

export const lives = ({ state }: Stat) => state !== "Z" && state !== "X"

/** All that there are, in one pass over the system's table. */
export const processes = (): ReadonlyMap<number, Stat> => {
  const found = new Map<number, Stat>()
  for (const name of fs.readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? statOf(Number(name)) : undefined
    if (stat !== undefined) found.set(Number(name), stat)
  }
  return found
}
