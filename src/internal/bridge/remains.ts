/** Processes that have to be ended from here, because what should end them cannot any more. Known by identity. */
import * as fs from "node:fs"
import { lives, processes, statOf } from "../processTable.js"

/** A process and no later one of the same number: when it was started, in the system's ticks. */
export interface Identity {
  readonly pid: number
  readonly born: string
}

export const identityOf = (pid: number): Identity | undefined => {
  const stat = statOf(pid)
  return stat === undefined ? undefined : { pid, born: stat.born }
}

const isThere = ({ born, pid }: Identity): boolean => {
  const stat = statOf(pid)
  return stat !== undefined && stat.born === born && lives(stat)
}

export const kill = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal)
  } catch {} // it ended, or is another user's
}

export const signal = (one: Identity | undefined, name: NodeJS.Signals): void => {
  if (one !== undefined && isThere(one)) kill(one.pid, name)
}

/** Whether its environment names this task. */
const isOf = (pid: number, uid: string): boolean => {
  try {
    const environment = fs.readFileSync(`/proc/${pid}/environ`, "utf8")
    return environment.split("\0").includes(`RHAPSODY_TASK_UID=${uid}`)
  } catch {
    return false // it ended
  }
}

/** What lives below these; a dead one that was not reaped has its children still for a moment. */
const below = (roots: ReadonlySet<number>): ReadonlyArray<number> => {
  const all = processes()
  const known = new Map<number, boolean>([...roots].map((pid) => [pid, true]))
  const isBelow = (pid: number): boolean => {
    const before = known.get(pid)
    if (before !== undefined) return before
    known.set(pid, false) // the table may have changed while it was read: no circle
    const stat = all.get(pid)
    const answer = stat !== undefined && isBelow(stat.parent)
    known.set(pid, answer)
    return answer
  }
  return [...all].flatMap(([pid, stat]) => (!roots.has(pid) && lives(stat) && isBelow(pid) ? [pid] : []))
}

/** Milliseconds for which what is killed may take to be gone, and between two looks. */
const patience = 2000
const interval = 20

/**
 * Kills what is below these processes, then themselves. While they are there, even stopped, orphans of theirs stay below
 * them, so that `done` can say whether nothing is left; false where none of them is there any more.
 */
export const killTree = (all: ReadonlyArray<Identity>, done: (clean: boolean) => void): void => {
  const roots = all.filter(isThere)
  const pids = new Set(roots.map(({ pid }) => pid))
  const end = (clean: boolean) => {
    const kept = roots.every(isThere)
    for (const root of roots) signal(root, "SIGKILL")
    done(clean && kept && roots.length > 0)
  }
  const step = (waited: number): void => {
    const found = below(pids)
    if (found.length === 0 || waited > patience) end(found.length === 0)
    else {
      for (const pid of found) kill(pid, "SIGKILL")
      setTimeout(() => step(waited + interval), interval)
    }
  }
  step(0)
}

/** When keeper and agent were killed: what is still in the session of a program, and names its task. */
export const killSessions = (uids: ReadonlyMap<number | undefined, string>): void => {
  for (const [pid, { session }] of processes()) {
    const uid = uids.get(session)
    if (uid !== undefined && isOf(pid, uid)) kill(pid, "SIGKILL")
  }
}
