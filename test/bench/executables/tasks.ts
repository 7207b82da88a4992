// Tasks with what they must come to, and the subscriber that counts their events.
import { Effect, Fiber, Schema, Stream } from "effect"
import { ExecutionBackend, Task } from "effect-rhapsody"

/** What a task is given, and prints if its program does. */
export const nameOf = (number: number) => `task.${String(number).padStart(6, "0")}`
export const printed = (executable: string, number: number) =>
  executable.endsWith("echo") ? `${nameOf(number)}\n` : ""

const known = new Map<string, ReturnType<typeof define>>()

/** The programs of one kind: an exit code other than 0 fails the task, and other output is the end of the bench. */
export const tasksOf = (executable: string) => {
  const tasks = known.get(executable) ?? define(executable)
  known.set(executable, tasks) // one definition for a whole campaign, as programs have it
  return tasks
}

const define = (executable: string) => {
  const Program = Task.executable("Program", {
    payload: { text: Schema.String },
    command: ({ text }) => ({ executable, args: [text] })
  })
  return {
    submit: (number: number) => ExecutionBackend.submit(Program.make({ text: nameOf(number) })),
    join: (fiber: ExecutionBackend.FiberOf<ReturnType<typeof Program.make>>, number: number) =>
      Effect.flatMap(Fiber.join(fiber), (output) =>
        output === printed(executable, number)
          ? Effect.void
          : Effect.dieMessage(`${nameOf(number)} printed ${JSON.stringify(output)}`)
      )
  }
}

/** `count` tasks, one call for each, all of them submitted before the first is waited for. */
export const runAll = (executable: string, count: number) =>
  Effect.gen(function* () {
    const tasks = tasksOf(executable)
    const fibers = yield* Effect.forEach(Array.from({ length: count }), (_, i) => tasks.submit(i))
    yield* Effect.forEach(fibers, tasks.join, { discard: true })
  })

const states = ["NEW", "READY", "EXECUTING", "COMPLETED"] as const

/** Counts the events of the next `count` tasks; answers with what waits until all are there. */
export const countEvents = (count: number) =>
  Effect.gen(function* () {
    const seen: Record<string, number> = {}
    const events = yield* ExecutionBackend.events
    const fiber = yield* Effect.fork(
      Stream.runForEachChunk(Stream.take(events, states.length * count), (chunk) =>
        Effect.suspend(() => {
          for (const event of chunk) {
            if (event._tag !== "StateChange") return Effect.dieMessage(`${event._tag}: ${JSON.stringify(event)}`)
            seen[event.state] = (seen[event.state] ?? 0) + 1
          }
          return Effect.void
        })
      )
    )
    const complete = Effect.suspend(() =>
      states.every((state) => seen[state] === count) ? Effect.void : Effect.dieMessage(JSON.stringify(seen))
    )
    return { all: Effect.zipRight(Fiber.join(fiber), complete) }
  })
