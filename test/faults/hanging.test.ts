/** An interpreter that hangs before it has read anything cannot see that the process that started it is gone. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ExecutionBackend } from "effect-rhapsody"
import { directory, eventually, sh } from "../concurrent/support.js"
import { forest, gone, leftAtLast, orchestrate, over } from "./support.js"
import { keepersOf, kill } from "./system.js"

/** A process whose layer waits for an interpreter: a script that starts what hangs. */
const hanging = (backend: "Concurrent" | "Dask") =>
  Effect.gen(function* () {
    const { alive, env, leaf } = yield* forest
    const python = join(yield* directory, "python")
    fs.writeFileSync(python, `#!/bin/sh\n${leaf("setsid")}\n:\n`, { mode: 0o755 })
    const program = yield* orchestrate({ program: "hanging", plan: { backend, python }, env })
    const hangs = Effect.map(alive, (all) => all.filter((what) => what.includes(leaf("setsid"))).length)
    yield* eventually(hangs, (count) => count === 1)
    const keepers = keepersOf(program.pid)
    assert.lengthOf(keepers, 1)
    return { ...program, alive, keepers }
  })

describe("An interpreter that hangs while a layer is built", () => {
  for (const backend of ["Concurrent", "Dask"] as const) {
    for (const end of ["SIGKILL", "process.exit"] as const) {
      it.scopedLive(`is gone with all that it started after ${end} of this process: ${backend}`, () =>
        Effect.gen(function* () {
          const program = yield* hanging(backend)
          if (end === "SIGKILL") kill(program.pid)
          else yield* program.tell("exit")
          assert.strictEqual(yield* program.exit, end === "SIGKILL" ? "SIGKILL" : 7)
          assert.deepStrictEqual(yield* leftAtLast(program.alive), [])
          yield* gone(program.keepers)
        })
      )
    }
  }

  it.scopedLive("is watched for by a process that ends when the interpreter answers", () =>
    Effect.gen(function* () {
      yield* ExecutionBackend.execute(sh("true"))
      yield* eventually(
        Effect.sync(() => keepersOf()),
        (keepers) => keepers.length === 0
      )
    }).pipe(over("agent"))
  )
})
