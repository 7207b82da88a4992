/** The three tasks of the quickstart: what each takes and gives, as schemas, and how it is run. */
import { fileURLToPath } from "node:url"
import { Array, Effect, Order, pipe, Record, Schedule, Schema } from "effect"
import { Task } from "effect-rhapsody"

/** One hour of the day. Sums of integers are exact in any order; they are divided only to be shown. */
export class Hour extends Schema.Class<Hour>("Hour")({
  hour: Schema.Int,
  flights: Schema.Int,
  /** Minutes. */
  delay: Schema.Int,
  /** Miles. */
  distance: Schema.Int,
  /** Milliseconds since midnight. */
  time: Schema.Int,
  /** Flights with a delay of more than 15 minutes. */
  late: Schema.Int
}) {}

export const Profile = Schema.Array(Hour)

const local = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** A program: its exit code says whether it succeeded, its standard output is decoded with the success schema. */
export const Summarise = Task.executable("Summarise", {
  payload: { file: Schema.String, flaky: Schema.Boolean },
  success: Schema.parseJson(Profile),
  command: ({ file, flaky }) => ({
    executable: "awk",
    args: ["-v", `flaky=${flaky ? 1 : 0}`, "-f", local("summarise.awk"), file],
    env: { LC_ALL: "C" } // else some awks read 7.5 as 7 where the decimal point is a comma
  }),
  retry: {
    times: 2,
    schedule: Schedule.spaced("200 millis"),
    while: (error) => error.exitCode === 75
  }
})

/** A function of this program: declared here, implemented by a layer. */
export const Merge = Task.function("Merge", {
  payload: { summaries: Schema.Array(Profile) },
  success: Profile
})

const add = (a: Hour, b: Hour) =>
  new Hour({
    hour: a.hour,
    flights: a.flights + b.flights,
    delay: a.delay + b.delay,
    distance: a.distance + b.distance,
    time: a.time + b.time,
    late: a.late + b.late
  })

export const MergeLive = Merge.toLayer(({ summaries }) =>
  Effect.sync(() =>
    pipe(
      summaries.flat(),
      Array.groupBy(({ hour }) => String(hour)),
      Record.values,
      Array.map((hours) => hours.reduce(add)),
      Array.sortWith(({ hour }) => hour, Order.number)
    )
  )
)

/** A program that knows nothing of the two above and exits non-zero when the result is wrong. */
export const Check = Task.executable("Check", {
  payload: { data: Schema.String, result: Schema.String },
  success: Schema.Trim,
  command: ({ data, result }) => ({ executable: process.execPath, args: [local("check.mjs"), data, result] })
})
