/**
 * Tasks as the dictionaries of RHAPSODY, e.g. from a JSON file: decoded into instances that any backend of
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
import { describe } from "./internal/describe.js"
import * as fields from "./internal/dictionary/fields.js"
import { toInstance } from "./internal/dictionary/instance.js"
import type {
  CaptureDict,
  Instance,
  NotHere,
  ProgramDict,
  ProgramInstance,
  ResourceDict,
  TaskDict
} from "./internal/dictionary/types.js"
import { firstIssue } from "./internal/issue.js"
import * as Task from "./Task.js"

export type { CaptureDict, Instance, NotHere, ProgramDict, ProgramInstance, ResourceDict, TaskDict }

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

/** Several, as RHAPSODY's list of tasks. */
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
