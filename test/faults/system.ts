/** Processes as the system shows them, and what can be done to them. Programs of the tests use it as well. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as Effect from "effect/Effect"

export interface Found {
  readonly pid: number
  readonly args: ReadonlyArray<string>
}

export const read = (pid: number | string, file: string): string => {
  try {
    return fs.readFileSync(`/proc/${pid}/${file}`, "latin1")
  } catch {
    return "" // ended meanwhile
  }
}

/** All processes but the dead, who have no arguments any more. */
export const processes = (): ReadonlyArray<Found> =>
  fs.readdirSync("/proc").flatMap((pid) => {
    const args = /^\d+$/.test(pid) ? read(pid, "cmdline") : ""
    return args === "" ? [] : [{ pid: Number(pid), args: args.split("\0").slice(0, -1) }]
  })

/** Its state and its parent, as the system's table has them. */
const stat = (pid: number) => {
  const text = read(pid, "stat")
  return text.slice(text.lastIndexOf(")") + 2).split(" ")
}
export const stateOf = (pid: number) => stat(pid)[0]
export const parentOf = (pid: number) => Number(stat(pid)[1])

/** No matter whether it is there. */
export const kill = (pid: number, signal: NodeJS.Signals = "SIGKILL") => {
  try {
    process.kill(pid, signal)
  } catch {}
}

export interface AgentPids {
  readonly keeper: number
  readonly agent: number
}

/** The launch agents of a process, and their keepers. */
export const agentsOf = (orchestrator = process.pid): ReadonlyArray<AgentPids> => {
  const all = processes().filter(({ args }) => args.includes("effect-rhapsody launch agent"))
  return all
    .filter(({ pid }) => parentOf(pid) === orchestrator)
    .flatMap(({ pid: keeper }) =>
      all.filter(({ pid }) => parentOf(pid) === keeper).map(({ pid: agent }) => ({ keeper, agent }))
    )
}

/** What kills the groups of programs that a process started without an agent. */
export const keepersOf = (orchestrator = process.pid): ReadonlyArray<number> =>
  processes()
    .filter(({ args, pid }) => args.includes("effect-rhapsody keeper") && parentOf(pid) === orchestrator)
    .map(({ pid }) => pid)

/** Peak memory of a process in MiB, since the last `forgetPeak`. */
export const peak = (pid: number | "self") =>
  Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, "latin1"))![1]) / 1024
export const forgetPeak = (pid: number | "self") => fs.writeFileSync(`/proc/${pid}/clear_refs`, "5")

const narrowing = `
import resource, sys
pid, limit = int(sys.argv[1]), getattr(resource, "RLIMIT_" + sys.argv[2])
soft, hard = resource.prlimit(pid, limit)
resource.prlimit(pid, limit, (int(sys.argv[3]), hard))
print("done", flush=True)
sys.stdin.read()
resource.prlimit(pid, limit, (soft, hard))
`

/** Lowers a limit of a process until the scope closes: by a process of its own, for this one may have no room then. */
export const narrowed = (python: string, pid: number, limit: "NOFILE" | "NPROC", value: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = spawn(python, ["-c", narrowing, String(pid), limit, String(value)], { stdio: "pipe" })
      const done = await new Promise((resolve) => {
        child.stdout.once("data", resolve)
        child.once("exit", resolve)
      })
      if (!String(done).startsWith("done")) throw new Error(`the limit cannot be set: ${done}`)
      return child
    }),
    (child) =>
      Effect.promise(() => {
        child.stdin.end()
        return new Promise((resolve) => child.once("exit", resolve))
      })
  )
