/** Dictionaries of tasks as users write them, and what they become. */
import type { ExecutionBackend } from "../../Kind.js"
import type * as Task from "../../Task.js"

/** What a dictionary becomes: submit it as any instance. A layer that runs both kinds satisfies it. */
export type Instance = Task.Instance<unknown, never, ExecutionBackend<"executable" | "python">>

/** What the dictionary of a program becomes: a layer that runs programs is enough, such as `ConcurrentBackend`. */
export type ProgramInstance = Task.Instance<string, never, ExecutionBackend<"executable">>

/** A key of RHAPSODY that has no meaning here: only values that mean "not given" are taken. */
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
  /** Of a program, each a text: a number is refused, because there are several ways to write it. Default: none. */
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
