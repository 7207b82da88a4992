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
 * }).pipe(Effect.provide(Layer.provide(BackendRegistry.get(), BackendRegistry.layerDefault)))
 * ```
 */
import * as Effect from "effect/Effect"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type { ConfigurationErrorReason } from "./Errors.js"
import { ConfigurationError } from "./Errors.js"
import type { ExecutionBackend } from "./ExecutionBackend.js"
import * as fields from "./internal/dictionary/fields.js"
import { toInstance } from "./internal/dictionary/instance.js"
import { firstIssue } from "./internal/issue.js"
import * as Task from "./Task.js"

/** What a dictionary becomes: submit it as any instance. A layer that runs both kinds satisfies it. */
export type Instance = Task.Instance<unknown, never, ExecutionBackend<"executable" | "python">>

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
  /** Longest time of one attempt: seconds, or text such as `"5 minutes"`. Default: `Defaults.timeout`, no limit. */
  readonly timeout?: number | string | null | undefined
  /** The highest starts first. Default 0. */
  readonly priority?: number | null | undefined
  /** Further attempts after a failed one. Default: `Defaults.retryAttempts`, 0. */
  readonly retry_count?: number | null | undefined
  readonly resources?: ResourceDict | null | undefined
  /**
   * What one backend alone understands, under its name: `{ dask: { priority: 5 } }` becomes the task's `settings`, and
   * every other backend refuses the task. Of what the original takes flat, `cwd` and `env` are those above, and `shell`
   * may be false; the rest is refused, for nothing says which backend it is meant for.
   */
  readonly task_backend_specific_kwargs?:
    | {
        readonly cwd?: string | null | undefined
        readonly env?: { readonly [name: string]: string } | null | undefined
        readonly shell?: boolean | null | undefined
        readonly [backend: string]: unknown
      }
    | null
    | undefined
  /** The layer that is provided decides: see `BackendRegistry.get`. */
  readonly backend?: NotHere
  /** This version stages no files. */
  readonly input_files?: NotHere
  /** This version stages no files. */
  readonly output_files?: NotHere
  /** Output is the result; for files see `capture` of `Task.executable`. */
  readonly capture_stdio?: NotHere
  /** See `Task.service`, which says when it is ready. */
  readonly is_service?: NotHere
  /** This version runs no AI tasks. */
  readonly prompt?: NotHere
}

const Dictionary: Schema.Schema<TaskDict> = Schema.Struct(fields.dictionary).annotations({
  message: () => "must be a dictionary: { executable: ... } or { function: ... }",
  parseOptions: { onExcessProperty: "error" }
})

// So that what was decoded can be written again, as it was.
const origins = new WeakMap<Task.Unit, TaskDict>()

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
  const details = {
    message: unexpected && !own.includes(".") ? `is no key of a task; known: ${known.join(", ")}` : message
  }
  return new ConfigurationError({ reason, details, ...(key === "" ? {} : { configKey: key }) })
}

const decoder = <A>(schema: Schema.Schema<A, any>) => {
  const parse = ParseResult.decodeUnknown(schema)
  return (input: unknown): Effect.Effect<A, ConfigurationError> => Effect.mapError(parse(input), refusal)
}

/**
 * Decodes one dictionary. Fails with `ConfigurationError`, whose `configKey` names the key (`arguments[1]`, `env.HOME`)
 * and which shows no text that was given: InvalidPayload for what is to be run and what is given to it, NotATask for what is no
 * dictionary, InvalidOption for the rest. What is wrong in the end, e.g. a uid in use, is told when it is submitted.
 */
export const decode: (input: unknown) => Effect.Effect<Instance, ConfigurationError> = decoder(TaskDictionary)

/** Decodes a list; the `configKey` begins with the index: `[2].arguments[0]`. One that is wrong refuses all. */
export const decodeAll: (input: unknown) => Effect.Effect<ReadonlyArray<Instance>, ConfigurationError> =
  decoder(TaskList)
