/** The options of a task that a driver may honour or not. `Driver` has them for authors of backends. */

/**
 * What a driver can honour of what is asked for a task. Timeouts, retries, priorities and uids are the library's, on every
 * backend.
 *
 * Of a program: its `cwd`; `env` (variables added and removed); `stdin` (text or bytes) and `stdinFile`; `captureFiles`
 * (output to files), `append`, `makeDirectories` (of those files), `mergeStderr`, `overflow` (what follows on too much output, and `capture.limit`), `onChunk`;
 * `preExec`; `sandbox`; `rlimits`; `nice`; `orphans` (that it may leave processes running). Of `resources`, of a task of
 * any kind: each by its name.
 */
export type HonouredOption = (typeof programOptions)[number] | (typeof resourceOptions)[number]

/** Those of programs. */
export const programOptions = [
  "cwd",
  "env",
  "stdin",
  "stdinFile",
  "captureFiles",
  "append",
  "makeDirectories",
  "mergeStderr",
  "overflow",
  "onChunk",
  "preExec",
  "sandbox",
  "rlimits",
  "nice",
  "orphans"
] as const

/** Those of tasks of every kind. */
export const resourceOptions = ["cores", "gpus", "memory", "ranks", "nodes", "walltime"] as const

/** All of them: for a driver that stands for others, or passes everything on. */
export const everyOption: ReadonlyArray<HonouredOption> = [...programOptions, ...resourceOptions]
