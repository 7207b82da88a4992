/** Tasks whose programs this user cannot kill: says how each of them ended, after the backend has closed. */
import * as fs from "node:fs"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import type { TaskError } from "effect-rhapsody/Errors"

const { launcher, place, sleeper } = JSON.parse(process.argv[2]!) as {
  readonly launcher: "agent" | "node"
  /** A directory that everyone may write in. */
  readonly place: string
  /** A program that becomes root, makes the file that it is given, and sleeps. */
  readonly sleeper: string
}

const Run = Task.executable("Run", {
  payload: { script: Schema.String },
  command: ({ script }) => ({ executable: "sh", args: ["-c", script] })
})

const made = (file: string) =>
  Effect.sync(() => fs.existsSync(file)).pipe(
    Effect.repeat({ until: (there) => there, schedule: Schedule.spaced("10 millis") })
  )

const ended = (exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return "success"
  const { details, reason } = Option.getOrThrow(Cause.failureOption(exit.cause)) as TaskError
  return { reason, stopped: details["stopped"] }
}
/** Submitted, and running as root. */
const running = (name: string, script: (file: string) => string, options?: Task.Options) =>
  Effect.gen(function* () {
    const file = `${place}/${name}`
    const fiber = yield* ExecutionBackend.submit(Run.make({ script: script(file) }, options))
    yield* made(file)
    return fiber
  })
const single = (file: string) => `exec ${sleeper} ${file}`

const program = Effect.gen(function* () {
  const said: Record<string, unknown> = {}
  const cancel = (what: string, fiber: Effect.Effect.Success<ReturnType<typeof running>>) =>
    Effect.gen(function* () {
      yield* ExecutionBackend.cancel(fiber)
      said[what] = ended(yield* Fiber.await(fiber))
    })
  yield* cancel("a program", yield* running("single", single))
  yield* cancel("a child of a program", yield* running("child", (file) => `${sleeper} ${file} & wait`))
  const print = (file: string) => `exec ${sleeper} ${file} print`
  const prints = yield* running("prints", print, { capture: { limit: 1000 } })
  said["a program that prints too much"] = ended(yield* Fiber.await(prints))
  return { said, left: yield* running("left", single) }
})

const layer = ConcurrentBackend.layer({ launcher, forceKillAfter: "10 millis" })
Effect.runPromise(
  Effect.gen(function* () {
    const { left, said } = yield* Effect.provide(program, layer)
    said["a program that the backend closes over"] = ended(yield* Fiber.await(left))
    return said
  })
).then((said) => console.log(JSON.stringify(said)))
