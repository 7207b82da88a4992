/**
 * Paths that mean something else in each process, as /dev/stdin does: opened by the process that starts a program, they
 * would be that process's own. The launch agent has the same (agent/starting.py).
 */
import { lstatSync, readlinkSync } from "node:fs"
import * as path from "node:path"
import * as Effect from "effect/Effect"
import type { Executable } from "../../Driver.js"
import { ConfigurationError } from "../../Errors.js"
import type { Check } from "../options/values.js"
import { refuse as refuseOption } from "../options/values.js"

const own = new Set([
  "/dev/fd",
  "/dev/stdin",
  "/dev/stdout",
  "/dev/stderr",
  "/dev/tty",
  "/proc/self",
  "/proc/thread-self"
])

export const meansOwn = "this path means something else in each process"

/** As many as the system follows. */
const mostLinks = 40

type Follow = (file: string) => string | undefined
const noLink: Follow = (): undefined => undefined
const link = (file: string): string | undefined => {
  try {
    // asked first, because an exception costs more
    return lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true ? readlinkSync(file) : undefined
  } catch {
    return undefined // it may not be looked at, or has just gone
  }
}

/** Of an absolute path. Symbolic links are followed as `follow` says: by default as they are on this machine. */
export const leadsToOwn = (file: string, follow: Follow = link): boolean => {
  const rest = file.split("/").reverse()
  let at = "/"
  let links = 0
  while (rest.length > 0) {
    const part = rest.pop()!
    if (part === "" || part === ".") continue
    const next = path.posix.join(at, part)
    if (own.has(next)) return true
    const target = part === ".." || links > mostLinks ? undefined : follow(next)
    if (target === undefined) at = next
    else {
      links++
      if (target.startsWith("/")) at = "/"
      for (const part of target.split("/").reverse()) rest.push(part)
    }
  }
  return false
}

// ------------------------------------------------------------------------------------------------------------- options

const isOwnOption = (value: string, follow: Follow): boolean => {
  try {
    return leadsToOwn(path.resolve(value), follow)
  } catch {
    return false // this process has no working directory any more
  }
}

/** Of an option that is a path, also refuses such paths; a name without a slash is looked up. */
export const noOwnPath =
  (check: Check, { here = true }: { /** It is a path of this machine. */ readonly here?: boolean } = {}): Check =>
  (key, value) =>
    check(key, value) ??
    (typeof value === "string" && value.includes("/") && isOwnOption(value, here ? link : noLink)
      ? refuseOption(key, "InvalidOption", `${meansOwn}, and another process uses it; name one that all share`)
      : undefined)

// --------------------------------------------------------------------------------------------------------- submission

const remedies = {
  "stdin.file": "give the text or the bytes themselves, or the path of a file",
  "capture.stdout": "read what it prints from the result or with capture.onChunk, or name a file",
  "capture.stderr": "read what it prints from the result or with capture.onChunk, or name a file",
  cwd: "name a directory",
  executable: "name a program"
} as const

/** Links are followed where files are opened, and not for what every program has. */
const fieldOf = (
  { capture, cwd, executable, stdin }: Executable,
  follow: Follow
): keyof typeof remedies | undefined => {
  const here = (directory: string | undefined, file: string): string => {
    try {
      return follow === noLink ? path.posix.resolve("/", directory ?? "", file) : path.resolve(directory ?? "", file)
    } catch {
      return "/" // this process has no working directory any more: that is found when the program starts
    }
  }
  const leads = (file: string | undefined) => file !== undefined && leadsToOwn(here(cwd, file), follow)
  if (cwd !== undefined && leadsToOwn(here(undefined, cwd), noLink)) return "cwd"
  if (typeof executable === "string" && /^\/(dev|proc)\//.test(executable) && leadsToOwn(executable, noLink)) {
    return "executable"
  }
  if (typeof stdin === "object" && !(stdin instanceof Uint8Array) && leads(stdin.file)) return "stdin.file"
  if (leads(capture.stdout)) return "capture.stdout"
  return leads(capture.stderr) ? "capture.stderr" : undefined
}

const refuse =
  (follow: Follow) =>
  (program: Executable): Effect.Effect<void, ConfigurationError> => {
    const field = fieldOf(program, follow)
    if (field === undefined) return Effect.void
    const message = `${meansOwn}, and would be that of the process that starts the program; ${remedies[field]}`
    return Effect.fail(new ConfigurationError({ configKey: field, reason: "InvalidOption", details: { message } }))
  }

/** Refuses such paths of a program that runs on this machine; links that come later are found when it starts. */
export const checkPaths = refuse(link)

/** Of a program that runs elsewhere: by the words alone. */
export const checkNames = refuse(noLink)
