// Payloads of Python functions: what is sent is what was given, in the place where it was given.
import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc, Schema } from "effect"
import type { Driver } from "effect-rhapsody"
import { Task } from "effect-rhapsody"
import { encode } from "../../src/internal/dask/payload.js"

const program = (call: Driver.Python["call"], fields?: ReadonlyArray<string>): Driver.Python =>
  ({ _tag: "python", callable: "m:f", call, fields }) as Driver.Python
const object = (value: unknown) => encode(program("object"), { value })
const sent = (value: unknown): unknown => {
  const text = object(value)
  assert.isString(text)
  return JSON.parse(text as string).value
}
const path = (result: unknown) => (result as { readonly path?: string }).path

const name = fc.stringMatching(/^[a-z_]{1,8}$/)
const number = fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer(), fc.constantFrom(-0, 2 ** 68))
const { value } = fc.letrec((tie) => ({
  leaf: fc.oneof(fc.string({ unit: "binary" }), number, fc.boolean(), fc.constant(null)),
  value: fc.oneof(
    { maxDepth: 4 },
    tie("leaf"),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.string(), tie("value"), { maxKeys: 4 })
  )
}))

describe("A payload for Python", () => {
  it("arrives as it was given", () => {
    fc.assert(fc.property(value, (value) => assert.deepStrictEqual(sent(value), value)))
  })

  it("has numbers that no whole number of Python is: they are written as floats", () => {
    assert.strictEqual(
      object([-0, 0, 2 ** 53, 2 ** 53 + 2, -(2 ** 68), 1e21, 1.5]),
      '{"value":[-0.0,0,9007199254740992,9007199254740994.0,-295147905179352830000.0,1e+21,1.5]}'
    )
  })

  it("keeps text that is not Unicode", () => {
    assert.strictEqual(object("a\ud800"), '{"value":"a\\ud800"}')
  })

  it("is refused with the path of what JSON would change", () => {
    class Own {
      value = 1
    }
    const endless: Array<unknown> = []
    endless.push(endless)
    for (const [value, where] of [
      [Number.NaN, "value"],
      [[1, { deep: -Infinity }], "value[1].deep"],
      [{ list: [1, undefined] }, "value.list[1]"],
      // biome-ignore lint/suspicious/noSparseArray: this is what is tested
      [[1, , 2], "value[1]"],
      [10n, "value"],
      [{ a: Symbol("s") }, "value.a"],
      [() => 1, "value"],
      [new Uint8Array(1), "value"],
      [new Date(0), "value"],
      [new Map(), "value"],
      [new Set(), "value"],
      [{ own: new Own() }, "value.own"]
    ] as const) {
      assert.strictEqual(path(object(value)), where)
    }
    assert.match(path(object(endless))!, /^value(\[0\])+$/)
  })
})

describe("Positions of a Python call", () => {
  it("are those of the schema, whichever fields are given in whichever order", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(name, { minLength: 1, maxLength: 6 }),
        fc.infiniteStream(fc.nat(7)),
        (fields, random) => {
          const next = () => random.next().value as number
          const given = fields.map((field) => [field, next() > 1 ? next() : undefined] as const)
          const shuffled = Object.fromEntries([...given].sort(() => next() - 3.5).filter((_, i) => i >= 0))
          const result = encode(program("args", fields), shuffled)
          const values = given.map(([, value]) => value)
          while (values.length > 0 && values.at(-1) === undefined) values.pop()
          const hole = values.indexOf(undefined)
          if (hole === -1) assert.deepStrictEqual(JSON.parse(result as string), values)
          else assert.strictEqual(path(result), fields[hole])
        }
      )
    )
  })

  it("are refused where JavaScript has sorted them by their names", () => {
    assert.strictEqual(path(encode(program("args", ["2", "10"]), { 10: "first", 2: "second" })), "2")
    assert.strictEqual(path(encode(program("args", ["0", "a"]), { a: 1, 0: 2 })), "0")
    assert.strictEqual(encode(program("args", ["0"]), { 0: "only" }), '["only"]')
  })

  it("come from the encoded side of the schema", () => {
    const { codec } = Task.python("Positions", {
      callable: "m:f",
      call: "args",
      payload: {
        title: Schema.String,
        width: Schema.optionalWith(Schema.Number, { default: () => 1 }),
        depth: Schema.propertySignature(Schema.Number).pipe(Schema.fromKey("deep"))
      }
    })
    assert.deepStrictEqual(codec.fields, ["title", "width", "deep"])
  })

  it("of args and kwargs are what these fields say, and nothing else is lost", () => {
    const both = (payload: object) => encode(program("both"), payload)
    assert.strictEqual(both({ kwargs: { k: 1 }, args: [2] }), '{"args":[2],"kwargs":{"k":1}}')
    assert.strictEqual(both({}), '{"args":[],"kwargs":{}}')
    assert.strictEqual(path(both({ args: "text" })), "args")
    assert.strictEqual(path(both({ kwargs: [1] })), "kwargs")
    assert.strictEqual(path(both({ args: [], title: "lost" })), "title")
    assert.strictEqual(path(encode(program("positional" as any), {})), "call")
  })
})
