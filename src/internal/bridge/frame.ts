/**
 * Frames between this program and a Python one: frame.py is the other side.
 *
 * A frame is a 4-byte length of what follows, a 4-byte length of its header (both little endian), the header (JSON,
 * one object) and the bytes that JSON cannot express, whose lengths the header has as `blobs`.
 */
import { Buffer } from "node:buffer"

/** Version of the protocol. Both sides send theirs first; when they differ, the connection ends. */
export const protocol = 1

/** Bytes of the longest frame. */
export const frameLimit = 64 * 1024 * 1024

export interface Message {
  readonly header: unknown
  readonly blobs: ReadonlyArray<Uint8Array>
}

const noBlobs: ReadonlyArray<Uint8Array> = []

export const encode = (header: object, blobs: ReadonlyArray<Uint8Array> = noBlobs): Buffer => {
  const json = JSON.stringify(blobs.length === 0 ? header : { ...header, blobs: blobs.map((blob) => blob.length) })
  const text = Buffer.byteLength(json)
  let length = 4 + text
  for (const blob of blobs) length += blob.length
  if (length > frameLimit) throw new RangeError(`a message of ${length} bytes; ${frameLimit} is the most`)
  const frame = Buffer.allocUnsafe(4 + length)
  frame.writeUInt32LE(length, 0)
  frame.writeUInt32LE(text, 4)
  let at = 8 + frame.write(json, 8, "utf8")
  for (const blob of blobs) {
    frame.set(blob, at)
    at += blob.length
  }
  return frame
}

/** Bytes in, as they come; whole messages out. */
export class Decoder {
  private chunks: Array<Buffer> = []
  private size = 0
  /** Bytes until the next frame is whole, as far as that is known. */
  private need = 4

  /** Throws at bytes that are no frames. Blobs are copies. */
  feed(chunk: Buffer, onMessage: (message: Message) => void): void {
    this.chunks.push(chunk)
    this.size += chunk.length
    if (this.size < this.need) return
    const buffer = this.chunks.length === 1 ? chunk : Buffer.concat(this.chunks, this.size)
    let at = 0
    this.need = 4
    while (buffer.length - at >= 4) {
      const length = buffer.readUInt32LE(at)
      if (length < 4 || length > frameLimit) throw new RangeError(`a frame of ${length} bytes`)
      if (buffer.length - at < 4 + length) {
        this.need = 4 + length
        break
      }
      const end = at + 4 + length
      const body = at + 8 + buffer.readUInt32LE(at + 4)
      if (body > end) throw new RangeError("a header longer than its frame")
      const header: unknown = JSON.parse(buffer.toString("utf8", at + 8, body))
      onMessage({ header, blobs: split(header, buffer, body, end) })
      at = end
    }
    this.size = buffer.length - at
    this.chunks = this.size === 0 ? [] : [buffer.subarray(at)]
  }
}

const split = (header: unknown, buffer: Buffer, from: number, end: number): ReadonlyArray<Uint8Array> => {
  const sizes = (header as { readonly blobs?: unknown }).blobs
  if (sizes === undefined && from === end) return noBlobs
  if (!Array.isArray(sizes)) throw new RangeError("bytes that its header does not list")
  let at = from
  const blobs = sizes.map((size: number) => {
    const blob = new Uint8Array(buffer.subarray(at, at + size))
    at += size
    return blob
  })
  if (at !== end) throw new RangeError("blobs of another length than their header lists")
  return blobs
}
