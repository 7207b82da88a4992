// The attempts of a queue are data too: each is written as JSON and read again before Dask gets it.
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { Backend, DaskBackend, Driver, ExecutionBackend, Task } from "effect-rhapsody"
import { base, call, missing } from "./support.js"

const printed: Array<string> = []

const replaying = Backend.layer(
  Effect.map(DaskBackend.driver({ ...base, workers: 1 }), (inner): Driver.QueueDriver<DaskBackend.Kinds> => {
    const text = Schema.parseJson(Driver.specSchema(inner))
    const [encode, decode] = [Schema.encodeSync(text), Schema.decodeSync(text)]
    return {
      ...inner,
      submit: (attempts) =>
        inner.submit(
          attempts.map(({ hooks, spec }) => {
            const one = encode(spec)
            printed.push(one)
            return { spec: decode(one), hooks }
          })
        )
    }
  })
)

describe.skipIf(missing)("attempts that were written as JSON and read again", () => {
  layer(replaying, { excludeTestServices: true })((it) => {
    it.effect("run as Python functions, with the payload as it was given", () =>
      Effect.gen(function* () {
        const payload = { text: 'é "\n\u0000', list: [1.5, true, null, -0], nested: { a: {} } }
        assert.deepStrictEqual(yield* ExecutionBackend.execute(call("whole", payload, { call: "object" })), payload)
        assert.deepStrictEqual(
          yield* ExecutionBackend.execute(call("positional", { x: 1, y: [2] }, { call: "args" })),
          [1, [2]]
        )
      })
    )

    it.effect("run as programs, with secrets and with output that is taken while they run", () =>
      Effect.gen(function* () {
        const seen: Array<Uint8Array> = []
        const onChunk = ({ bytes }: Task.OutputChunk) => Effect.sync(() => void seen.push(bytes))
        const Show = Task.executable("Show", {
          command: () => ({
            executable: "sh",
            args: ["-c", 'echo "$TOKEN"', Uint8Array.of(255)],
            env: { TOKEN: Redacted.make("hunter2") }
          })
        })
        assert.strictEqual(yield* ExecutionBackend.execute(Show.make()), "hunter2\n")
        yield* ExecutionBackend.execute(Show.make(undefined, { capture: { onChunk } }))
        assert.strictEqual(Buffer.concat(seen).toString(), "hunter2\n")
        assert.notInclude(printed.join(), "hunter2")
      })
    )
  })
})
