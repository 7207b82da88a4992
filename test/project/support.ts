import { execFile } from "node:child_process"
import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
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
  Object.entries(process.env).filter(([name]) => !/^(VITEST.*|TEST|NODE_ENV|CI|FORCE_COLOR)$/.test(name))
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
