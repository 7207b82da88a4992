/** Options with a value that cannot be honoured are refused by name, before anything starts. */
import { assert, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import type { Task } from "effect-rhapsody"
import { ExecutionBackend } from "effect-rhapsody"
import { idle, nothingLeft } from "../support.js"
import { command, overBoth, refusal } from "./support.js"

const onChunk = () => Effect.void

/** By field: what is wrong for it, and a part of what is said. */
const refused: ReadonlyArray<readonly [configKey: string, options: unknown, message: RegExp]> = [
  ["capture", { capture: 7 }, /must be an object, not 7/],
  ["capture", { capture: null }, /must be an object/],
  ["capture.limit", { capture: { limit: -1 } }, /must be an integer, 0 or more, not -1/],
  ["capture.limit", { capture: { limit: 1.5 } }, /not 1.5/],
  ["capture.limit", { capture: { limit: Infinity } }, /not Infinity/],
  ["capture.limit", { capture: { limit: "10" } }, /must be an integer/],
  ["capture.overflow", { capture: { overflow: "drop" } }, /must be fail or truncate or spill, not drop/],
  ["capture.overflow", { capture: { overflow: true } }, /must be fail or truncate or spill, not true/],
  ["capture.overflow", { capture: { overflow: null } }, /must be fail or truncate or spill, not null/],
  ["capture.onChunk", { capture: { onChunk: "print" } }, /must be a function, not a string/],
  ["capture.onChunk", { capture: { onChunk: Effect.void } }, /must be a function/],
  ["capture.onChunk", { capture: { onChunk, overflow: "spill" } }, /does not see what is spilled/],
  ["capture.stdout", { capture: { stdout: 1 } }, /must be a string, not 1/],
  ["capture.stdout", { capture: { stdout: "a\0b" } }, /must not contain NUL/],
  ["capture.stderr", { capture: { stderr: Uint8Array.of(97) } }, /must be a string/],
  ["capture.stderr", { capture: { stderr: "\ud834" } }, /half of a surrogate pair/],
  ["capture.mergeStderr", { capture: { mergeStderr: "yes" } }, /must be true or false, not yes/],
  ["preExec", { preExec: "module load gromacs" }, /must be an array of lines/],
  ["preExec", { preExec: { 0: "true" } }, /must be an array of lines/],
  ["preExec[1]", { preExec: ["true", 7] }, /must be a string, not 7/],
  ["preExec[0]", { preExec: [undefined] }, /must be a string, not undefined/],
  ["preExec[0]", { preExec: ["tr\0ue"] }, /must not contain NUL/],
  ["preExec[0]", { preExec: ["echo \ud834"] }, /half of a surrogate pair/],
  ["sandbox", { sandbox: "here" }, /must be true or false, not here/],
  ["sandbox", { sandbox: 1 }, /must be true or false, not 1/],
  ["rlimits", { rlimits: 100 }, /must be an object such as { openFiles: 64 }, not 100/],
  ["rlimits", { rlimits: null }, /must be an object/],
  ["rlimits.files", { rlimits: { files: 100 } }, /is not a limit; known: addressSpace, .*stackSize/],
  ["rlimits.toString", { rlimits: { toString: 100 } }, /is not a limit/],
  ["rlimits.openFiles", { rlimits: { openFiles: -1 } }, /must be an integer, 0 or more, not -1/],
  ["rlimits.openFiles", { rlimits: { coreSize: 0, openFiles: 0.5 } }, /must be an integer, 0 or more, not 0.5/],
  ["rlimits.cpuSeconds", { rlimits: { cpuSeconds: "1 hour" } }, /must be an integer, 0 or more, not a string/],
  ["rlimits.stackSize", { rlimits: { stackSize: Number.NaN } }, /must be an integer/],
  ["rlimits.fileSize", { rlimits: { fileSize: Infinity } }, /must be an integer/],
  ["rlimits.fileSize", { rlimits: { fileSize: 2 ** 53 } }, /must be an integer/],
  ["nice", { nice: 20 }, /must be an integer from -20 to 19, not 20/],
  ["nice", { nice: -21 }, /not -21/],
  ["nice", { nice: 0.5 }, /not 0.5/],
  ["nice", { nice: "5" }, /must be an integer/],
  ["orphans", { orphans: "keep" }, /must be kill or detach, not keep/],
  ["orphans", { orphans: true }, /must be kill or detach, not true/]
]

const wrongInputs: ReadonlyArray<readonly [configKey: string, stdin: unknown]> = [
  ["stdin", {}],
  ["stdin", null],
  ["stdin.file", { file: 7 }],
  ["stdin.file", { file: undefined }],
  ["stdin.file", { file: Uint8Array.of(97) }],
  ["stdin.file", { file: "a\0" }],
  ["stdin.file", { file: "\ud834" }]
]

overBoth("a value that cannot be honoured is refused", ({ provide }) => {
  const backend = provide({ maxWorkers: 1 })
  /** No trace: the uid is free, and so is the only slot. */
  const noTrace = Effect.gen(function* () {
    assert.isTrue(Option.isNone(yield* ExecutionBackend.taskState("refused")))
    yield* ExecutionBackend.execute(command({ executable: "true" }, { uid: "refused" }))
    assert.deepStrictEqual(yield* idle, nothingLeft)
  })

  it.live("in an option, by its name", () =>
    Effect.gen(function* () {
      for (const [configKey, options, message] of refused) {
        const task = command({ executable: "true" }, { uid: "refused", ...(options as Task.Options) })
        const error = yield* refusal(task)
        assert.deepStrictEqual([error.reason, error.configKey], ["InvalidOption", configKey])
        assert.match(error.message, message)
      }
      yield* noTrace
    }).pipe(backend)
  )

  it.live("in what is to be the input", () =>
    Effect.gen(function* () {
      for (const [configKey, stdin] of wrongInputs) {
        const error = yield* refusal(command({ executable: "cat", stdin }, { uid: "refused" }))
        assert.deepStrictEqual([error.reason, error.configKey], ["InvalidPayload", configKey])
      }
      yield* noTrace
    }).pipe(backend)
  )

  it.live("and nothing that can be", () =>
    Effect.gen(function* () {
      const all: ReadonlyArray<unknown> = [
        { capture: {}, preExec: [], sandbox: false, orphans: "kill" },
        { capture: { overflow: "fail", mergeStderr: false, limit: 0 } },
        { capture: { overflow: "truncate", onChunk } },
        { capture: undefined, preExec: undefined, sandbox: undefined, rlimits: undefined, nice: undefined },
        { capture: { overflow: undefined, onChunk: undefined, limit: undefined }, orphans: undefined }
      ]
      for (const options of all) {
        const output = yield* ExecutionBackend.execute(command({ executable: "true" }, options as Task.Options))
        assert.strictEqual(output.exitCode, 0)
      }
    }).pipe(backend)
  )
})
