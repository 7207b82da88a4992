/** Options that would be ignored are refused: those that a kind has no use for, and those that a driver does not honour. */
import type { AnyDriver, Executable, HonouredOption, Resources, Work } from "../../../Driver.js"
import type * as Task from "../../../Task.js"
import { defaultCaptureLimit } from "../../../TaskOptions.js"
import type { Refusal } from "../../options/values.js"
import { refuse } from "../../options/values.js"

const fields = ["cwd", "env", "capture", "preExec", "sandbox", "rlimits", "nice", "orphans"] as const

/** Whether it asks for more than its absence does. A variable that is undefined asks for its removal. */
const asksFor = (value: unknown, key?: string): boolean => {
  if (value === undefined || value === false || value === 0 || value === "kill") return false
  return (
    typeof value !== "object" ||
    value === null ||
    Object.values(value).some((inner) => inner !== undefined || key === "env")
  )
}

/** Functions, workers and Python code have no program that these could be of. */
export const checkKind = ({ options, task }: Task.Submittable): Refusal => {
  if (task.kind === "executable" || task.kind === "service") return undefined
  for (const key of fields) {
    if (options[key] !== undefined && asksFor(options[key], key)) {
      const message = `is for programs, and task ${task.name} is of kind ${task.kind}; leave it out, and pass what the task needs in its payload`
      return refuse(key, "UnsupportedOption", message)
    }
  }
  return undefined
}

type Part = Omit<Executable, "_tag">
const isFile = ({ stdin }: Part): boolean => typeof stdin === "object" && !(stdin instanceof Uint8Array)

/** What a program can ask for: the option of a driver, the field, and whether it does ask. */
const asked: ReadonlyArray<readonly [option: HonouredOption, field: string, asks: (program: Part) => boolean]> = [
  ["cwd", "cwd", ({ cwd }) => cwd !== undefined],
  ["env", "env", ({ env }) => asksFor(env, "env")],
  ["stdinFile", "stdin.file", isFile],
  ["stdin", "stdin", (program) => program.stdin !== undefined && !isFile(program)],
  ["captureFiles", "capture.stdout", ({ capture }) => capture.stdout !== undefined],
  ["captureFiles", "capture.stderr", ({ capture }) => capture.stderr !== undefined],
  ["append", "capture.append", ({ capture }) => capture.append],
  ["makeDirectories", "capture.makeDirectories", ({ capture }) => capture.makeDirectories],
  ["mergeStderr", "capture.mergeStderr", ({ capture }) => capture.mergeStderr],
  ["overflow", "capture.overflow", ({ capture }) => capture.overflow !== "fail"],
  ["overflow", "capture.limit", ({ capture }) => capture.limit !== defaultCaptureLimit],
  ["onChunk", "capture.onChunk", ({ capture }) => capture.streaming],
  ["preExec", "preExec", ({ preExec }) => preExec.length > 0],
  ["sandbox", "sandbox", ({ sandbox }) => sandbox],
  ["rlimits", "rlimits", ({ rlimits }) => asksFor(rlimits)],
  ["nice", "nice", ({ nice }) => asksFor(nice)],
  ["orphans", "orphans", ({ orphans }) => orphans !== "kill"]
]

/** More than so many, unhonoured, would be another run than the one that was asked for. */
const harmless = { gpus: 0, ranks: 1, nodes: 1 } as const

const nothing: ReadonlyArray<HonouredOption> = []

/** What this driver would ignore. */
export const checkHonoured = (
  { honours = nothing, type }: AnyDriver,
  task: string,
  program: Work,
  resources: Resources
): Refusal => {
  const unsupported = (field: string) =>
    refuse(
      field,
      "UnsupportedOption",
      `backend ${type} does not honour it, and would run task ${task} as if it were not there; leave it out, or submit the task to a backend that honours it`
    )
  for (const key of ["gpus", "ranks", "nodes"] as const) {
    const count = resources[key]
    if (count !== undefined && count > harmless[key] && !honours.includes(key)) return unsupported(`resources.${key}`)
  }
  if (program._tag !== "executable" && program._tag !== "service") return undefined
  for (const [option, field, asks] of asked) {
    if (asks(program) && !honours.includes(option)) return unsupported(field)
  }
  return undefined
}
