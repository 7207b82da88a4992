/** Where documentation is, and what is in it. */
import * as fs from "node:fs"
import * as path from "node:path"
import { root, run } from "./support.js"

export const filesUnder = (folder: string, extension: string): ReadonlyArray<string> =>
  fs
    .readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(extension) && !name.includes("fixtures"))
    .map((name) => path.join(root, folder, name))

export interface Page {
  /** From the root of the repository. */
  readonly path: string
  readonly text: string
}

/** README.md, and the pages beside what they describe. */
export const pages: ReadonlyArray<Page> = [
  path.join(root, "README.md"),
  ...["examples", "src", "test"].flatMap((folder) => filesUnder(folder, ".md"))
].map((file) => ({ path: path.relative(root, file), text: fs.readFileSync(file, "utf8") }))

export const page = (name: string): string => {
  const found = pages.find(({ path }) => path === name)
  if (found === undefined) throw new Error(`there is no page ${name}; there are ${pages.map(({ path }) => path)}`)
  return found.text
}

/** The TypeScript examples in a text. */
export const blocks = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/^[ *]*```ts\n([\s\S]*?)^[ *]*```$/gm)].map((match) => match[1]!.replace(/^ *\* ?/gm, ""))

/** Programs that the text shows with what they print. */
export const shown = (text: string): ReadonlyArray<{ readonly code: string; readonly printed: string }> =>
  [...text.matchAll(/^```ts\n((?:(?!```)[\s\S])*?)^```\n\n```text\n([\s\S]*?)^```$/gm)].map(([, code, printed]) => ({
    code: code!,
    printed: printed!
  }))

export interface Link {
  readonly page: string
  /** What it leads to, from the root of the repository. */
  readonly path: string
  /** The heading there. */
  readonly heading: string | undefined
}

const withoutCode = (text: string) => text.replace(/^```[\s\S]*?^```$/gm, "").replace(/`[^`\n]*`/g, "")

/** The links of a page to files of the repository, pictures too. */
export const links = ({ path: name, text }: Page): ReadonlyArray<Link> =>
  [...withoutCode(text).matchAll(/\]\((?!\w+:)([^)]+)\)/g)].map(([, target]) => {
    const [file = "", heading] = target!.split("#")
    return { page: name, path: file === "" ? name : path.join(path.dirname(name), file), heading }
  })

/** The headings of a text, as links name them. */
export const headings = (text: string): ReadonlyArray<string> =>
  [...text.replace(/^```[\s\S]*?^```$/gm, "").matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-")
  )

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

/** What a program prints that is written in a file of its own, as a user's. */
export const printedBy = (code: string): Promise<string> =>
  inFolder(async (folder) => {
    const file = path.join(folder, "program.ts")
    fs.writeFileSync(file, code)
    const flags = ["--conditions=effect-rhapsody-source", "--import", "tsx"]
    return (await run(root, process.execPath, [...flags, file])).output
  })

/** What the compiler says about programs in files of their own, as users' code. */
export const typeCheck = (programs: ReadonlyArray<Program>) =>
  inFolder((folder) => {
    for (const { code, name } of programs) fs.writeFileSync(path.join(folder, `${name}.ts`), code)
    fs.writeFileSync(path.join(folder, "tsconfig.json"), '{ "extends": "../tsconfig.json", "include": ["*.ts"] }')
    return run(root, process.execPath, [path.join(root, "node_modules/typescript/bin/tsc"), "-p", folder])
  })
