/** From a dictionary whose keys are right by themselves to a task: what is wrong between keys is found here. */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Task from "../../Task.js"
import { meaning, toDuration } from "./fields.js"
import type { Instance, ResourceDict, TaskDict } from "./types.js"

type Path = readonly [string, ...ReadonlyArray<string>]
type Made = { readonly instance: Instance } | { readonly wrong: readonly [path: Path, message: string] }
type Wrong = Extract<Made, { readonly wrong: unknown }> | undefined

const wrong = (path: Path, message: string): Exclude<Wrong, undefined> => ({ wrong: [path, message] })

const kwargs = "task_backend_specific_kwargs"
const given = (value: unknown) => value !== undefined && value !== null
const some = <K extends string, A>(key: K, value: A | null | undefined): { readonly [k in K]?: A } =>
  value === undefined || value === null ? {} : ({ [key]: value } as { readonly [k in K]?: A })

/** RHAPSODY's dictionaries write out what is empty, so only a value that says something is out of place. */
const says = (value: unknown) => given(value) && (typeof value !== "object" || Object.keys(value!).length > 0)

const onlyFor = (dictionary: TaskDict, keys: ReadonlyArray<keyof TaskDict>, message: string): Wrong => {
  const key = keys.find((key) => says(dictionary[key]))
  return key === undefined ? undefined : wrong([key], message)
}

const programOnly = "is for programs; a Python function is given args and kwargs, and runs where its worker does"

const flatKeys = ["cwd", "env", "pre_exec"] as const

const check = (dictionary: TaskDict): Wrong => {
  const program = given(dictionary.executable)
  const own = dictionary[kwargs] ?? {}
  if (program && given(dictionary.function)) {
    return wrong(["function"], "a task cannot have both executable and function; make it two tasks")
  }
  if (!program && !given(dictionary.function)) {
    return wrong(["executable"], "a task requires either executable or function")
  }
  if (own.shell === true) {
    const message = 'no shell is used unless it is named: { executable: "sh", arguments: ["-c", "..."] }'
    return wrong([kwargs, "shell"], message)
  }
  const flat = flatKeys.find((key) => says(own[key]) && (!program || says(dictionary[key])))
  if (flat !== undefined) {
    return wrong([kwargs, flat], program ? `is given twice; leave the task's own ${flat}` : programOnly)
  }
  return program
    ? onlyFor(dictionary, ["args", "kwargs"], "is for Python functions; for a program, write arguments")
    : onlyFor(dictionary, ["arguments", "env", "cwd", "pre_exec", "sandbox", "capture"], programOnly)
}

const isObject = (u: unknown): u is object => typeof u === "object" && u !== null && !Array.isArray(u)

/** Those of one backend, or what is wrong with them. */
const settingsOf = ({ [kwargs]: all }: TaskDict): Wrong | { readonly settings: Task.Settings } => {
  const { cwd: _cwd, env: _env, pre_exec: _lines, shell: _shell, ...rest } = all ?? {}
  const [first, second] = Object.entries(rest).filter(([, values]) => given(values))
  if (first === undefined) return undefined
  const [backend, values] = first
  if (!isObject(values)) {
    const own = meaning(backend)
    const message =
      own === undefined
        ? `say for which backend it is: { dask: { ${backend}: ... } }`
        : `is a key of the task, outside ${kwargs}: ${own}`
    return wrong([kwargs, backend], message)
  }
  if (second !== undefined) {
    return wrong(
      [kwargs, second[0]],
      `a task carries the settings of one backend, and this one has those of ${backend}`
    )
  }
  return { settings: Task.settings(backend, Schema.Unknown)(values) }
}

const seconds = (time: number | string | null | undefined) =>
  given(time) ? Option.getOrUndefined(toDuration(time!)) : undefined

const captureOf = (given: TaskDict["capture"]): Task.Capture | undefined => {
  if (given === undefined || given === null) return undefined
  const { append, limit, makeDirectories, mergeStderr, overflow, stderr, stdout } = given
  return {
    ...some("append", append),
    ...some("limit", limit),
    ...some("makeDirectories", makeDirectories),
    ...some("mergeStderr", mergeStderr),
    ...some("overflow", overflow),
    ...some("stderr", stderr),
    ...some("stdout", stdout)
  }
}

const resourcesOf = (given: ResourceDict | null | undefined): Task.Resources | undefined => {
  if (given === undefined || given === null) return undefined
  const { cores, gpus, memory, nodes, ranks, walltime } = given
  return {
    ...some("cores", cores),
    ...some("gpus", gpus),
    ...some("memory", memory),
    ...some("ranks", ranks),
    ...some("nodes", nodes),
    ...some("walltime", seconds(walltime))
  }
}

const pythonPayload = {
  args: Schema.Array(Schema.Unknown),
  kwargs: Schema.Record({ key: Schema.String, value: Schema.Unknown })
}

/** A definition for each, named for what it runs: events, errors and metrics say `echo` and not `executable`. */
export const toInstance = (dictionary: TaskDict): Made => {
  const own = settingsOf(dictionary)
  const bad = check(dictionary) ?? (own !== undefined && "wrong" in own ? own : undefined)
  if (bad !== undefined) return bad
  const flat = dictionary[kwargs] ?? {}
  const options: Task.Options = {
    ...some("uid", dictionary.uid),
    ...some("env", says(dictionary.env) ? dictionary.env : flat.env),
    ...some("cwd", dictionary.cwd ?? flat.cwd),
    ...some("preExec", says(dictionary.pre_exec) ? dictionary.pre_exec : flat.pre_exec),
    ...some("sandbox", dictionary.sandbox),
    ...some("capture", captureOf(dictionary.capture)),
    ...some("timeout", seconds(dictionary.timeout)),
    ...some("priority", dictionary.priority),
    ...some("resources", resourcesOf(dictionary.resources)),
    ...(given(dictionary.retry_count) ? { retry: { times: dictionary.retry_count! } } : {}),
    ...(own as { readonly settings: Task.Settings } | undefined)
  }
  const { executable, function: callable } = dictionary
  if (callable !== undefined && callable !== null) {
    const task = Task.python(callable, {
      callable: callable as `${string}:${string}`,
      call: "both",
      payload: pythonPayload,
      success: Schema.Unknown
    })
    return { instance: task.make({ args: dictionary.args ?? [], kwargs: dictionary.kwargs ?? {} }, options) }
  }
  const args = dictionary.arguments ?? []
  const name = executable!.slice(executable!.lastIndexOf("/") + 1)
  const task = Task.executable(name === "" ? executable! : name, { command: () => ({ executable: executable!, args }) })
  return { instance: task.make(undefined, options) }
}
