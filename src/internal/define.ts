/** Sets a key, which may be `__proto__`: assigning to that would set the prototype. */
export const define = (record: object, key: string, value: unknown): void => {
  if (key !== "__proto__") (record as Record<string, unknown>)[key] = value
  else Object.defineProperty(record, key, { value, enumerable: true, writable: true, configurable: true })
}
