/** Submits thousands of tasks at once, waits for the first `wanted` of them, cancels the rest, and says how all ended. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"

const { options, tasks, wanted } = JSON.parse(process.argv[2]!) as {
  readonly options: ConcurrentBackend.Options
  readonly tasks: number
  readonly wanted: number
}

const Echo = Task.executable("Echo", { command: () => ({ executable: "/bin/echo", args: ["on"] }) })

const program = Effect.gen(function* () {
  let [done, most] = [0, 0]
  const fibers = yield* Effect.replicateEffect(
    Effect.tap(ExecutionBackend.submit(Echo.make()), (fiber) => {
      fiber.addObserver((exit) => {
        if (Exit.isSuccess(exit) && exit.value === "on\n") done++
        most = Math.max(most, fs.readdirSync("/proc/self/fd").length)
      })
    }),
    tasks
  )
  for (const fiber of fibers.slice(0, wanted)) yield* Fiber.await(fiber)
  yield* ExecutionBackend.cancelAll
  const reasons: Record<string, number> = {}
  for (const exit of yield* Effect.forEach(fibers, Fiber.await)) {
    if (Exit.isSuccess(exit)) continue
    const { error } = exit.cause as unknown as { readonly error: { readonly reason: string } }
    reasons[error.reason] = (reasons[error.reason] ?? 0) + 1
  }
  return { limit: /open files +(\d+)/.exec(fs.readFileSync("/proc/self/limits", "utf8"))![1], most, done, reasons }
})

Effect.runPromise(Effect.provide(program, ConcurrentBackend.layer(options))).then((said) =>
  console.log(JSON.stringify(said))
)
