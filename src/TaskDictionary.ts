/**
 * Tasks as the dictionaries of the original library, e.g. from a JSON file: decoded into instances that any backend of
 * their kind runs. Programs that are written here say more, and have it checked, with `Task`.
 *
 * A program's result is its standard output as text; a Python function's is what it returned. Keys that are unknown,
 * or that mean nothing for the task at hand, are refused by name: none is ignored. `null` is Python's None: not given.
 *
 * @example
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { BackendRegistry, ExecutionBackend, TaskDictionary } from "effect-rhapsody"
 *
 * export const program = Effect.gen(function*() {
 *   const tasks = yield* TaskDictionary.decodeAll([
 *     { uid: "hello", executable: "echo", arguments: ["hello"], timeout: 30 },
 *     { uid: "bye", executable: "sh", arguments: ["-c", "echo $WORD"], env: { WORD: "bye" } }
 *   ])
 *   return yield* Effect.forEach(tasks, ExecutionBackend.execute)
 * }).pipe(Effect.provide(Layer.provide(BackendRegistry.layer(), BackendRegistry.layerDefault)))
 * ```
 */
import * as Effect from "effect/Effect"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type { ConfigurationErrorReason } from "./Errors.js"
import { ConfigurationError } from "./Errors.js"
import type { ExecutionBackend } from "./ExecutionBackend.js"
import { describe } from "./internal/describe.js"
import * as fields from "./internal/dictionary/fields.js"
import { toInstance } from "./internal/dictionary/instance.js"
import { firstIssue } from "./internal/issue.js"
import * as Task from "./Task.js"

/** What a dictionary becomes: submit it as any instance. A layer that runs both kinds satisfies it. */
export type Instance = Task.Instance<unknown, never, ExecutionBackend<"executable" | "python">>

/** What the dictionary of a program becomes: a layer that runs programs is enough, such as `ConcurrentBackend`. */
export type ProgramInstance = Task.Instance<string, never, ExecutionBackend<"executable">>

/** A key of the original that this version has no meaning for: only what says "not that" is taken. */
export type NotHere = null | undefined | false | readonly []

/** What a task needs, as `Task.Resources`. */
export interface ResourceDict {
  readonly cores?: number | null | undefined
  readonly gpus?: number | null | undefined
  /** Bytes. */
  readonly memory?: number | null | undefined
  /** MPI ranks. */
  readonly ranks?: number | null | undefined
  readonly nodes?: number | null | undefined
  /** Seconds, or text such as `"2 hours"`: the time to ask a scheduler for. It ends nothing here: that is `timeout`. */
  readonly walltime?: number | string | null | undefined
}

/** What is kept of what a program prints, as `Task.Capture`. */
export interface CaptureDict {
  /** Files, relative to the task's `cwd`. */
  readonly stdout?: string | null | undefined
  readonly stderr?: string | null | undefined
  /** Standard error goes where standard output goes. */
  readonly mergeStderr?: boolean | null | undefined
  /** Bytes per stream in memory. */
  readonly limit?: number | null | undefined
  readonly overflow?: Task.Overflow | null | undefined
  /** `true`: add to these files instead of emptying them. Default `false`. */
  readonly append?: boolean | null | undefined
  /** `true`: make the directories of these files that are not there. Default `false`. */
  readonly makeDirectories?: boolean | null | undefined
}

