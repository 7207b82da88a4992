/**
 * One attempt of a task as plain data: it can be stored, sent and run again elsewhere. What lives in this process alone
 * (handlers, callbacks, the values of secret variables) is in the `LocalHooks` that a driver gets beside it.
 *
 * The types are those of Schemas. `Spec` writes every spec as JSON; `specSchema(driver)` those of one driver, with its own
 * kinds and settings.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { ConcurrentBackend, Driver } from "effect-rhapsody"
 *
 * // a driver that prints each attempt before it runs it
 * export const printing = Effect.map(ConcurrentBackend.driver(), (inner) => {
 *   const encode = Schema.encodeSync(Schema.parseJson(Driver.specSchema(inner)))
 *   return {
 *     ...inner,
 *     run: (spec: Driver.Spec<ConcurrentBackend.Kinds>, hooks: Driver.SlotHooks) =>
 *       Effect.zipRight(Effect.log(encode(spec)), inner.run(spec, hooks))
 *   }
 * })
 * ```
 */
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { define } from "./internal/define.js"
import { OptionalData } from "./internal/plain.js"
import { Kind } from "./Kind.js"
import type { SettingsConstructor } from "./TaskOptions.js"

/** Text, or bytes that need not be UTF-8: these are written as `{ base64 }`. */
export const Text = Schema.Union(
  Schema.String,
  Schema.transform(Schema.Struct({ base64: Schema.Uint8ArrayFromBase64 }), Schema.Uint8ArrayFromSelf, {
    strict: true,
    decode: ({ base64 }) => base64,
    encode: (base64) => ({ base64 })
  })
)

// ------------------------------------------------------------------------------------------------------------- secrets

/** In the place of a variable that is `Redacted`: a spec has its name, `LocalHooks.secrets` its value. */
export const Secret = Schema.TaggedStruct("Secret", {})
export type Secret = typeof Secret.Type

/**
 * The values of the variables that a spec has as `Secret`, by name. To encode them writes them as they are: only a driver
 * that has to send them to where its programs run asks for it, and makes sure that no other user can read them.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Driver } from "effect-rhapsody"
 *
 * export const secretsOf = (hooks: Driver.LocalHooks) =>
 *   Schema.encodeSync(Schema.parseJson(Driver.Secrets))(hooks.secrets) // [["TOKEN","s3cret"]]
 * ```
 */
export const Secrets = Schema.ReadonlyMap({ key: Schema.String, value: Schema.Redacted(Schema.String) })
export type Secrets = ReadonlyMap<string, Redacted.Redacted<string>>

/** `undefined` removes a variable; it is written as `null`. */
const Removed = Schema.transform(Schema.Null, Schema.Undefined, {
  strict: true,
  decode: () => undefined,
  encode: () => null
})
const Variable = Schema.Union(Text, Secret, Removed)
export type Variable = typeof Variable.Type

/** By name. Written as a list of pairs, because a name may be `__proto__`. */
export const Variables = Schema.transform(
  Schema.Array(Schema.Tuple(Schema.String, Variable)),
  Schema.declare((u): u is Readonly<Record<string, Variable>> => typeof u === "object" && u !== null, {
    arbitrary: () => (fc) =>
      fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.uint8Array(), fc.constantFrom(undefined, Secret.make())))
  }),
  {
    strict: true,
    decode: (pairs) => {
      const all: Record<string, Variable> = {}
      for (const [name, value] of pairs) define(all, name, value)
      return all
    },
    encode: (variables) => Object.entries(variables)
  }
)

// ------------------------------------------------------------------------------------------------------------ programs

const Limit = Schema.optional(Schema.NonNegativeInt)

