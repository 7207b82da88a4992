/**
 * Task definitions: what a unit of work takes, gives and may fail with, as schemas, and how it is run. A definition is
 * a plain value; `make` turns it into an instance, another plain value. Nothing runs until an instance is submitted to
 * an `ExecutionBackend`. A definition that could never run throws a `ConfigurationError`, which names the field, where it
 * is written; its options are checked when its instances are submitted.
 *
 * @example
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { ExecutionBackend, Task } from "effect-rhapsody"
 *
 * class Diverged extends Schema.TaggedError<Diverged>()("Diverged", { step: Schema.Int }) {}
 *
 * const Simulate = Task.executable("Simulate", {
 *   payload: { seed: Schema.Int },
 *   success: Schema.parseJson(Schema.Struct({ energy: Schema.Number })), // decodes stdout
 *   error: Diverged,
 *   command: ({ seed }) => ({ executable: "simulate", args: ["--seed", `${seed}`] }),
 *   failure: ({ exitCode }) => exitCode === 3 ? new Diverged({ step: 7 }) : undefined,
 *   timeout: "1 minute"
 * })
 *
 * export const energy = Effect.map(ExecutionBackend.execute(Simulate.make({ seed: 1 })), (_) => _.energy)
 * ```
 */
import "./internal/needsEffect3.js"

import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { ReservedTag, RhapsodyError } from "./Errors.js"
import { define, handlerTag } from "./internal/definition.js"
import { checkDefinition } from "./internal/options/definition.js"
import type { ExecutionBackend, Kind } from "./Kind.js"
import type { Output, PythonException } from "./Output.js"
import type { Any, AttemptInfo, Command, HandlerService, Implementation, PythonCall } from "./TaskDefinition.js"
import type { Instance, Service } from "./TaskInstance.js"
import type { DefinitionOptions, Options } from "./TaskOptions.js"

export { Kind } from "./Kind.js"
export * from "./Output.js"
export * from "./TaskDefinition.js"
export * from "./TaskInstance.js"
export * from "./TaskOptions.js"
// ------------------------------------------------------------------------------------------------------- definitions

/** What `make` takes: nothing for a task without payload, else the fields; those with a default may be left out. */
export type PayloadInput<Fields extends Schema.Struct.Fields> = [keyof Fields] extends [never]
  ? void
  : Schema.Simplify<Schema.Struct.Constructor<Fields>>

/** The payload of an instance, as `make` got it. */
export type Payload<Fields extends Schema.Struct.Fields> = [keyof Fields] extends [never]
  ? {}
  : Schema.Simplify<Schema.Struct.Constructor<Fields>>

/** What an instance needs to run: a backend for its kind, and its handler when it is a function. */
export type Requirements<Name extends string, K extends Kind> =
  | ExecutionBackend<K>
  | (K extends "function" ? Handler<Name> : never)

export interface Task<
  Name extends string,
  K extends Kind,
  Fields extends Schema.Struct.Fields,
  Success extends Schema.Schema.AnyNoContext,
  Error extends Schema.Schema.All
> extends Any {
  readonly name: Name
  readonly kind: K
  readonly payloadSchema: Schema.Struct<Fields> & Schema.Schema.AnyNoContext
  readonly successSchema: Success
  readonly errorSchema: Error
  /** One unit of work. Never throws: a wrong payload or option is an error of `submit`. */
  make(
    payload: PayloadInput<Fields>,
    options?: Options<Error["Type"]>
  ): K extends "service"
    ? Service<Success["Type"], Error["Type"], Requirements<Name, K>>
    : Instance<Success["Type"], Error["Type"], Requirements<Name, K>, Payload<Fields>>
}

// ---------------------------------------------------------------------------------------------------------- handlers

/** In the context: "there is an implementation of this function task". */
export interface Handler<out Name extends string> {
  readonly "~handler": Name
}

/** The key of a handler: `toLayer` provides it, and so may a test or a runner that has another way to run the task. */
export const Handler = <Name extends string>(name: Name): Context.Tag<Handler<Name>, HandlerService> => handlerTag(name)

/** Only function tasks have a handler that is written in the host program. */
export interface FunctionTask<
  Name extends string,
  Fields extends Schema.Struct.Fields,
  Success extends Schema.Schema.AnyNoContext,
  Error extends Schema.Schema.All
