/**
 * What can be said about one unit of work beside its payload: where it runs, how often, how long, what is kept of its
 * output. The same options may stand on a definition (as defaults) and on an instance (which wins; `env` is merged).
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import type { TaskError } from "./Errors.js"
import { schema as checkSchema, text } from "./internal/options/values.js"

const checkName = text("the type of a backend's driver", false)

/** Text, or bytes that need not be UTF-8. */
export type Text = string | Uint8Array

/** A file to be read as standard input, relative to the task's cwd. */
export interface InputFile {
  readonly file: string
}

/**
 * Variables added to the inherited environment; `undefined` removes one. `Redacted` values reach the program and
 * nothing else: no event, log, span or error shows them.
 */
export type Env = Readonly<Record<string, Text | Redacted.Redacted<string> | undefined>>

/**
 * What a task needs, in one form for every backend. A backend that places by them says so; Concurrent does not: one
 * task is one slot there.
 */
export interface Resources {
  readonly cores?: number | undefined
  readonly gpus?: number | undefined
  /** Bytes. */
  readonly memory?: number | undefined
  /** MPI ranks. */
  readonly ranks?: number | undefined
  readonly nodes?: number | undefined
  /** The time to ask a scheduler for. It ends nothing here: that is `timeout`. */
  readonly walltime?: Duration.DurationInput | undefined
}

/**
 * When to try again: the shape of `Effect.retry`. Failures of the task are retried; cancellation, an invalid payload
 * and the loss of the backend are not. A bare `times` waits `Defaults.retryDelay` (1 second) between attempts.
 */
export interface Retry<in E = unknown> {
  /** Further attempts at most. Without `times`, the schedule decides. */
  readonly times?: number | undefined
  /** The delays; its input is the error. */
  readonly schedule?: Schedule.Schedule<unknown, E | TaskError> | undefined
  /** Try again only after these errors. */
  readonly while?: ((error: E | TaskError) => boolean | Effect.Effect<boolean>) | undefined
}

/**
 * What becomes of a program that prints more than `limit`: it is stopped and fails with `TaskError` OutputLimit
 * (`"fail"`, the default), or the first `limit` bytes are kept and the rest is counted (`"truncate"`), or all of it is in
 * a file (`"spill"`). `Task.Output` says which; a result that would have to be decoded from a part of the output
 * fails with OutputLimit.
 */
export type Overflow = "fail" | "truncate" | "spill"

/** A piece of output, as it came: a line may be cut in two. */
export interface OutputChunk {
  readonly stream: "stdout" | "stderr"
  readonly bytes: Uint8Array
}

/**
 * What is kept of what a program prints. By default both streams, in memory, up to 64 MiB each; beyond it the program
 * is stopped with `TaskError` OutputLimit. A file has no limit, unless the success schema has to read it back.
 */
export interface Capture {
  /** Bytes kept in memory per stream. Default 64 MiB. */
  readonly limit?: number | undefined
  /** What more than that leads to. Default `"fail"`. */
  readonly overflow?: Overflow | undefined
  /**
   * Write standard output to this file instead of memory. It is relative to the task's cwd, and created or emptied.
   * `{uid}` and `{attempt}` in it become those of the attempt, so that a retry keeps the log of the attempt before:
   * `"logs/{uid}.{attempt}.out"`.
   */
  readonly stdout?: string | undefined
  /** The same for standard error. */
  readonly stderr?: string | undefined
  /** `true`: add to these files instead of emptying them. */
  readonly append?: boolean | undefined
  /** `true`: make the directories of these files that are not there. */
  readonly makeDirectories?: boolean | undefined
  /** Standard error goes where standard output goes, in the order of writing. */
  readonly mergeStderr?: boolean | undefined
  /**
   * Called with what is printed to memory, while the program runs, piece by piece and in order: for progress, a log, a
   * parser. The program waits when this is slower than it prints. What is seen here is kept for the result as well.
   */
  readonly onChunk?: ((chunk: OutputChunk) => Effect.Effect<void>) | undefined
}

