/** What JSON can tell of a payload. */

export interface Wrong {
  readonly path: string
  readonly message: string
}

const at = (path: string, key: string | number) =>
  typeof key === "number" ? `${path}[${key}]` : path === "" ? key : `${path}.${key}`

/** The first thing in a value that would arrive as another, or not at all. */
export const notJson = (value: unknown, path: string, depth = 0): Wrong | undefined => {
  const wrong = (what: string): Wrong => ({
    path,
    message: `${what} cannot be told to Python as JSON; encode it in the payload schema`
  })
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined
    case "number":
      return Number.isFinite(value) ? undefined : wrong(String(value))
    case "undefined":
      // a field that is not there
      return undefined
    case "object":
      break
    default:
      return wrong(`a ${typeof value}`)
  }
  if (value === null) return undefined
  if (depth > 500) return wrong("what is nested so deeply")
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const found =
        value[i] === undefined ? { path: at(path, i), message: "undefined is no JSON; use null" } : undefined
      const inner = found ?? notJson(value[i], at(path, i), depth + 1)
      if (inner !== undefined) return inner
    }
    return undefined
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    return wrong(`a ${(value as { constructor?: { name?: string } }).constructor?.name ?? "class instance"}`)
  }
  for (const key in value) {
    const inner = notJson((value as Record<string, unknown>)[key], at(path, key), depth + 1)
    if (inner !== undefined) return inner
  }
  return undefined
}
