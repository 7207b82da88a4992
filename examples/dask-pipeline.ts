/**
 * Where does order end? Python functions with numpy on Dask: points wander under a simple rule, whose rate decides
 * whether they settle, jump in a circle, or never repeat. Simulate, analyse and count for each rate, then one function
 * over all of them. What crosses between the languages is typed on this side, and arrives as plain Python on the other.
 *
 *     python3 -m venv env && env/bin/pip install dask distributed cryptography numpy
 *     RHAPSODY_DASK_PYTHON=env/bin/python \
 *       node --conditions=effect-rhapsody-source --import tsx examples/dask-pipeline.ts
 */
import { fileURLToPath } from "node:url"
import { NodeRuntime } from "@effect/platform-node"
import { Array, Config, Console, Effect, Either, Schema } from "effect"
import { DaskBackend, ExecutionBackend, Task } from "effect-rhapsody"

const here = fileURLToPath(new URL("dask-pipeline", import.meta.url))

/** A failure that the pipeline reckons with: `orbits.Escaped`, with what it was raised with. */
class Escaped extends Schema.TaggedError<Escaped>()("Escaped", { step: Schema.Int, points: Schema.Int }) {}

const Points = Schema.Array(Schema.Number.pipe(Schema.between(0, 1)))

const Simulate = Task.python("Simulate", {
  callable: "orbits:simulate",
  payload: { rate: Schema.Positive, starts: Points, steps: Schema.Int.pipe(Schema.positive()) },
  success: Schema.Struct({ points: Points, exponents: Schema.Array(Schema.Number) }),
  error: Escaped,
  failure: ({ args, type }) =>
    type === "Escaped" ? new Escaped({ step: Number(args?.[0]), points: Number(args?.[1]) }) : undefined
})

const Analyse = Task.python("Analyse", {
  callable: "orbits:analyse",
  payload: { points: Points, exponents: Schema.Array(Schema.Number) },
  success: Schema.Struct({ mean: Schema.Number, spread: Schema.Number, exponent: Schema.Number })
})

/** A program among the functions: it reads the points and prints how many places they are at. */
const Count = Task.executable("Count", {
  payload: { points: Points },
  success: Schema.NumberFromString.pipe(Schema.int()),
  command: ({ points }) => ({
    executable: "awk",
    args: ["-f", `${here}/count.awk`],
    stdin: points.map((point) => `${point}\n`).join(""),
    env: { LC_ALL: "C" }
  })
})

const Onset = Task.python("Onset", {
  callable: "orbits:onset",
  call: "args",
  payload: { rates: Schema.Array(Schema.Number), exponents: Schema.Array(Schema.Number) },
  success: Schema.NullOr(Schema.Number)
})

const starts = Array.makeBy(64, (i) => (i + 1) / 67)

/** One rate, from its simulation to what is known of it. */
const study = (rate: number) =>
  Effect.gen(function* () {
    const orbit = yield* ExecutionBackend.execute(Simulate.make({ rate, starts, steps: 2000 }))
    const [found, places] = yield* Effect.all(
      [ExecutionBackend.execute(Analyse.make(orbit)), ExecutionBackend.execute(Count.make({ points: orbit.points }))],
      { concurrency: 2 }
    )
    return Either.right({ rate, places, ...found })
  }).pipe(Effect.catchTag("Escaped", (escaped) => Effect.succeed(Either.left({ rate, escaped }))))

const cell = (value: number, digits: number) => value.toFixed(digits).padStart(9)

const program = Effect.gen(function* () {
  const rates = [2.8, 3.2, 3.5, 3.56, 3.6, 3.7, 3.9, 4.1]
  const [escaped, found] = Array.separate(yield* Effect.forEach(rates, study, { concurrency: "unbounded" }))
  const onset = yield* ExecutionBackend.execute(
    Onset.make({ rates: found.map(({ rate }) => rate), exponents: found.map(({ exponent }) => exponent) })
  )
  const table = [
    "     rate   places     mean   spread exponent",
    ...found.map(
      ({ exponent, mean, places, rate, spread }) =>
        cell(rate, 2) + cell(places, 0) + cell(mean, 3) + cell(spread, 3) + cell(exponent, 3)
    ),
    ...escaped.map(
      ({ escaped: { points, step }, rate }) =>
        `${cell(rate, 2)}   ${points} of ${starts.length} points escape in step ${step}`
    )
  ]
  yield* Console.log(table.join("\n"))
  yield* Console.log(onset === null ? "they all settle" : `order ends near ${onset.toFixed(2)}`)
})

const BackendLive = DaskBackend.layerConfig(
  Config.all({
    python: Config.withDefault(Config.string("RHAPSODY_DASK_PYTHON"), "python3"),
    workers: Config.succeed(2),
    threadsPerWorker: Config.succeed(1),
    path: Config.succeed([here])
  })
)

program.pipe(Effect.provide(BackendLive), NodeRuntime.runMain)