> extends Task<Name, "function", Fields, Success, Error> {
  /**
   * The implementation. A program that submits the task and is not given this layer does not compile. What the handler
   * needs is taken from where the layer is built; the task itself, which it may submit again, is there.
   *
   * It fails with the task's own error, or with an error of this library, as that of a task which it runs itself: then
   * its own task ends as `TaskError` Failed, with that error as the `cause`, and may be retried.
   */
  toLayer<R = never>(
    handler: (
      payload: Schema.Struct.Type<Fields>,
      info: AttemptInfo
    ) => Effect.Effect<Success["Type"], Error["Type"] | RhapsodyError, R>
  ): Layer.Layer<Handler<Name>, never, Exclude<R, Handler<Name>>>
}

// ------------------------------------------------------------------------------------------------------ constructors

/** `catchTag` could not distinguish a user's error with one of our tags from ours. */
export type NotReserved<E> =
  Extract<E, { readonly _tag: ReservedTag }> extends never
    ? unknown
    : "the tags TaskError, BackendError and ConfigurationError belong to effect-rhapsody"

interface Schemas<
  Fields extends Schema.Struct.Fields,
  Success extends Schema.Schema.All,
  Error extends Schema.Schema.All
> extends DefinitionOptions<Error["Type"]> {
  /** Fields of the input. Default: none. */
  readonly payload?: Fields | undefined
  readonly success?: Success | undefined
  /** The task's own failures. Default: none; what else can go wrong is a `TaskError`. */
  readonly error?: (Error & NotReserved<Error["Type"]>) | undefined
}

/** What a success schema may decode: standard output as text, as bytes, or the whole `Output`. */
export type Stdout = Schema.Schema<any, string> | Schema.Schema<any, Uint8Array> | typeof Output

/**
 * Runs a program.
 *
 * The success schema decodes its standard output: a schema from `string` (default `Schema.String`; also
 * `Schema.NumberFromString`, `Schema.parseJson(...)`; bytes that are not UTF-8 become U+FFFD), a schema from
 * `Uint8Array` (`Schema.Uint8ArrayFromSelf`: the bytes as they are), or `Task.Output` for everything that is known.
 * An exit code other than `exitCodes` fails with `TaskError` Exit, unless `failure` recognises it.
 */
export const executable = <
  const Name extends string,
  Fields extends Schema.Struct.Fields = {},
  Success extends Stdout = typeof Schema.String,
  Error extends Schema.Schema.All = typeof Schema.Never
>(
  name: Name,
  options: Schemas<Fields, Success, Error> & {
    readonly command: (payload: Schema.Struct.Type<Fields>) => Command
    /**
     * Recognises a failure of the task's own; `undefined` leaves it a `TaskError` Exit or Signal. Asked when the program
     * ended with a code that is not in `exitCodes`, or was killed by a signal that is not this library's.
     */
    readonly failure?: ((output: Output, payload: Schema.Struct.Type<Fields>) => Error["Type"] | undefined) | undefined
    /** Codes that count as success. Default: 0 alone. */
    readonly exitCodes?: ReadonlyArray<number> | undefined
  }
): Task<Name, "executable", Fields, Success, Error> => {
  checkDefinition("executable", name, options)
  const { command, exitCodes, failure, ...rest } = options
  return define(
    name,
    { _tag: "executable", command, failure, exitCodes: exitCodes?.slice() ?? [0] },
    rest,
    Schema.String
  )
}

const function_ = <
  const Name extends string,
  Fields extends Schema.Struct.Fields = {},
  Success extends Schema.Schema.AnyNoContext = typeof Schema.Void,
  Error extends Schema.Schema.All = typeof Schema.Never
>(
  name: Name,
  options: Schemas<Fields, Success, Error> = {}
): FunctionTask<Name, Fields, Success, Error> => {
  checkDefinition("function", name, options)
  return define(name, { _tag: "function" }, options, Schema.Void)
}

export {
  /**
   * Runs an Effect of the host program, given apart with `toLayer`: the definition can be imported where the handler
   * is not (a client, a test, another machine).
   *
   * @example
   * ```ts
   * import { Effect, Schema } from "effect"
   * import { Task } from "effect-rhapsody"
   *
   * export const Mean = Task.function("Mean", {
   *   payload: { values: Schema.NonEmptyArray(Schema.Number) },
   *   success: Schema.Number
   * })
   * export const MeanLive = Mean.toLayer(({ values }) =>
   *   Effect.succeed(values.reduce((a, b) => a + b) / values.length)
   * )
   * ```
   */
  function_ as function
}

