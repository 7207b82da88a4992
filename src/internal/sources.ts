/**
 * The Python sources of this package, by their path in this directory. The build replaces this module by one that holds
 * them: a bundler keeps no files but those of JavaScript.
 */
import { readFileSync } from "node:fs"

const read = (name: string): string => readFileSync(new URL(`${name}.py`, import.meta.url), "utf8")

/** Several files as one program, in that order. */
export const sourceOf = (...names: ReadonlyArray<string>): string => names.map(read).join("\n")
