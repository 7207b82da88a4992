/** Waits for all tasks: for those that live, and answers for those that ended since the last answer. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { BackendError, isBackendError, isTaskError, TaskError } from "../../../Errors.js"
import type { AwaitOptions, Completions } from "../../../ExecutionBackend.js"
import { millisOf } from "../../options/values.js"
import type { Engine } from "../engine.js"
import type { TaskRecord } from "../run/taskRecord.js"

/** What fail-fast fails with: ours as it is, a user's own inside of one. */
const failureOf = (uid: string, task: string, exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return undefined
  const error = Cause.squash(exit.cause)
  if (isTaskError(error) || isBackendError(error)) return error
  return new TaskError({
    taskUid: uid,
    task,
    reason: Cause.isInterrupted(exit.cause) ? "Canceled" : "Failed",
    cause: error
  })
}

/** A task is live a moment before it has its fiber. */
const forked = (record: TaskRecord): Effect.Effect<void> =>
  record.fiber === undefined ? Effect.flatMap(Effect.yieldNow(), () => forked(record)) : Effect.void

export const make =
  (type: string, { completions, timers, scheduler, parentOf, waiting, withName }: Engine) =>
  ({ failFast = false, timeout }: AwaitOptions = {}): Effect.Effect<Completions, TaskError | BackendError> =>
    Effect.withFiberRuntime((caller) => {
      // a task that asks does not wait for itself, nor for those that wait for it
      const by = parentOf(caller)
      const own = by === undefined ? undefined : scheduler.dependents(by)
      const entries = [...scheduler.live.values()].filter((record) => !own?.has(record))
      const { answered, forgotten, known } = completions.snapshot()
      const failedWith = (uid: string, error: TaskError | BackendError) => {
        completions.forget(new Set([uid]))
        return Effect.fail(error)
      }
      if (failFast) {
        for (const { exit, task, uid } of known) {
          const error = failureOf(uid, task, exit)
          if (error !== undefined) return failedWith(uid, error)
        }
      }
      const exits = new Map<string, Exit.Exit<unknown, unknown>>()
      const ended = Effect.async<void, TaskError | BackendError>((resume) => {
        const observers = entries.map((record) => {
          record.awaited = true
          const observer = (exit: Exit.Exit<unknown, unknown>) => {
            exits.set(record.uid, exit)
            const error = failFast ? failureOf(record.uid, record.name, exit) : undefined
            if (error !== undefined) resume(Effect.suspend(() => failedWith(record.uid, error)))
            else if (exits.size === entries.length) resume(Effect.void)
          }
          record.fiber?.addObserver(observer)
          return observer
        })
        if (entries.length === 0) resume(Effect.void)
        return Effect.sync(() => {
          for (const [i, record] of entries.entries()) record.fiber?.removeObserver(observers[i]!)
        })
      })
      const observed = Effect.zipRight(Effect.forEach(entries, forked, { discard: true }), ended)
      const all = by === undefined ? observed : waiting(by, entries, observed)
      const answer = (): Completions => {
        const all = new Map(known.map(({ exit, uid }) => [uid, exit]))
        for (const { uid } of entries) if (exits.has(uid)) all.set(uid, exits.get(uid)!)
        answered(all)
        return Object.assign(all, { forgotten })
      }
      if (timeout === undefined) return Effect.map(all, answer)
      const late = Effect.flatMap(timers.sleep(millisOf(timeout)!), () => {
        const [completed, total] = [known.length + exits.size, known.length + entries.length]
        const details = { message: `${completed}/${total} completed`, completed, total }
        return Effect.fail(withName(new BackendError({ backendType: type, reason: "Timeout", details })))
      })
      return Effect.map(Effect.raceFirst(all, late), answer)
    })
