import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Schema } from "effect"
import {
  BackendError,
  BackendErrorReason,
  ConfigurationError,
  ConfigurationErrorReason,
  isRhapsodyError,
  RhapsodyError,
  TaskError,
  TaskErrorReason
} from "effect-rhapsody/Errors"

const details = fc.dictionary(fc.string(), fc.jsonValue() as fc.Arbitrary<unknown>, { maxKeys: 3 })
const cause = fc.option(
  fc.oneof(
    fc.string(),
    fc.string().map((message) => new Error(message))
  ),
  { nil: undefined }
)
const optional = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined })

const errors: fc.Arbitrary<RhapsodyError> = fc.oneof(
  fc
    .record({
      taskUid: fc.string(),
      task: fc.string(),
      reason: fc.constantFrom(...TaskErrorReason.literals),
      exitCode: optional(fc.integer()),
      signal: optional(fc.string()),
      details,
      cause
    })
    .map((fields) => new TaskError(fields)),
  fc
    .record({ backendType: fc.string(), reason: fc.constantFrom(...BackendErrorReason.literals), details, cause })
    .map((fields) => new BackendError(fields)),
  fc
    .record({
      configKey: optional(fc.string()),
      reason: fc.constantFrom(...ConfigurationErrorReason.literals),
      details,
      cause
    })
    .map((fields) => new ConfigurationError(fields))
)

const encode = Schema.encode(RhapsodyError)
const decode = Schema.decodeUnknown(RhapsodyError)

describe("errors", () => {
  it.effect("cross a wire: encode, decode, encode gives the same", () =>
    Effect.forEach(
      fc.sample(errors, 300),
      (error) =>
        Effect.gen(function* () {
          const wire = JSON.parse(JSON.stringify(yield* encode(error)))
          const back = yield* decode(wire)
          assert.strictEqual(back._tag, error._tag)
          assert.strictEqual(back.reason, error.reason)
          assert.isTrue(isRhapsodyError(back))
          assert.deepStrictEqual(JSON.parse(JSON.stringify(yield* encode(back))), wire)
        }),
      { discard: true }
    )
  )

  it("have a message for every reason, which names who and what to do", () => {
    for (const reason of TaskErrorReason.literals) {
      const message = new TaskError({ taskUid: "t1", task: "Sim", reason, exitCode: 3, signal: "SIGKILL" }).message
      assert.match(message, /^task Sim \(t1\) /)
      assert.notInclude(message, "undefined")
    }
    for (const reason of BackendErrorReason.literals) {
      assert.match(new BackendError({ backendType: "dask", reason }).message, /^backend dask [a-z ]+; [a-z ,;]+$/)
    }
    const details = { message: "must be positive" }
    assert.strictEqual(
      new ConfigurationError({ configKey: "k", reason: "InvalidOption", details }).message,
      "k: must be positive"
    )
    for (const reason of ConfigurationErrorReason.literals) {
      assert.match(new ConfigurationError({ reason }).message, /^[a-z ,;]+.*; ./i)
    }
  })

  it("have details that default to none", () => {
    assert.deepStrictEqual(new BackendError({ backendType: "x", reason: "Lost" }).details, {})
  })

  it.effect("are caught by their tags", () =>
    Effect.gen(function* () {
      const caught = yield* Effect.fail(
        new TaskError({ taskUid: "t", task: "T", reason: "Exit" }) as RhapsodyError
      ).pipe(
        Effect.catchTags({
          TaskError: (error) => Effect.succeed(error.reason),
          BackendError: (error) => Effect.succeed(error.reason),
          ConfigurationError: (error) => Effect.succeed(error.reason)
        })
      )
      assert.strictEqual(caught, "Exit")
    })
  )

  it("of others are not ours", () => {
    assert.isFalse(isRhapsodyError(new Error("x")))
    assert.isFalse(isRhapsodyError({ _tag: "TaskError" }))
  })
})
