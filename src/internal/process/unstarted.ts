/** Why a program could not be started, in the same words for every launcher: what happened, to what, and what to do. */
import * as fs from "node:fs"
import * as path from "node:path"
import type { Variable } from "../../Driver.js"
import type { Text } from "../../TaskOptions.js"
import { launchFailed } from "./exit.js"
import type { Launch, LaunchFailure } from "./launcher.js"
import { valueOf } from "./launcher.js"
import type { Failed } from "./messages.js"

type Facts = Omit<Failed, "type" | "id">

/** `cause`, where this process itself has tried. */
export const unstarted = (facts: Facts, cause?: unknown): LaunchFailure => {
  const { errno, message, path, what } = facts
  const why = `${message} (${errno})`
  const known = { errno, path, cause }
  const unexpanded = errno === "ENOENT" ? expansion(path) : ""
  switch (what) {
    case "executable":
      return launchFailed(`${path}: ${executable(facts, why)}`, known)
    case "cwd":
      return launchFailed(`its working directory ${path}: ${why}${unexpanded}`, known)
    case "stdout":
    case "stderr":
      return launchFailed(`its output file ${path} cannot be opened: ${why}${unexpanded}`, known)
    case "stdin":
      return launchFailed(`its input file ${path} cannot be opened: ${why}${unexpanded}`, known)
    case "sandbox":
      return launchFailed(`its sandbox ${path} cannot be made: ${why}`, known)
    case "pipe":
      return launchFailed(`no pipe for its output: ${why}; lower maxWorkers or raise the limit of open files`, known)
    default:
      return launchFailed(`its ${what.replace(/^limits/, "rlimits")} cannot be set: ${why}`, {
        errno,
        path: undefined,
        cause
      })
  }
}

const executable = ({ errno, found, interpreter, longest, path, size }: Facts, why: string): string => {
  if (errno === "E2BIG") {
    return longest === undefined || size === undefined
      ? `${why}; pass large data on stdin or in a file`
      : `${why}: the longest of its arguments and variables is ${longest}, with ${size} bytes; pass large data on stdin or in a file, and leave out a variable with undefined`
  }
  if (found === "directory") return `it is a directory (${errno}); name a program in it`
  if (interpreter?.endsWith("\r") === true) {
    return `its first line ends with a carriage return, so that its interpreter is ${JSON.stringify(interpreter)}, which is not there (${errno}); give the file the line ends of Unix, for example with dos2unix`
  }
  if (interpreter !== undefined && (errno === "ENOENT" || errno === "EACCES")) {
    return `its interpreter ${interpreter}, which its first line names, cannot be started (${errno}); correct that line, or install it`
  }
  if (found === "file" && errno === "EACCES") {
    return `it is not executable (${errno}); make it so with chmod +x, or give it to its interpreter as an argument`
  }
  if (found === "file" && errno === "ENOENT") {
    return `it is there, but the loader that it names is not (${errno}); it was built for another system`
  }
  switch (errno) {
    case "ENOENT":
      return `${why}${expansion(path) || words(path)}; give a path, or a name that is in the task's PATH`
    case "ENOEXEC":
      return `${why}; it is neither a binary nor a script that begins with #!`
    default:
      return why
  }
}

/** What a shell would have made of it. */
const expansion = (path: string): string =>
  /(^|\/)~/.test(path) ? "; no shell expands ~" : path.includes("$") ? "; no shell expands variables" : ""

const words = (path: string): string => {
  const [first, ...rest] = path.trim().split(/\s+/)
  return rest.length === 0
    ? ""
    : `; no shell splits it into words: arguments belong into args, as in { executable: ${JSON.stringify(first)}, args: ${JSON.stringify(rest)} }`
}

/** As the system words it. */
const meanings: Readonly<Record<string, string>> = {
  ENOENT: "No such file or directory",
  ENOTDIR: "Not a directory",
  EACCES: "Permission denied",
  ENOEXEC: "Exec format error"
}

// ------------------------------------------------------------------------------------------------ what Node does not say

const bytes = (value: Text): number => (typeof value === "string" ? Buffer.byteLength(value) : value.length)

/** Of what a program is given: the longest, and how long it is. */
const longestOf = (
  launch: Launch,
  inherited: NodeJS.ProcessEnv
): { readonly longest: string; readonly size: number } => {
  const { env, program } = launch
  const all: Array<readonly [string, number]> = [["executable", bytes(program.executable)]]
  program.args.forEach((arg, i) => {
    all.push([`args[${i}]`, bytes(arg)])
  })
  const given: Readonly<Record<string, unknown>> = program.env
  for (const variables of [inherited, env, given]) {
    for (const name in variables) {
      if (variables !== given && name in given) continue
      const value = valueOf(launch, name, variables[name] as Variable)
      if (value !== undefined) all.push([`the variable ${name}`, bytes(name) + 1 + bytes(value)])
    }
  }
  const [longest, size] = all.reduce((most, one) => (one[1] > most[1] ? one : most))
  return { longest, size }
}

/** Of arguments that are too long to be even asked for. */
export const tooLong = (launch: Launch, inherited: NodeJS.ProcessEnv, cause: unknown): LaunchFailure => {
  const { executable } = launch.program
  const path = typeof executable === "string" ? executable.slice(0, 1000) : Buffer.from(executable).toString()
  const facts = { what: "executable", path, errno: "E2BIG", message: "Argument list too long" }
  return unstarted({ ...facts, ...longestOf(launch, inherited) }, cause)
}

/** What a file is that could not be started. */
const look = (file: string, errno: string): Pick<Facts, "found" | "interpreter"> => {
  try {
    if (fs.statSync(file).isDirectory()) return { found: "directory" }
    fs.accessSync(file, fs.constants.X_OK)
    const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
    try {
      const start = Buffer.alloc(256)
      const [line] = start.toString("utf8", 0, fs.readSync(fd, start, 0, 256, 0)).split("\n")
      const interpreter = /^#![ \t]*([^ \t]+)/.exec(line!)?.[1]
      return { found: "file", ...(interpreter === undefined ? {} : { interpreter }) }
    } finally {
      fs.closeSync(fd)
    }
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "ENOENT" || errno === "ENOENT" ? {} : { found: "file" }
  }
}

const notEntered = (directory: string): string | undefined => {
  try {
    if (!fs.statSync(directory).isDirectory()) return "ENOTDIR"
    fs.accessSync(directory, fs.constants.X_OK)
    return undefined
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code
  }
}

/** Of a program that Node could not spawn: the system reports a missing directory as a missing program. */
export const notSpawned = (
  launch: Launch,
  inherited: NodeJS.ProcessEnv,
  cause: NodeJS.ErrnoException
): LaunchFailure => {
  const { cwd, executable } = launch.program
  const failed = (what: string, path: string, errno: string, more: Partial<Facts> = {}) =>
    unstarted({ what, path, errno, message: meanings[errno] ?? cause.message, ...more }, cause)
  if (cwd !== undefined) {
    const errno = notEntered(cwd)
    if (errno !== undefined) return failed("cwd", cwd, errno)
  }
  const { code = "EINVAL" } = cause
  if (code === "E2BIG") return tooLong(launch, inherited, cause)
  const name = typeof executable === "string" ? executable : Buffer.from(executable).toString()
  return failed("executable", name, code, name.includes("/") ? look(path.resolve(cwd ?? ".", name), code) : {})
}
