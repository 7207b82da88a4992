/** One attempt of a task as a driver receives it. */
import type { HandlerService, PythonCall } from "./TaskDefinition.js"
import type { Capture, Env, InputFile, Orphans, Overflow, Resources, Rlimits, Text } from "./TaskOptions.js"

/** A program and all that is said about it, with the defaults applied. */
export interface Executable {
  readonly _tag: "executable"
  readonly executable: Text
  readonly args: ReadonlyArray<Text>
  readonly stdin: Text | InputFile | undefined
  /** Added to the environment the program inherits; `undefined` removes. */
  readonly env: Env
  readonly cwd: string | undefined
  readonly capture: {
    readonly limit: number
    readonly overflow: Overflow
    readonly stdout: string | undefined
    readonly stderr: string | undefined
    /** Add to the files instead of emptying them. */
    readonly append: boolean
    /** Make the directories of the files that are not there. */
    readonly makeDirectories: boolean
    readonly mergeStderr: boolean
    readonly onChunk: Capture["onChunk"]
    /** Whether the result is decoded from standard output: then it is wanted back even when it goes to a file. */
    readonly wanted: boolean
  }
  /** Lines for bash, before the program. */
  readonly preExec: ReadonlyArray<string>
  /** Whether it gets a directory of its own. */
  readonly sandbox: boolean
  readonly rlimits: Rlimits | undefined
  readonly nice: number | undefined
  readonly orphans: Orphans
}

/** What to run. */
export type Work =
  | Executable
  | { readonly _tag: "function"; readonly handler: HandlerService }
  | { readonly _tag: "worker"; readonly module: URL; readonly export: string }
  | {
      readonly _tag: "python"
      /** `"package.module:callable"` */
      readonly callable: string
      /** How the payload is handed over. Default `"kwargs"`. */
      readonly call?: PythonCall
      /** With `"args"`, the payload's fields in the order of the schema. */
      readonly fields?: ReadonlyArray<string>
      /** Directories where modules are looked for, before those of the engine. */
      readonly path?: ReadonlyArray<string>
    }
  | (Omit<Executable, "_tag"> & { readonly _tag: "service"; readonly ready: RegExp })

/** A named file that another task of the same backend leaves in its sandbox. */
export interface ProducedFile {
  readonly _tag: "ProducedFile"
  /** Uid of the task that makes it. */
  readonly producer: string
  /** Relative to the producer's sandbox. By default the producer's uid. */
  readonly file: string
  /** Relative to the sandbox of the task that needs it. By default as `file`. */
  readonly target: string
}

/** A file that no task makes. */
export interface ExternalFile {
  readonly _tag: "ExternalFile"
  readonly path: string
  /** Relative to the sandbox of the task that needs it. By default the last part of `path`. */
  readonly target: string
}

/** Everything that another task of the same backend leaves in its sandbox. */
export interface ProducedSandbox {
  readonly _tag: "ProducedSandbox"
  /** Uid of the task whose sandbox it is. */
  readonly producer: string
}

/** What a task needs in its sandbox before it starts, with the defaults applied. */
export type Input = ProducedFile | ExternalFile | ProducedSandbox

/** How an input comes into a sandbox, in the words of whoever brings it there: the engine, or the library. */
export interface Staging {
  readonly source: string
  readonly target: string
  readonly action: "link" | "copy" | "move" | "transfer"
}

/** An input that the engine brings by its own means, and how it said that it would. */
export interface Link {
  readonly input: Input
  readonly staging: Staging
}

/**
 * One attempt of a task, as data. Dependencies come with a later version: until then `after`, `links`, `inputs` and
 * `outputs` are empty.
 */
export interface Spec {
  readonly uid: string
  /** Name of the definition. */
  readonly name: string
  /** 1 for the first. */
  readonly attempt: number
  /** Encoded with the payload schema. */
  readonly payload: unknown
  readonly work: Work
  readonly resources: Resources
  readonly priority: number
  /** Decoded with the schema of the driver's own settings; undefined when the task carries none. */
  readonly settings: unknown
  /** Uids of the tasks that it follows. They have succeeded, but for the producers in `links`. */
  readonly after: ReadonlyArray<string>
  /** Inputs that the engine took upon itself. Their producers may still be on their way. */
  readonly links: ReadonlyArray<Link>
  /** All other inputs. Their producers have succeeded, and the library has put them into the sandbox. */
  readonly inputs: ReadonlyArray<Input>
  /** Files that it is to leave, relative to its sandbox. */
  readonly outputs: ReadonlyArray<string>
}

/** An attempt by its two names: the engine must give both back. */
export interface AttemptKey {
  readonly uid: string
  readonly attempt: number
}
