/** Which Python runs the programs of this package, and the bootstrap that reads them from standard input. */

/** The usual names, the plainest first. The last is where Red Hat's systems keep theirs. */
export const interpreters: ReadonlyArray<string> = [
  "python3",
  "/usr/bin/python3",
  ...[14, 13, 12, 11, 10, 9, 8].map((minor) => `python3.${minor}`),
  "python",
  "/usr/libexec/platform-python"
]

/** Understood by every Python, so that one that is too old says so. */
export const bootstrap = `import os, sys
if sys.version_info < (3, 8):
    sys.stderr.write("Python %d.%d is too old: 3.8 or later is needed\\n" % sys.version_info[:2])
    sys.exit(3)
source = b""
while len(source) < int(sys.argv[1]):
    part = os.read(0, int(sys.argv[1]) - len(source))
    if not part:
        sys.exit(0)
    source += part
exec(compile(source, sys.argv[2], "exec"))
`

/** Bytes of variables that an interpreter is started with, at most, however low the limit of the system is. */
const room = 64 * 1024
/** Bytes of one variable beyond which the system starts nothing. */
const longestVariable = 32 * 1024
const needed = /^(PATH|HOME|TMPDIR|LANG|LC_.*|LD_.*|PYENV_.*)$/

/**
 * Variables for an interpreter that is given the others later: too many of them, or one that is too long, would keep it
 * from starting. The shortest are kept, and those that it may need to start.
 */
export const small = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => {
  const kept: NodeJS.ProcessEnv = Object.create(null)
  let left = room
  const sizes = Object.entries(env).map(([name, value = ""]) => {
    const size = Buffer.byteLength(name) + Buffer.byteLength(value) + 2
    return { name, value, size, order: needed.test(name) ? 0 : size }
  })
  for (const { name, size, value } of sizes.sort((a, b) => a.order - b.order)) {
    left -= size
    if (size <= longestVariable && left >= 0) kept[name] = value
    else left += size
  }
  return kept
}

/** Nothing of the user's is imported. */
const alone: ReadonlyArray<string> = ["-I", "-S"]

/** The variables that `small` leaves out. */
export const rest = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => {
  const kept = small(env)
  return Object.fromEntries(Object.entries(env).filter(([name]) => !(name in kept)))
}

/** Arguments for an interpreter that runs `source`, called `name` in its tracebacks. */
export const argumentsFor = (name: string, source: string, flags = alone): ReadonlyArray<string> => [
  ...flags,
  "-c",
  bootstrap,
  String(Buffer.byteLength(source)),
  name
]
