// The processes below this one, as the system shows them.
import { existsSync, readdirSync, readFileSync } from "node:fs"

/** Empty for a process that ended meanwhile. */
const read = (path: string): string => {
  try {
    return readFileSync(path, "latin1")
  } catch {
    return ""
  }
}

const children = (pid: number): ReadonlyArray<number> => {
  const tasks = existsSync(`/proc/${pid}/task`) ? readdirSync(`/proc/${pid}/task`) : []
  return tasks.flatMap((task) => (read(`/proc/${pid}/task/${task}/children`).match(/\d+/g) ?? []).map(Number))
}

export interface Process {
  readonly pid: number
  /** Program and arguments. */
  readonly command: ReadonlyArray<string>
}

export const descendants = (pid = process.pid): ReadonlyArray<Process> =>
  children(pid).flatMap((pid) => [{ pid, command: read(`/proc/${pid}/cmdline`).split("\0") }, ...descendants(pid)])

export const isAgent = ({ command }: Process): boolean => command.includes("effect-rhapsody launch agent")

/** Keepers and agents. */
export const agents = (): ReadonlyArray<number> =>
  descendants()
    .filter(isAgent)
    .map(({ pid }) => pid)

export const isThere = (pid: number): boolean => existsSync(`/proc/${pid}`)

/** Resident memory of processes in MB, and what it was at most; each counts what it shares with others. */
export const memoryOf = (pids: ReadonlyArray<number>): { readonly rss: number; readonly peak: number } => {
  const sum = (key: string) =>
    pids.reduce((sum, pid) => {
      const kilobytes = new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(read(`/proc/${pid}/status`))?.[1]
      return sum + (Number(kilobytes ?? 0) * 1024) / 1e6
    }, 0)
  return { rss: sum("VmRSS"), peak: sum("VmHWM") }
}

/** CPU time that processes have used, microseconds, in steps of 10 ms each. */
export const cpuOf = (pids: ReadonlyArray<number>): number =>
  pids.reduce((sum, pid) => {
    // after the name, which may contain anything, the 12th and 13th field: of its own, user and system
    const fields = read(`/proc/${pid}/stat`).split(") ").at(-1)!.split(" ")
    return sum + (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * 10_000
  }, 0)
