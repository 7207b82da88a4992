/** A message of one line about a thrown thing, which need not even be printable; itself goes into `cause`. */
export const describe = (cause: unknown): string => {
  try {
    if (!(cause instanceof Error)) return String(cause)
    void cause.stack // V8 keeps all that the frames hold, the payload too, until the stack is read
    return `${cause.name}: ${cause.message}`
  } catch {
    return "something that cannot be printed"
  }
}
