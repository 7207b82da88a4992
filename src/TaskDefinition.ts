/** Definitions of tasks as values: the schemas of a task, and how it runs. `Task` has the constructors. */
import type * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import type { Codec } from "./internal/codec.js"
import type { Kind } from "./Kind.js"
import type { Outcome } from "./Outcome.js"
import type { Output, PythonException } from "./Output.js"
import type { DefinitionOptions, Env, InputFile, Text } from "./TaskOptions.js"

export const TypeId = "~effect-rhapsody/Task" as const

/** A program to start. No shell is involved: to use one, name it (`executable: "sh", args: ["-c", script]`). */
export interface Command {
  /** A path, or a name that is looked up in the task's own PATH. */
  readonly executable: Text
  readonly args?: ReadonlyArray<Text> | undefined
  /** Given to the program as its standard input: text, bytes or a file; without it, the input is empty. */
  readonly stdin?: Text | InputFile | undefined
  /** As the option of the same name, which wins where both name a variable. */
  readonly env?: Env | undefined
  /** As the option of the same name, which wins. */
  readonly cwd?: string | undefined
}

/**
 * How a Python function gets its payload: each field as a keyword argument (`"kwargs"`), the fields in the order of the
 * schema as positional ones (`"args"`; one that is left out before one that is given is refused), the whole as one dictionary (`"object"`), or a payload of two fields, `args` and `kwargs`,
 * as what they say (`"both"`).
 */
export type PythonCall = "kwargs" | "args" | "object" | "both"

/** How a definition is run: its half that is not schemas. */
export type Implementation =
  | {
      readonly _tag: "executable"
      readonly command: (payload: any) => Command
      readonly failure: ((output: Output, payload: any) => unknown) | undefined
      readonly exitCodes: ReadonlyArray<number>
    }
  | { readonly _tag: "function" }
  | { readonly _tag: "worker"; readonly module: URL; readonly export: string }
  | {
      readonly _tag: "python"
      readonly callable: string
      readonly call?: PythonCall
      readonly path?: ReadonlyArray<string>
      readonly failure?: (exception: PythonException, payload: any) => unknown
    }
  | { readonly _tag: "service"; readonly command: (payload: any) => Command; readonly ready: RegExp }

/** Any definition. */
export interface Any {
  readonly [TypeId]: typeof TypeId
  readonly name: string
  readonly kind: Kind
  readonly payloadSchema: Schema.Schema.AnyNoContext
  readonly successSchema: Schema.Schema.AnyNoContext
  readonly errorSchema: Schema.Schema.All
  readonly implementation: Implementation
  readonly options: DefinitionOptions
  /** @internal compiled at first use */
  readonly codec: Codec
  /** @internal of a function: what its handler is found by */
  readonly handler: Context.Tag<any, HandlerService> | undefined
}

/** What a handler may know about the attempt it serves. */
export interface AttemptInfo {
  readonly uid: string
  /** 1 for the first. */
  readonly attempt: number
}

export interface HandlerService {
  /** The definition that this is the handler of; a namesake is refused. */
  readonly task: Any
  /** Encoded payload to encoded outcome. */
  readonly run: (payload: unknown, info: AttemptInfo) => Effect.Effect<Outcome>
}
