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

/** Nothing of the user's is imported. */
const alone: ReadonlyArray<string> = ["-I", "-S"]

/** Arguments for an interpreter that runs `source`, called `name` in its tracebacks. */
export const argumentsFor = (name: string, source: string, flags = alone): ReadonlyArray<string> => [
  ...flags,
  "-c",
  bootstrap,
  String(Buffer.byteLength(source)),
  name
]
