/** Where documentation is, and what is in it. */
import * as fs from "node:fs"
import * as path from "node:path"
import { root, run } from "./support.js"

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

export interface Program {
  readonly name: string
  readonly code: string
}

/** What the compiler says about programs in files of their own, as users' code. */
export const typeCheck = (programs: ReadonlyArray<Program>) =>
  inFolder((folder) => {
    for (const { code, name } of programs) fs.writeFileSync(path.join(folder, `${name}.ts`), code)
    fs.writeFileSync(path.join(folder, "tsconfig.json"), '{ "extends": "../tsconfig.json", "include": ["*.ts"] }')
    return run(root, process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-p", folder])
  })