const program = {
  executable: Text,
  args: Schema.Array(Text),
  stdin: Schema.UndefinedOr(Schema.Union(Text, Schema.Struct({ file: Schema.String }))),
  /** Added to the environment that the program inherits. */
  env: Variables,
  cwd: Schema.UndefinedOr(Schema.String),
  capture: Schema.Struct({
    /** Bytes kept in memory per stream. */
    limit: Schema.NonNegativeInt,
    overflow: Schema.Literal("fail", "truncate", "spill"),
    stdout: Schema.UndefinedOr(Schema.String),
    stderr: Schema.UndefinedOr(Schema.String),
    /** Add to the files instead of emptying them. */
    append: Schema.Boolean,
    /** Make the directories of the files that are not there. */
    makeDirectories: Schema.Boolean,
    mergeStderr: Schema.Boolean,
    /** Its output is asked for while it runs: `LocalHooks.onChunk` takes it. */
    streaming: Schema.Boolean,
    /** Whether the result is decoded from standard output: then it is wanted back even when it goes to a file. */
    wanted: Schema.Boolean
  }),
  /** Lines for bash, before the program. */
  preExec: Schema.Array(Schema.String),
  /** Whether it gets a directory of its own. */
  sandbox: Schema.Boolean,
  rlimits: Schema.UndefinedOr(
    Schema.Struct({
      addressSpace: Limit,
      coreSize: Limit,
      cpuSeconds: Limit,
      dataSize: Limit,
      fileSize: Limit,
      lockedMemory: Limit,
      openFiles: Limit,
      processes: Limit,
      stackSize: Limit
    })
  ),
  nice: Schema.UndefinedOr(Schema.Int),
  orphans: Schema.Literal("kill", "detach")
}

/** A program and all that is said about it, with the defaults applied. */
export const Executable = Schema.TaggedStruct("executable", program)
export interface Executable extends Schema.Schema.Type<typeof Executable> {}

/** Written by its source and flags. */
const Pattern = Schema.transform(
  Schema.Struct({ source: Schema.String, flags: Schema.String }).pipe(
    Schema.filter(({ flags, source }) => {
      try {
        return new RegExp(source, flags) !== undefined
      } catch (cause) {
        return (cause as Error).message
      }
    })
  ),
  Schema.declare((u): u is RegExp => u instanceof RegExp, {
    arbitrary: () => (fc) => fc.constantFrom(/ready/, /port=(?<port>\d+)/u, /a\/b\n/im, /(?:)/, /^x$/gs)
  }),
  {
    strict: true,
    decode: ({ flags, source }) => new RegExp(source, flags),
    encode: ({ flags, source }) => ({ flags, source })
  }
)

/** A program that is ready when it prints what matches `ready`. */
export const Service = Schema.TaggedStruct("service", { ...program, ready: Pattern })
export interface Service extends Schema.Schema.Type<typeof Service> {}

// ----------------------------------------------------------------------------------------------------- all other kinds

/** An Effect of this process: `LocalHooks.handler` runs it. */
export const FunctionCall = Schema.TaggedStruct("function", {})
export interface FunctionCall extends Schema.Schema.Type<typeof FunctionCall> {}

/** An export of a module. */
export const WorkerCall = Schema.TaggedStruct("worker", { module: Schema.URL, export: Schema.String })
export interface WorkerCall extends Schema.Schema.Type<typeof WorkerCall> {}

/** A callable of Python. */
export const Python = Schema.TaggedStruct("python", {
  /** `"package.module:callable"` */
  callable: Schema.String,
  /** How the payload is handed over. Default `"kwargs"`. */
  call: Schema.optional(Schema.Literal("kwargs", "args", "object", "both")),
  /** With `"args"`, the payload's fields in the order of the schema. */
  fields: Schema.optional(Schema.Array(Schema.String)),
  /** Directories where modules are looked for, before those of the engine. */
  path: Schema.optional(Schema.Array(Schema.String))
})
export interface Python extends Schema.Schema.Type<typeof Python> {}

const works = {
  executable: Executable,
  function: FunctionCall,
  worker: WorkerCall,
  python: Python,
  service: Service
} as const satisfies Record<Kind, Schema.Schema.AnyNoContext>

interface Works {
  readonly executable: Executable
  readonly function: FunctionCall
  readonly worker: WorkerCall
  readonly python: Python
  readonly service: Service
}

/** What to run: of these kinds. */
export type Work<K extends Kind = Kind> = Works[K]

// --------------------------------------------------------------------------------------------------------------- files

/** A named file that another task of the same backend leaves in its sandbox. */
export const ProducedFile = Schema.TaggedStruct("ProducedFile", {
  /** Uid of the task that makes it. */
  producer: Schema.String,
  /** Relative to the producer's sandbox. By default the producer's uid. */
  file: Schema.String,
  /** Relative to the sandbox of the task that needs it. By default as `file`. */
  target: Schema.String
})
export type ProducedFile = typeof ProducedFile.Type