/** A task as a dictionary. Exactly one of `executable` and `function` is there. */
export interface TaskDict {
  /** Unique in its backend among live and recent tasks. Default: `task.000001` and so on. */
  readonly uid?: string | null | undefined
  /** A program: a path, or a name that is looked up in PATH. */
  readonly executable?: string | null | undefined
  /** Of a program, each a text: a number is refused, for how to write it is yours to say. Default: none. */
  readonly arguments?: ReadonlyArray<string> | null | undefined
  /** A Python function by reference, `"package.module:callable"`. */
  readonly function?: string | null | undefined
  /** Of a Python function. Default: none. */
  readonly args?: ReadonlyArray<unknown> | null | undefined
  readonly kwargs?: { readonly [name: string]: unknown } | null | undefined
  /** Of a program: added to the environment that it inherits. */
  readonly env?: { readonly [name: string]: string } | null | undefined
  /** Of a program: its working directory. Default: that of the backend. */
  readonly cwd?: string | null | undefined
  /** Of a program: lines that bash runs before it, such as `"module load gromacs"`. Default: none. */
  readonly pre_exec?: ReadonlyArray<string> | null | undefined
  /** Of a program: `true` gives it a directory of its own. Default `false`. */
  readonly sandbox?: boolean | null | undefined
  /** Of a program: what is kept of its output, as `Task.Capture`. Default: both streams in memory, up to 64 MiB each. */
  readonly capture?: CaptureDict | null | undefined
  /** Longest time of one attempt: seconds, or text such as `"5 minutes"`. Default: `Defaults.timeout`, no limit. */
  readonly timeout?: number | string | null | undefined
  /** The highest starts first. Default 0. */
  readonly priority?: number | null | undefined
  /** Further attempts after a failed one. Default: `Defaults.retryAttempts`, 0. */
  readonly retry_count?: number | null | undefined
  readonly resources?: ResourceDict | null | undefined
  /**
   * What one backend alone understands, under its name: `{ dask: { priority: 5 } }` becomes the task's `settings`, and
   * every other backend refuses the task. Of what RHAPSODY takes flat, `cwd`, `env` and `pre_exec` are those above, and
   * `shell` may be false; the rest is refused, because nothing says which backend it is meant for.
   */
  readonly task_backend_specific_kwargs?:
    | {
        readonly cwd?: string | null | undefined
        readonly env?: { readonly [name: string]: string } | null | undefined
        readonly pre_exec?: ReadonlyArray<string> | null | undefined
        readonly shell?: boolean | null | undefined
        readonly [backend: string]: unknown
      }
    | null
    | undefined
  /** The layer that is provided decides: see `BackendRegistry.layer`. */
  readonly backend?: NotHere
  /** This version stages no files. */
  readonly input_files?: NotHere
  /** This version stages no files. */
  readonly output_files?: NotHere
  /** Output is captured unless it goes to files: see `capture`. */
  readonly capture_stdio?: NotHere
  /** This version has no dependencies between tasks. */
  readonly depends_on?: NotHere
  /** Results that RHAPSODY writes into its dictionaries. */
  readonly stdout?: NotHere
  readonly stderr?: NotHere
  readonly state?: NotHere
  readonly exit_code?: NotHere
  readonly return_value?: NotHere
  readonly response?: NotHere
  readonly exception?: NotHere
  /** See `Task.service`, which says when it is ready. */
  readonly is_service?: NotHere
  /** This version runs no AI tasks. */
  readonly prompt?: NotHere
}

/** The dictionary of a program. */
export interface ProgramDict extends TaskDict {
  readonly executable: string
  readonly function?: null | undefined
}

const Dictionary: Schema.Schema<TaskDict> = Schema.Struct(fields.dictionary).annotations({
  message: () => "must be a dictionary: { executable: ... } or { function: ... }",
  parseOptions: { onExcessProperty: "error" }
})

// So that what was decoded can be written again, as it was.
const origins = new WeakMap<Task.Submittable, TaskDict>()

/**
 * Decodes a dictionary; encodes only what it decoded, as it was. Errors are a `ParseError` with the path of the key;
 * `decode` gives them as a `ConfigurationError`.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { TaskDictionary } from "effect-rhapsody"
 *
 * export const Campaign = Schema.parseJson(Schema.Struct({
 *   name: Schema.String,
 *   tasks: TaskDictionary.TaskList
 * }))
 * ```
 */
export const TaskDictionary: Schema.Schema<Instance, TaskDict> = Schema.transformOrFail(
  Dictionary,
  Schema.declare((u): u is Instance => Task.isInstance(u), { identifier: "TaskInstance" }),
  {
    strict: true,
    decode: (dictionary, _, ast) => {
      const made = toInstance(dictionary)
      if ("wrong" in made) {
        const [path, message] = made.wrong
        // not the value itself, which may hold a secret
        return ParseResult.fail(new ParseResult.Pointer(path, undefined, new ParseResult.Type(ast, undefined, message)))
      }
      origins.set(made.instance, dictionary)
      return ParseResult.succeed(made.instance)
    },
    encode: (instance, _, ast) => {
      const origin = origins.get(instance)
      return origin === undefined
        ? ParseResult.fail(new ParseResult.Forbidden(ast, instance, "this task was not made from a dictionary"))
        : ParseResult.succeed(origin)
    }
  }
)

