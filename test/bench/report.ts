// What a bench answers, and how it is shown.

/** Values of one thing that was measured, one per round. */
export interface Samples {
  readonly name: string
  readonly unit: string
  readonly values: ReadonlyArray<number>
}

export interface Report {
  readonly samples: ReadonlyArray<Samples>
  /** What the figures of the project are compared with, by key; `null` where the peer is absent. */
  readonly ratios: Readonly<Record<string, number | null>>
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The smallest value that so many percent are not above. */
export const percentile = (values: ReadonlyArray<number>, percent: number): number =>
  [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil((values.length * percent) / 100) - 1)]!

export const round = (value: number): number => Number(value.toPrecision(3))

export interface Row {
  readonly name: string
  readonly unit: string
  readonly median: number
  readonly min: number
  readonly max: number
}

export const table = (rows: ReadonlyArray<Row>): string => {
  const number = (value: number) => Math.round(value).toLocaleString("en").padStart(12)
  const width = Math.max(...rows.map(({ name }) => name.length))
  return [
    `${"".padEnd(width)}${"median".padStart(12)}${"min".padStart(12)}${"max".padStart(12)}`,
    ...rows.map(
      (row) => `${row.name.padEnd(width)}${number(row.median)}${number(row.min)}${number(row.max)} ${row.unit}`
    )
  ].join("\n")
}
