/** What schemas of records lose: they set `__proto__` as they set every key, and that is the prototype then. */

export const lost = "must not have the key __proto__; choose another name"

export const losesOwn = (u: unknown): string | undefined =>
  typeof u === "object" && u !== null && Object.hasOwn(u, "__proto__") ? lost : undefined

/** `cyclic`: the message for what contains itself; without one, it may. */
export const losesAny = (u: unknown, cyclic?: string, above = new Set<object>()): string | undefined => {
  if (typeof u !== "object" || u === null) return undefined
  if (above.has(u)) return cyclic
  if (Object.hasOwn(u, "__proto__")) return lost
  above.add(u)
  for (const inner of Object.values(u)) {
    const wrong = losesAny(inner, cyclic, above)
    if (wrong !== undefined) return wrong
  }
  above.delete(u)
  return undefined
}
