/** What a person sees: the result as a table and as a plot, or why there is none. */
import { Cause, Option } from "effect"
import type { Hour } from "./tasks.js"

/** The message alone of a failure that the types name; all that is known of any other. */
export const explain = (cause: Cause.Cause<{ readonly message: string }>) =>
  Cause.isInterruptedOnly(cause)
    ? "interrupted"
    : Option.match(Cause.failureOption(cause), {
        onSome: ({ message }) => `failed: ${message}`,
        onNone: () => Cause.pretty(cause, { renderErrorCause: true })
      })

const mean = ({ delay, flights }: Hour) => delay / flights
const minutes = (value: number) => value.toFixed(1).replace("-", "−")

export const table = (profile: ReadonlyArray<Hour>) =>
  [
    "hour    flights  mean delay    late",
    ...profile.map(
      (row) =>
        `${String(row.hour).padStart(2, "0")}:00` +
        row.flights.toLocaleString("en").padStart(10) +
        `${minutes(mean(row))} min`.padStart(12) +
        `${Math.round((100 * row.late) / row.flights)} %`.padStart(8)
    )
  ].join("\n")

const few = 100
const [width, height] = [800, 440]
const area = { left: 48, right: width - 16, top: 80, bottom: height - 56 }

/** Mean delay by hour as an SVG document. Hours with few flights are drawn pale and do not stretch the scale. */
export const plot = (profile: ReadonlyArray<Hour>) => {
  const many = profile.filter(({ flights }) => flights >= few)
  const means = (many.length > 0 ? many : profile).map(mean)
  const step = [1, 2, 5, 10, 20, 50, 100, 200].find((step) => Math.max(...means) <= 8 * step) ?? 500
  const highest = Math.ceil(Math.max(...means, step) / step) * step
  const lowest = Math.floor(Math.min(...means, 0) / step) * step

  const slot = (area.right - area.left) / profile.length
  const y = (value: number) => {
    const share = (Math.min(Math.max(value, lowest), highest) - lowest) / (highest - lowest)
    return Math.round(area.bottom - share * (area.bottom - area.top))
  }
  const text = (x: number, y: number, content: string, attributes = "") =>
    `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${content}</text>`

  const lines = Array.from({ length: (highest - lowest) / step + 1 }, (_, index) => lowest + index * step)
  const grid = lines.flatMap((value) => [
    `<path d="M${area.left} ${y(value)}H${area.right}" stroke="${value === 0 ? "#333" : "#ddd"}"/>`,
    text(area.left - 8, y(value) + 4, String(value).replace("-", "−"), `text-anchor="end"`)
  ])
  const bars = profile.flatMap((row, index) => {
    const x = area.left + index * slot
    const [top, bottom] = [y(Math.max(mean(row), 0)), y(Math.min(mean(row), 0))]
    const color = row.flights < few ? "#b8d0e8" : "#2f6fad"
    const centred = `text-anchor="middle"`
    return [
      `<rect x="${(x + 2).toFixed(1)}" y="${top}" width="${(slot - 4).toFixed(1)}" height="${bottom - top}" fill="${color}"/>`,
      text(x + slot / 2, mean(row) < 0 ? bottom + 12 : top - 4, minutes(mean(row)), `${centred} font-size="10"`),
      text(x + slot / 2, area.bottom + 18, String(row.hour), centred)
    ]
  })

  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<title>Mean delay of flights by hour of the day</title>
<rect width="100%" height="100%" fill="white"/>
${text(area.left, 28, "Mean delay of flights by hour of the day", `font-size="18"`)}
${text(area.left, 48, `In minutes. Pale: fewer than ${few} flights, cut off where the scale ends.`, `fill="#666"`)}
${[...grid, ...bars].join("\n")}
${text((area.left + area.right) / 2, height - 12, "hour of the day", `text-anchor="middle"`)}
</svg>
`
}