/** CPU-bound: an exported function of a module, run in a thread of its own. In this version only Noop and Test answer it. */
export const worker = <
  const Name extends string,
  Fields extends Schema.Struct.Fields = {},
  Success extends Schema.Schema.AnyNoContext = typeof Schema.Void,
  Error extends Schema.Schema.All = typeof Schema.Never
>(
  name: Name,
  options: Schemas<Fields, Success, Error> & {
    readonly module: URL
    readonly export: string
  }
): Task<Name, "worker", Fields, Success, Error> => {
  checkDefinition("worker", name, options)
  const { export: exported, module, ...rest } = options
  return define(name, { _tag: "worker", module, export: exported }, rest, Schema.Void)
}

/**
 * Calls a Python function by reference, `"package.module:callable"`, where the backend runs its Python: an existing one
 * needs no change. Payload and result cross as JSON, through the schemas; a result that can be awaited is awaited.
 *
 * An exception fails with `TaskError` Defect, with its `type`, `module` and `traceback` in the details, unless `failure`
 * recognises it; a module that does not load, or does not have it, with LaunchFailed; a result that JSON would change, or
 * that is not a value of the success schema, with InvalidResult. `None` is the result of a task without success schema.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Task } from "effect-rhapsody"
 *
 * class Diverged extends Schema.TaggedError<Diverged>()("Diverged", { step: Schema.Number }) {}
 *
 * // def relax(energies, steps=100): ... raise Diverged(7)
 * export const Relax = Task.python("Relax", {
 *   callable: "model.relax:relax",
 *   payload: { energies: Schema.Array(Schema.Number), steps: Schema.optional(Schema.Int) },
 *   success: Schema.Number,
 *   error: Diverged,
 *   failure: ({ args, type }) => type === "Diverged" ? new Diverged({ step: Number(args?.[0]) }) : undefined
 * })
 * ```
 */
export const python = <
  const Name extends string,
  Fields extends Schema.Struct.Fields = {},
  Success extends Schema.Schema.AnyNoContext = typeof Schema.Void,
  Error extends Schema.Schema.All = typeof Schema.Never
>(
  name: Name,
  options: Schemas<Fields, Success, Error> & {
    readonly callable: `${string}:${string}`
    /** How the payload is handed over. Default `"kwargs"`. */
    readonly call?: PythonCall | undefined
    /** Directories where modules are looked for first, on the machine that runs the task. */
    readonly path?: ReadonlyArray<string> | undefined
    /** Recognises a failure of the task's own; `undefined` leaves it a `TaskError` Defect. */
    readonly failure?:
      | ((exception: PythonException, payload: Schema.Struct.Type<Fields>) => Error["Type"] | undefined)
      | undefined
  }
): Task<Name, "python", Fields, Success, Error> => {
  checkDefinition("python", name, options)
  const { call, callable, failure, path, ...rest } = options
  const body: Implementation = {
    _tag: "python",
    callable,
    ...(call === undefined ? {} : { call }),
    ...(path === undefined ? {} : { path: path.slice() }),
    ...(failure === undefined ? {} : { failure })
  }
  return define(name, body, rest, Schema.Void)
}

/**
 * A long-lived program. `ready` is matched against its output; the named groups are decoded into the typed info.
 * In this version only Test answers it.
 */
export const service = <
  const Name extends string,
  Fields extends Schema.Struct.Fields = {},
  Info extends Schema.Schema.AnyNoContext = typeof Schema.Void
>(
  name: Name,
  options: Omit<Schemas<Fields, Info, typeof Schema.Never>, "error" | "success"> & {
    readonly info?: Info | undefined
    readonly command: (payload: Schema.Struct.Type<Fields>) => Command
    readonly ready: RegExp
  }
): Task<Name, "service", Fields, Info, typeof Schema.Never> => {
  checkDefinition("service", name, options)
  const { command, info, ready, ...rest } = options
  return define(name, { _tag: "service", command, ready }, rest as Schemas<any, any, any>, info ?? Schema.Void)
}
