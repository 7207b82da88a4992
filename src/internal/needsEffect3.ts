/**
 * Which Effect this package needs, found out before anything else of it is loaded. Under Effect 4 the import below has
 * no file, and the error of the runtime names this module; an older Effect 3 is refused in words.
 */
import "effect/Either"
import * as ModuleVersion from "effect/ModuleVersion"

/** The oldest that has all that is used here. */
const needed = [3, 22] as const

/** Why that version of Effect will not do; undefined when it will. */
export const unfit = (version: string): string | undefined => {
  const [major, minor] = version.split(".").map(Number)
  return major === needed[0] && minor! >= needed[1]
    ? undefined
    : `effect-rhapsody needs effect ${needed.join(".")} or a later version of Effect ${needed[0]}, and finds effect ${version}; install it with: npm install effect@${needed[0]}`
}

const why = unfit(ModuleVersion.getCurrentVersion())
if (why !== undefined) throw new Error(why)
