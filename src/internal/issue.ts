/** What does not fit a schema, as our errors report it. */
import * as ParseResult from "effect/ParseResult"

export interface FirstIssue {
  /** As it is written in code: `arguments[1]`, `env.HOME`; empty for the value as a whole. */
  readonly key: string
  readonly message: string
  /** The key is not one of those that the schema knows. */
  readonly unexpected: boolean
}

export const keyOf = (path: ReadonlyArray<PropertyKey>): string =>
  path.reduce<string>(
    (key, part) =>
      typeof part === "number" ? `${key}[${part}]` : key === "" ? String(part) : `${key}.${String(part)}`,
    ""
  )

/** The first thing that is wrong: one is enough to act on. */
export const firstIssue = (issue: ParseResult.ParseIssue): FirstIssue => {
  const first = ParseResult.ArrayFormatter.formatIssueSync(issue)[0]
  return first === undefined
    ? { key: "", message: "does not fit its schema", unexpected: false }
    : { key: keyOf(first.path), message: first.message, unexpected: first._tag === "Unexpected" }
}
