// Usage: node check.mjs DATA RESULT
// Recomputes the result from the original data, hour by hour in plain loops and without a line of code in common with
// what made it, and compares every number exactly. Exits 1 and tells what is wrong when one differs.
import { readFileSync } from "node:fs"

const [flights, result] = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, "utf8")))
const millisPerHour = 3_600_000
const problems = []
let compared = 0
let rows = 0
let counted = 0

for (let hour = 0; hour <= 24; hour++) {
  const right = { hour, flights: 0, delay: 0, distance: 0, time: 0, late: 0 }
  for (const flight of flights) {
    const millis = Math.round(flight.time * millisPerHour)
    if (millis < hour * millisPerHour || millis >= (hour + 1) * millisPerHour) continue
    right.flights += 1
    right.delay += flight.delay
    right.distance += flight.distance
    right.time += millis
    if (flight.delay > 15) right.late += 1
  }
  if (right.flights === 0) continue
  rows += 1
  counted += right.flights
  const given = result.find((row) => row.hour === hour) ?? {}
  for (const field in right) {
    compared += 1
    if (given[field] !== right[field]) problems.push(`hour ${hour}: ${field} is ${given[field]}, not ${right[field]}`)
  }
}
if (result.length !== rows) problems.push(`there are ${result.length} hours, not ${rows}`)
if (counted !== flights.length) problems.push(`${flights.length - counted} flights have no hour of the day`)

if (problems.length > 0) {
  const more = problems.length > 5 ? `\nand ${problems.length - 5} more` : ""
  console.error(`the result does not fit the data:\n${problems.slice(0, 5).join("\n")}${more}`)
  process.exit(1)
}
console.log(`ok, all ${compared} numbers recomputed from ${flights.length} flights`)
