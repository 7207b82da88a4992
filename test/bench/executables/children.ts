// Processes that the bench starts: what it measures, in JavaScript as Node runs it, and idle ones.
import type { ChildProcess } from "node:child_process"
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Interface } from "node:readline"
import { createInterface } from "node:readline"
import { promisify } from "node:util"
import ts from "typescript"

// closed files and processes of a bench that is stopped
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))

const temporary = (prefix: string) => {
  const path = mkdtempSync(prefix)
  process.on("exit", () => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A directory that is gone when the bench ends. */
export const directory = (): string => temporary(join(tmpdir(), "effect-rhapsody-bench-"))

const execute = promisify(execFile)
const maxBuffer = 1e8

/** Runs a command to its end, in `cwd`: its standard output. */
export const outputOf = async (cwd: string, command: string, args: ReadonlyArray<string>): Promise<string> =>
  (await execute(command, args, { cwd, maxBuffer })).stdout

const lastLine = (text: string) => text.trimEnd().split("\n").at(-1)!

/**
 * The modules of some directories beside this one, compiled, each directory by its name: with a loader in between, a
 * process would be larger than those of users are. Next to the compiled library, for they find it by its name.
 */
export const compile = (...names: ReadonlyArray<string>): string => {
  const root = join(import.meta.dirname, "../../..")
  mkdirSync(join(root, "dist"), { recursive: true })
  const target = temporary(join(root, "dist/bench-"))
  for (const name of names) {
    const from = join(import.meta.dirname, "..", name)
    mkdirSync(join(target, name))
    for (const file of readdirSync(from)) {
      const { outputText } = ts.transpileModule(readFileSync(join(from, file), "utf8"), {
        compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022, verbatimModuleSyntax: true }
      })
      writeFileSync(join(target, name, file.replace(/\.ts$/, ".js")), outputText)
    }
  }
  return target
}

/** The same for every process, so that a large heap is the only difference of the one that has it. */
const flags = ["--expose-gc", "--max-old-space-size=8192"]

/** Runs a compiled module: what the last line of its output says. */
export const measure = async <A>(cwd: string, module: string, args: ReadonlyArray<string>): Promise<A> =>
  JSON.parse(lastLine(await outputOf(cwd, process.execPath, [...flags, module, ...args])))

/** A process that is talked to line by line. */
export class Talk {
  private readonly lines: AsyncIterator<string>
  constructor(private readonly child: ChildProcess) {
    const input: Interface = createInterface({ input: child.stdout! })
    this.lines = input[Symbol.asyncIterator]()
  }
  say(line: string): void {
    this.child.stdin!.write(`${line}\n`)
  }
  async hear(): Promise<string> {
    const { done, value } = await this.lines.next()
    if (done) throw new Error(`${this.child.spawnargs.join(" ")} ended without a word`)
    return value
  }
  /** Closes its input, and waits until it has ended. */
  async close(): Promise<void> {
    this.child.stdin!.end()
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, "exit")
  }
}

/** Starts a program to talk to. */
export const talkTo = (cwd: string, command: string, args: ReadonlyArray<string>): Talk =>
  new Talk(spawn(command, args, { cwd, stdio: ["pipe", "pipe", "inherit"] }))

/** Starts a compiled module to talk to. */
export const talk = (cwd: string, module: string, args: ReadonlyArray<string>): Talk =>
  talkTo(cwd, process.execPath, [...flags, module, ...args])

/** Runs `use` while so many processes sleep. They are gone when it ends, and when the bench dies. */
export const withIdle = async <A>(count: number, use: () => Promise<A>): Promise<A> => {
  if (count === 0) return use()
  // read ends with the bench; the shell waits for all that it started, so that no zombie stays
  const script = `i=0; while [ $i -lt ${count} ]; do sleep 900 > /dev/null 2>&1 & i=$((i + 1)); done
    echo ready; read line; trap "" TERM; kill 0; wait`
  const shell = new Talk(spawn("sh", ["-c", script], { detached: true, stdio: ["pipe", "pipe", "inherit"] }))
  try {
    await shell.hear()
    return await use()
  } finally {
    await shell.close()
  }
}