/** Limits of the system for a program and what it starts, soft and hard; sizes in bytes. */
export interface Rlimits {
  readonly addressSpace?: number | undefined
  readonly coreSize?: number | undefined
  readonly cpuSeconds?: number | undefined
  readonly dataSize?: number | undefined
  readonly fileSize?: number | undefined
  readonly lockedMemory?: number | undefined
  readonly openFiles?: number | undefined
  /** Of the user, as the system counts it. */
  readonly processes?: number | undefined
  readonly stackSize?: number | undefined
}

/**
 * What becomes of processes that a program leaves running when it ends by itself: they are killed (`"kill"`), or left
 * alone on purpose (`"detach"`), also when the backend closes or this process crashes.
 */
export type Orphans = "kill" | "detach"

/** 64 MiB. */
export const defaultCaptureLimit = 64 * 1024 * 1024

export const SettingsTypeId = "~effect-rhapsody/Task/Settings" as const

/** Settings that only one backend understands. Made by that backend's own constructor, refused by every other. */
export interface Settings {
  readonly [SettingsTypeId]: typeof SettingsTypeId
  /** The driver's type. */
  readonly backend: string
  readonly values: unknown
}

/** Makes `Settings` for one backend, typed by its schema; the driver gets them decoded. */
export interface SettingsConstructor<in I> {
  (values: I): Settings
  readonly backend: string
  readonly schema: Schema.Schema.AnyNoContext
}

/**
 * The settings of a backend: what its authors export for its users. Throws a `ConfigurationError` when `backend`, the type
 * of the driver, is not text or is empty, or `schema` is no Schema.
 *
 * @example
 * ```ts
 * import { Schema } from "effect"
 * import { Task } from "effect-rhapsody"
 *
 * export const settings = Task.settings("my-cluster", Schema.Struct({ queue: Schema.NonEmptyString }))
 * export const options: Task.Options = { settings: settings({ queue: "debug" }) }
 * ```
 */
export const settings = <A, I>(backend: string, schema: Schema.Schema<A, I>): SettingsConstructor<I> => {
  const wrong = checkName("backend", backend) ?? checkSchema("schema", schema)
  if (wrong !== undefined) throw wrong
  return Object.assign((values: I): Settings => ({ [SettingsTypeId]: SettingsTypeId, backend, values }), {
    backend,
    schema
  })
}

/**
 * What a definition may carry as defaults for its instances. `E` is the task's own error, which `retry` sees; options
 * that fit every task leave it out.
 */
export interface DefinitionOptions<in E = unknown> {
  readonly resources?: Resources | undefined
  readonly retry?: Retry<E> | undefined
  /** Longest time of one attempt, from the moment it has its slot; the process tree is gone when the timeout is reported. */
  readonly timeout?: Duration.DurationInput | undefined
  /** Tasks that wait for a slot start in the order of priority, the highest first; equals in order of submission. */
  readonly priority?: number | undefined
  readonly env?: Env | undefined
  /** Working directory. Default: that of this process. */
  readonly cwd?: string | undefined
  readonly capture?: Capture | undefined
  /**
   * Lines that bash runs before the program, which then runs in the environment they leave: `module load gromacs`,
   * `source env/bin/activate`. They read nothing of the
   * program's input. The first that fails is the end of the task, as is one after which the shell does not come to the
   * program (`exit 0`): LaunchFailed, with its number and exit code.
   */
  readonly preExec?: ReadonlyArray<string> | undefined
  /**
   * `true`: the task gets a new directory of its own, for all its attempts, so that a retry goes on from what the attempt
   * before left there. It is its cwd unless the task names one, and it is kept. Its path is in RHAPSODY_SANDBOX and in
   * `Output.sandboxPath`. It is named by the uid, in a directory of this backend instance below `sandboxRoot`.
   */
  readonly sandbox?: boolean | undefined
  readonly rlimits?: Rlimits | undefined
  /** Added to the niceness of this process: 19 is the humblest. */
  readonly nice?: number | undefined
  /** Default `"kill"`. */
  readonly orphans?: Orphans | undefined
  readonly settings?: Settings | undefined
}

/** Options of an instance. */
export interface Options<in E = unknown> extends DefinitionOptions<E> {
  /**
   * Name of this unit of work, unique in its backend among live tasks and the last 10,000 that ended. It names files
   * too: at most 200 bytes of UTF-8, no slash, no control character. Default: `task.000001` and so on.
   */
  readonly uid?: string | undefined
}
