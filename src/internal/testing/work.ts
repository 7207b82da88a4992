/** What the cases run: a task that does as its payload says, as a function and as a program. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Task from "../../Task.js"

/** The task's own failure. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", { value: Schema.Number }) {}

/**
 * `echo` gives `value`; `fail` fails with `Refused`; `die` dies, or as a program is killed by itself; `hold` never ends;
 * `linger` neither, and takes a while to stop; `deaf` neither, and does not heed that it should; `flaky` fails until
 * attempt `value`; `wrong` gives what the success schema refuses.
 */
export const How = Schema.Literal("echo", "fail", "die", "hold", "linger", "deaf", "flaky", "wrong")
export type How = typeof How.Type

export interface Payload {
  readonly how: How
  readonly value: number
}

const fields = { how: How, value: Schema.Number }
const Result = Schema.Struct({ value: Schema.Number })
type Result = typeof Result.Type

/** As a function. Its handler is `FunctionWorkLive`; a driver that has no handlers does what `behave` does. */
export const FunctionWork = Task.function("Work", { payload: fields, success: Result, error: Refused })

const lingering = new Set<number>()

/** Whether a `linger` of this value runs in this process, by `behave`. */
export const lingers = (value: number): Effect.Effect<boolean> => Effect.sync(() => lingering.has(value))

export const behave = (
  { how, value }: Payload,
  { attempt }: { readonly attempt: number }
): Effect.Effect<Result, Refused> => {
  switch (how) {
    case "echo":
      return Effect.succeed({ value })
    case "fail":
      return new Refused({ value })
    case "die":
      return Effect.die(new Error("as it was asked to"))
    case "hold":
      return Effect.never
    case "linger":
      return Effect.acquireUseRelease(
        Effect.sync(() => lingering.add(value)),
        () => Effect.never,
        () =>
          Effect.delay(
            Effect.sync(() => lingering.delete(value)),
            "100 millis"
          )
      )
    case "deaf":
      return Effect.uninterruptible(Effect.never)
    case "flaky":
      return attempt < value ? new Refused({ value: attempt }) : Effect.succeed({ value })
    case "wrong":
      return Effect.succeed({ value: "text" } as unknown as Result)
  }
}

export const FunctionWorkLive = FunctionWork.toLayer(behave)

const scripts: Record<How, string> = {
  echo: `printf '{"value":%s}' "$1"`,
  fail: "exit 3",
  die: "kill -9 $$",
  hold: "exec sleep 3600",
  linger: `trap 'sleep 0.1; exit' TERM; sleep 3600 & wait`,
  deaf: `trap '' TERM; exec sleep 3600`,
  // a backend that runs programs gives them their attempt in this variable
  flaky: `[ "$RHAPSODY_ATTEMPT" -lt "$1" ] && exit 3; printf '{"value":%s}' "$1"`,
  wrong: `printf '{"value":"text"}'`
}

/** As a program: POSIX sh is all it needs. */
export const ExecutableWork = Task.executable("Work", {
  payload: fields,
  success: Schema.parseJson(Result),
  error: Refused,
  command: ({ how, value }) => ({ executable: "sh", args: ["-c", scripts[how], "work", `${value}`] }),
  failure: ({ exitCode }) => (exitCode === 3 ? new Refused({ value: 3 }) : undefined)
})

/** Makes the work of a backend: of whichever kind it runs. */
export type Make = (payload: Payload, options?: Task.Options<any>) => Task.Instance<Result, Refused, any>
