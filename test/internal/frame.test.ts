/** Both ends of the channel between TypeScript and Python agree on every byte, however the bytes are cut. */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import type { Message } from "../../src/internal/bridge/frame.js"
import { Decoder, encode, frameLimit } from "../../src/internal/bridge/frame.js"

const decodeIn = (bytes: Buffer, cuts: ReadonlyArray<number>): ReadonlyArray<Message> => {
  const decoder = new Decoder()
  const messages: Array<Message> = []
  let at = 0
  for (const size of [...cuts, bytes.length]) {
    if (at >= bytes.length) break
    decoder.feed(bytes.subarray(at, at + size), (message) => messages.push(message))
    at += size
  }
  return messages
}

const header = fc.dictionary(fc.string({ minLength: 1 }), fc.oneof(fc.string({ unit: "binary" }), fc.integer()), {
  noNullPrototype: true
})
const messages = fc.array(fc.tuple(header, fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 3 })))
const named = (header: object) => ({ ...header, type: "test" })

// As frame.py decodes and encodes again, each message after the other.
const echo = `
import json, os, sys
sys.path.insert(0, sys.argv[1])
import frame
decoder, data = frame.Decoder(), sys.stdin.buffer.read()
out = sys.stdout.buffer
for at in range(0, len(data), 7):
    for header, blobs in decoder.feed(data[at:at + 7]):
        header.pop("blobs", None)
        out.write(frame.encode(header, blobs))
`
const bridge = fileURLToPath(new URL("../../src/internal/bridge", import.meta.url))
const throughPython = (bytes: Buffer) => execFileSync("python3", ["-S", "-c", echo, bridge], { input: bytes })

const content = ({ blobs, header }: Message) => {
  const { blobs: _, ...rest } = header as Record<string, unknown>
  return [rest, blobs.map((blob) => [...blob])]
}

describe("frames", () => {
  it("come out as they went in, however they are cut", () => {
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 40 })), (messages, cuts) => {
        const bytes = Buffer.concat(messages.map(([header, blobs]) => encode(named(header), blobs)))
        assert.deepStrictEqual(
          decodeIn(bytes, cuts).map(content),
          messages.map(([header, blobs]) => [named(header), blobs.map((blob) => [...blob])])
        )
      })
    )
  })

  it("come back from Python as they went there", () => {
    fc.assert(
      fc.property(messages, (messages) => {
        const bytes = Buffer.concat(messages.map(([header, blobs]) => encode(named(header), blobs)))
        assert.deepStrictEqual(decodeIn(throughPython(bytes), []).map(content), decodeIn(bytes, []).map(content))
      }),
      { numRuns: 10 }
    )
  })

  it("are given whole only, and nothing is kept of those that were given", () => {
    const bytes = encode({ type: "test" }, [new Uint8Array(1000).fill(7)])
    const decoder = new Decoder()
    const given: Array<Message> = []
    decoder.feed(bytes.subarray(0, -1), (message) => given.push(message))
    assert.lengthOf(given, 0)
    decoder.feed(bytes.subarray(-1), (message) => given.push(message))
    assert.lengthOf(given, 1)
    // a blob is not a view of the chunk that it came in
    assert.strictEqual(given[0]!.blobs[0]!.buffer.byteLength, 1000)
  })

  it.each([
    ["longer than the limit", Buffer.from([1, 0, 0, 255, 0, 0, 0, 0])],
    ["without room for a header", Buffer.from([3, 0, 0, 0, 0, 0, 0])],
    ["with a header longer than itself", Buffer.from([6, 0, 0, 0, 9, 0, 0, 0, 123, 125])],
    ["with a header that is no JSON", Buffer.from([6, 0, 0, 0, 2, 0, 0, 0, 123, 124])],
    ["with bytes that its header does not list", Buffer.from([7, 0, 0, 0, 2, 0, 0, 0, 123, 125, 1])]
  ])("%s are no frames", (_, bytes) => {
    assert.throws(() => decodeIn(bytes, []))
  })

  it("whose blobs are not as long as their header says are refused", () => {
    const bytes = encode({ type: "test" }, [Uint8Array.of(1, 2, 3)])
    const wrong = Buffer.from(bytes.toString("latin1").replace("[3]", "[2]"), "latin1")
    assert.throws(() => decodeIn(wrong, []))
  })

  it("are not made longer than the limit", () => {
    assert.throws(() => encode({ type: "test" }, [new Uint8Array(frameLimit)]), /67108864 is the most/)
  })
})