/** Several, as the original's list of tasks. */
export const TaskList: Schema.Schema<ReadonlyArray<Instance>, ReadonlyArray<TaskDict>> = Schema.Array(
  TaskDictionary
).annotations({ message: () => "must be a list of dictionaries" })

// ------------------------------------------------------------------------------------------------------------- verbs

const payloadKeys = new Set(["executable", "function", "arguments", "args", "kwargs"])
const known = Object.keys(fields.dictionary).filter((key) => !fields.notHere.has(key))

const refusal = (issue: ParseResult.ParseIssue): ConfigurationError => {
  const { key, message, unexpected } = firstIssue(issue)
  const own = key.replace(/^\[\d+\]\.?/, "")
  const reason: ConfigurationErrorReason =
    own === "" ? "NotATask" : payloadKeys.has(own.replace(/[.[].*/s, "")) ? "InvalidPayload" : "InvalidOption"
  const meant = unexpected ? fields.meaning(own) : undefined
  const remedy = meant === undefined ? `known: ${known.join(", ")}` : `write ${meant}`
  const details = { message: unexpected && !own.includes(".") ? `is no key of a task; ${remedy}` : message }
  return new ConfigurationError({ reason, details, ...(key === "" ? {} : { configKey: key }) })
}

const decoder = <A>(schema: Schema.Schema<A, any>) => {
  const parse = ParseResult.decodeUnknown(schema)
  return (input: unknown): Effect.Effect<A, ConfigurationError> =>
    Effect.suspend(() => parse(input)).pipe(Effect.mapError(refusal), Effect.catchAllDefect(unreadable))
}
/** A getter, or a proxy. */
const unreadable = (cause: unknown) => {
  const details = { message: `the dictionary cannot be read: ${describe(cause)}` }
  return new ConfigurationError({ reason: "NotATask", details, cause })
}

const one = decoder(TaskDictionary)
const all = decoder(TaskList)

/**
 * Decodes one dictionary. Fails with `ConfigurationError`, whose `configKey` names the key (`arguments[1]`, `env.HOME`)
 * and which shows no text that was given: InvalidPayload for what is to be run and what is given to it, NotATask for
 * something else than a dictionary, InvalidOption for the rest. A uid that is in use is refused at submission.
 *
 * Where the type says that it is a program, so does that of the instance; for dictionaries that are read from elsewhere
 * see `decodePrograms`.
 */
export const decode: {
  (input: ProgramDict): Effect.Effect<ProgramInstance, ConfigurationError>
  (input: unknown): Effect.Effect<Instance, ConfigurationError>
} = (input: unknown): Effect.Effect<any, ConfigurationError> => one(input)

/** Decodes a list; the `configKey` begins with the index: `[2].arguments[0]`. One that is wrong refuses all. */
export const decodeAll: {
  (input: ReadonlyArray<ProgramDict>): Effect.Effect<ReadonlyArray<ProgramInstance>, ConfigurationError>
  (input: unknown): Effect.Effect<ReadonlyArray<Instance>, ConfigurationError>
} = (input: unknown): Effect.Effect<any, ConfigurationError> => all(input)

/**
 * Decodes a list that has to hold programs alone, such as one from a file: a backend that runs programs is enough for
 * them. A Python function is refused as UnsupportedKind, by its key: `[2].function`.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { ConcurrentBackend, ExecutionBackend, TaskDictionary } from "effect-rhapsody"
 *
 * export const run = (json: string) =>
 *   TaskDictionary.decodePrograms(JSON.parse(json)).pipe(
 *     Effect.flatMap(ExecutionBackend.submitMany),
 *     Effect.provide(ConcurrentBackend.layer())
 *   )
 * ```
 */
export const decodePrograms = (input: unknown): Effect.Effect<ReadonlyArray<ProgramInstance>, ConfigurationError> =>
  Effect.flatMap(all(input), (instances) => {
    const other = instances.findIndex(({ task }) => task.kind !== "executable")
    return other === -1
      ? Effect.succeed(instances as ReadonlyArray<Task.Instance<any, never, never>>)
      : new ConfigurationError({
          configKey: `[${other}].function`,
          reason: "UnsupportedKind",
          details: { message: "is a Python function, and only programs are expected; decode it with decodeAll" }
        })
  })