/** A file that no task makes. */
export const ExternalFile = Schema.TaggedStruct("ExternalFile", {
  path: Schema.String,
  /** Relative to the sandbox of the task that needs it. By default the last part of `path`. */
  target: Schema.String
})
export type ExternalFile = typeof ExternalFile.Type

/** Everything that another task of the same backend leaves in its sandbox. */
export const ProducedSandbox = Schema.TaggedStruct("ProducedSandbox", {
  /** Uid of the task whose sandbox it is. */
  producer: Schema.String
})
export type ProducedSandbox = typeof ProducedSandbox.Type

/** What a task needs in its sandbox before it starts, with the defaults applied. */
export const Input = Schema.Union(ProducedFile, ExternalFile, ProducedSandbox)
export type Input = typeof Input.Type

/** How an input comes into a sandbox, in the words of the engine or the library, which brings it there. */
export const Staging = Schema.Struct({
  source: Schema.String,
  target: Schema.String,
  action: Schema.Literal("link", "copy", "move", "transfer")
})
export type Staging = typeof Staging.Type

/** An input that the engine brings by its own means, and how it said that it would. */
export const Link = Schema.Struct({ input: Input, staging: Staging })
export type Link = typeof Link.Type

// ---------------------------------------------------------------------------------------------------------------- spec

const Amount = Schema.optional(Schema.JsonNumber)

/** What a task needs. `memory` in bytes, `walltime` in milliseconds. */
export const Resources = Schema.Struct({
  cores: Amount,
  gpus: Amount,
  memory: Amount,
  ranks: Amount,
  nodes: Amount,
  walltime: Amount
})
export type Resources = typeof Resources.Type

/** An attempt by its two names: the engine must give both back. */
export const AttemptKey = Schema.Struct({
  uid: Schema.String,
  /** 1 for the first. */
  attempt: Schema.Int
})
export type AttemptKey = typeof AttemptKey.Type

/** What is the same for all attempts of a task. */
const ofTask = {
  /** Name of the definition. */
  name: Schema.String,
  /** Encoded with the payload schema. */
  payload: OptionalData,
  resources: Resources,
  priority: Schema.JsonNumber,
  /** Decoded with the schema of the driver's own settings; undefined when the task carries none. */
  settings: OptionalData,
  /** Uids of the tasks that it follows. They have succeeded, but for the producers in `links`. */
  after: Schema.Array(Schema.String),
  /** Inputs that the engine took upon itself. Their producers may still be on their way. */
  links: Schema.Array(Link),
  /** All other inputs. Their producers have succeeded, and the library has put them into the sandbox. */
  inputs: Schema.Array(Input),
  /** Files that it is to leave, relative to its sandbox. */
  outputs: Schema.Array(Schema.String)
}

/**
 * A spec without the attempt: what is known of a task when it is submitted. Dependencies come with a later version: until
 * then `after`, `links`, `inputs` and `outputs` are empty.
 */
export interface TaskSpec<out K extends Kind = Kind> extends Schema.Struct.Type<typeof ofTask> {
  readonly work: Work<K>
}

/** One attempt of a task of one of these kinds, as data. */
export interface Spec<out K extends Kind = Kind> extends TaskSpec<K>, AttemptKey {}

/** What a spec looks like as JSON. */
export interface SpecEncoded extends Schema.Struct.Encoded<typeof ofTask>, Schema.Schema.Encoded<typeof AttemptKey> {
  readonly work: Schema.Schema.Encoded<(typeof works)[Kind]>
}

/**
 * The schema of the specs of a driver: of its kinds, with its own settings, which are written as `Task.settings` takes them.
 * A task of another kind does not decode.
 */
export const specSchema = <const K extends Kind>({
  kinds,
  settings
}: {
  readonly kinds: ReadonlyArray<K>
  readonly settings?: SettingsConstructor<never> | undefined
}): Schema.Schema<Spec<K>, SpecEncoded> =>
  Schema.Struct({
    ...AttemptKey.fields,
    ...ofTask,
    settings: settings === undefined ? OptionalData : Schema.UndefinedOr(settings.schema),
    work: Schema.Union(...kinds.map((kind) => works[kind]))
  }) as unknown as Schema.Schema<Spec<K>, SpecEncoded>

/** Any spec, as JSON can keep it. Settings must be JSON: where they are not, use `specSchema(driver)`. */
export const Spec: Schema.Schema<Spec, SpecEncoded> = specSchema({ kinds: Kind.literals })
