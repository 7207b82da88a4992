/** What of an engine's standard error may be in an error of this library: it can hold values of tasks, secrets as well. */

const start = "Traceback (most recent call last):"
const place = /^ +File "[^"]*", line \d+, in \S+$/
const exception = /^[A-Za-z_][\w.]*(?=:|$)/

/** Of its tracebacks the places, and the types of the exceptions without their text; nothing else. */
export const outline = (text: string): string => {
  const lines: Array<string> = []
  let inside = false
  for (const line of text.split("\n")) {
    const found = line === start ? [line] : inside ? (place.exec(line) ?? exception.exec(line)) : null
    if (found !== null) lines.push(found[0]!)
    inside = line === start || (inside && line.startsWith(" "))
  }
  return lines.join("\n")
}
