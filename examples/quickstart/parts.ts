/** Cuts the data into contiguous parts: files that awk can read, one flight a line. */
import { FileSystem, Path } from "@effect/platform"
import { Array, Effect, Schema } from "effect"

/** Delay in minutes (negative: early), distance in miles, time as hours since midnight. */
const Flight = Schema.Struct({
  delay: Schema.Int,
  distance: Schema.Int,
  time: Schema.Number.pipe(Schema.between(0, 24))
}).annotations({ identifier: "Flight" })

const Flights = Schema.parseJson(Schema.NonEmptyArray(Flight))

export const split = (data: string, directory: string, count: number) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const flights = yield* fs.readFileString(data).pipe(Effect.flatMap(Schema.decode(Flights)))
    yield* fs.makeDirectory(directory, { recursive: true })
    return yield* Effect.forEach(Array.chunksOf(flights, Math.ceil(flights.length / count)), (part, index) => {
      const name = `part-${String(index + 1).padStart(2, "0")}`
      const file = path.join(directory, `${name}.csv`)
      const lines = part.map(({ delay, distance, time }) => `${delay},${distance},${time}\n`)
      return Effect.as(fs.writeFileString(file, lines.join("")), { name, file })
    })
  })
