/**
 * Interpreters that have not said hello: each may hang before it watches for the end of this process. Until then a
 * keeper does, one for all that start at the same time.
 */
import type { ChildProcess } from "node:child_process"
import { Keeper } from "./nodeKeeper.js"

let keeper: Keeper | undefined
let starting = 0

/** Starts a process that leads its group. When this process is gone before the release, the whole group is killed. */
export const untilReleased = (
  start: () => ChildProcess
): { readonly child: ChildProcess; readonly release: () => void } => {
  keeper ??= new Keeper()
  const mine = keeper
  let group: number | undefined
  let released = false
  const release = () => {
    if (released) return
    released = true
    if (group !== undefined) mine.remove(group)
    if (--starting > 0) return
    keeper = undefined
    mine.close(() => {})
  }
  starting++
  mine.ready()
  try {
    const child = start()
    group = child.pid
    if (group === undefined) release()
    else mine.add(group)
    return { child, release }
  } catch (cause) {
    release()
    throw cause
  }
}
