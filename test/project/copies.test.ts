// Two copies of the library in one program, as npm makes them of two versions: what one makes the other understands.
import * as fs from "node:fs"
import * as path from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Schema, Stream } from "effect"
import * as Here from "effect-rhapsody"
import { root } from "./support.js"

// within the project, so that it finds the same Effect
fs.mkdirSync(path.join(root, ".rhapsody"), { recursive: true })
const folder = fs.mkdtempSync(path.join(root, ".rhapsody", "copy-"))
fs.cpSync(path.join(root, "src"), path.join(folder, "src"), { recursive: true })
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))
const There: typeof Here = await import(path.join(folder, "src", "index.ts"))

type Needs = Here.ExecutionBackend.ExecutionBackend<"executable" | "function"> | Here.Task.Handler<"Sum">

const ways = [
  ["the other's tasks on this one's backend", Here, There],
  ["this one's tasks on the other's backend", There, Here]
] as const

describe("two copies of the library", () => {
  it("are two", () => {
    assert.notStrictEqual(Here.Errors.TaskError as unknown, There.Errors.TaskError as unknown)
    assert.notStrictEqual(Here.Backend.make as unknown, There.Backend.make as unknown)
  })

  it.effect("know each other's errors, by tag and by guard, and over a wire", () =>
    Effect.gen(function* () {
      const details = { command: ["x"], stderr: "why" }
      const errors = [
        new There.Errors.TaskError({
          taskUid: "t",
          task: "T",
          reason: "Exit",
          exitCode: 3,
          details,
          cause: new Error("no")
        }),
        new There.Errors.BackendError({ backendType: "grid", reason: "Lost" }),
        new There.Errors.ConfigurationError({ configKey: "k", reason: "InvalidOption" })
      ]
      const guards = [Here.Errors.isTaskError, Here.Errors.isBackendError, Here.Errors.isConfigurationError]
      for (const [i, error] of errors.entries()) {
        assert.isFalse(error instanceof Here.Errors.TaskError)
        assert.isTrue(Here.Errors.isRhapsodyError(error))
        assert.deepStrictEqual(
          guards.map((is) => is(error)),
          guards.map((_, j) => i === j)
        )
        const wire = JSON.parse(JSON.stringify(yield* Schema.encodeUnknown(Here.Errors.RhapsodyError)(error)))
        const back = yield* Schema.decodeUnknown(Here.Errors.RhapsodyError)(wire)
        assert.strictEqual(back.message, error.message)
        assert.isTrue(There.Errors.isRhapsodyError(back))
        assert.isTrue(Schema.is(Here.Errors.RhapsodyError)(error))
      }
    })
  )

  for (const [name, A, B] of ways) {
    it.live(`${name}: run, fail, nest and are cancelled as one's own`, () => {
      const Say = B.Task.executable("Say", {
        payload: { script: Schema.String },
        success: A.Task.Output,
        command: ({ script }) => ({ executable: "sh", args: ["-c", script] })
      })
      const Sum = B.Task.function("Sum", { payload: { depth: Schema.Int }, success: Schema.Int })
      // one slot: a task that is not known to be the parent of those that it submits would wait for ever
      const SumLive = Sum.toLayer(
        ({ depth }): Effect.Effect<number, Here.Errors.RhapsodyError, Needs> =>
          depth === 0
            ? Effect.map(B.ExecutionBackend.execute(Say.make({ script: "exit 3" })), () => 0)
            : Effect.map(A.ExecutionBackend.execute(Sum.make({ depth: depth - 1 })), (n) => n + 1)
      )
      const backend = A.ConcurrentBackend.layer({ maxWorkers: 1, launcher: "node" })
      return Effect.gen(function* () {
        const output = yield* A.ExecutionBackend.execute(Say.make({ script: "echo hello" }))
        assert.strictEqual(output.stdout, "hello\n")
        const options = { settings: B.ConcurrentBackend.settings({ forceKillAfter: "soon" as never }) }
        const wrong = yield* Effect.flip(B.ExecutionBackend.execute(Say.make({ script: "true" }, options)))
        assert.deepInclude(wrong, { _tag: "ConfigurationError", configKey: "settings.forceKillAfter" })

        const failed = yield* Effect.flip(B.ExecutionBackend.execute(Sum.make({ depth: 2 })))
        assert(B.Errors.isTaskError(failed) && A.Errors.isTaskError(failed), String(failed))
        assert.deepInclude(failed, { task: "Sum", reason: "Failed" })
        const last = ((failed.cause as Here.Errors.TaskError).cause as Here.Errors.TaskError)
          .cause as Here.Errors.TaskError
        assert.deepInclude(last, { task: "Say", reason: "Exit", exitCode: 3 })

        const fiber = yield* B.ExecutionBackend.submit(Say.make({ script: "sleep 1000" }))
        assert.isTrue(A.TaskFiber.isTaskFiber(fiber) && B.TaskFiber.isTaskFiber(fiber))
        assert.isTrue(A.Task.isInstance(fiber.instance) && B.Task.isInstance(fiber.instance))
        assert.isTrue(yield* B.ExecutionBackend.cancel(fiber))
        const exit = yield* Fiber.await(fiber)
        assert(Exit.isFailure(exit))
        const [end] = yield* Stream.runCollect(
          B.ExecutionBackend.submitAll(Stream.make(A.Task.again(fiber.instance, { timeout: "10 millis" })))
        )
        assert.isTrue(Exit.isFailure(end!.exit))
      }).pipe(Effect.provide(Layer.provideMerge(SumLive, backend)))
    })

    it.effect(`${name}: defaults, drivers, registry and retries agree`, () =>
      Effect.gen(function* () {
        const X = B.Task.executable("X", { command: () => ({ executable: "x" }) })
        let runs = 0
        /** A driver made with the other copy fails with its errors. */
        const driver: Here.Driver.SlotDriver<"executable"> = {
          type: "other",
          kinds: ["executable"],
          concurrency: 1,
          run: (spec) => {
            runs++
            return Effect.fail(
              spec.name === "X"
                ? new B.Errors.BackendError({ backendType: "other", reason: "Unavailable" })
                : B.Driver.taskError(spec, "Canceled")
            )
          }
        }
        const states = Effect.gen(function* () {
          const error = yield* Effect.flip(A.ExecutionBackend.execute(X.make()))
          assert.deepInclude(error, { _tag: "BackendError", reason: "Unavailable" })
          const Y = B.Task.executable("Y", { command: () => ({ executable: "y" }) })
          const canceled = yield* Effect.flip(A.ExecutionBackend.execute(Y.make(undefined, { uid: "y" })))
          assert.deepInclude(canceled, { _tag: "TaskError", reason: "Canceled" })
          return Option.getOrNull(yield* B.ExecutionBackend.taskState("y"))
        })
        // neither a BackendError nor Canceled is retried, whichever copy made it
        const layer = Layer.provide(A.Backend.layer(driver), B.Defaults.layer({ retryAttempts: 3 }))
        assert.strictEqual(yield* Effect.provide(states, layer), "CANCELED")
        assert.strictEqual(runs, 2)
      })
    )
  }
})
