/** What is kept of a stream as it comes: its beginning up to a limit, and the end of what is beyond. */
import { concat, tailOf, tailSize } from "./exit.js"

/** Shorter pieces than this are joined, because a program may print byte by byte. */
const short = 4096
/** How many of them wait for that. */
const many = 256

export class Kept {
  private readonly pieces: Array<Uint8Array> = []
  /** How many pieces at the end are short. */
  private waiting = 0
  private size = 0
  private last: Uint8Array = new Uint8Array()

  constructor(private readonly limit: number) {}

  /** False when it is more than is kept. */
  add(bytes: Uint8Array): boolean {
    const room = Math.max(0, this.limit - this.size)
    this.size += bytes.length
    if (bytes.length <= room) {
      this.push(bytes)
      return true
    }
    // copies: a part would keep the whole
    if (room > 0) this.push(new Uint8Array(bytes.subarray(0, room)))
    const rest = bytes.subarray(room)
    this.last = rest.length < tailSize ? tailOf([this.last, rest]) : new Uint8Array(rest.subarray(-tailSize))
    return false
  }

  /** Bytes that are not kept. */
  get dropped(): number {
    return Math.max(0, this.size - this.limit)
  }

  whole(): Uint8Array {
    return concat(this.pieces)
  }

  /** The end of all that came. */
  tail(): Uint8Array {
    return tailOf([...this.pieces.slice(-many), this.last])
  }

  private push(bytes: Uint8Array): void {
    this.pieces.push(bytes)
    this.waiting = bytes.length < short ? this.waiting + 1 : 0
    if (this.waiting < many) return
    this.pieces.push(concat(this.pieces.splice(-many)))
    this.waiting = 0
  }
}

/** Of both streams, what an exit says of it beside the bytes: how much is not there, and how it ended. */
export const beyond = ({ stderr, stdout }: { readonly stdout: Kept; readonly stderr: Kept }) => {
  if (stdout.dropped === 0 && stderr.dropped === 0) return {}
  return {
    dropped: {
      ...(stdout.dropped === 0 ? {} : { stdout: stdout.dropped }),
      ...(stderr.dropped === 0 ? {} : { stderr: stderr.dropped })
    },
    ...(stdout.dropped === 0 ? {} : { stdoutTail: stdout.tail() }),
    ...(stderr.dropped === 0 ? {} : { stderrTail: stderr.tail() })
  }
}
