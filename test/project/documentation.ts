/** Where documentation is, and what is in it. */
import * as fs from "node:fs"
import * as path from "node:path"
import { root } from "./support.js"

export const readme = fs.readFileSync(path.join(root, "README.md"), "utf8")

export const filesUnder = (folder: string, extension: string): ReadonlyArray<string> =>
  fs
    .readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(extension) && !name.includes("fixtures"))
    .map((name) => path.join(root, folder, name))

/** The TypeScript examples in a text. */
export const blocks = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/^[ *]*```ts\n([\s\S]*?)^[ *]*```$/gm)].map((match) => match[1]!.replace(/^ *\* ?/gm, ""))

/** A folder inside the package, so that its own name resolves as it does for a user. */
export const inFolder = async <A>(use: (folder: string) => Promise<A>): Promise<A> => {
  const folder = fs.mkdtempSync(path.join(root, ".docs-"))
  try {
    return await use(folder)
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
