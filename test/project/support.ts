import { execFile } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../..", import.meta.url))

export const makeDirectory = (): string => realpathSync(mkdtempSync(join(tmpdir(), "effect-rhapsody-")))

export const removeDirectory = (directory: string): void => rmSync(directory, { recursive: true, force: true })

export interface Result {
  readonly code: number | string
  readonly stdout: string
  /** stdout, then stderr. */
  readonly output: string
}

// What this vitest and its machine say in their environment is not meant for the commands under test.
const inherited = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(VITEST.*|TEST|NODE_ENV|NODE_TEST_CONTEXT|CI|FORCE_COLOR)$/.test(name)
  )
)

/** Runs a command to its end; a failure is a result too. */
export const run = (
  cwd: string,
  command: string,
  args: ReadonlyArray<string>,
  env: Record<string, string> = {}
): Promise<Result> =>
  new Promise((resolve) => {
    const options = { cwd, env: { ...inherited, NO_COLOR: "1", ...env }, maxBuffer: 64 * 1024 * 1024 }
    execFile(command, args, options, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : (error.code ?? "killed"), stdout, output: stdout + stderr })
    )
  })

/** Runs one of our scripts, as package.json and the configurations have it, over other sources. */
export const runOver = async (script: string, files: Record<string, string>) => {
  const directory = makeDirectory()
  for (const name of ["package.json", "tsconfig.json", ".config", ".biome.json"]) {
    cpSync(join(root, name), join(directory, name), { recursive: true })
  }
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  try {
    return await run(directory, "npm", ["run", "--silent", script])
  } finally {
    removeDirectory(directory)
  }
}
