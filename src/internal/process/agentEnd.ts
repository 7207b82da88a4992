/** What a launch agent says of how a program ended. */
import * as Either from "effect/Either"
import { concat, tailOf } from "./exit.js"
import type { Ended } from "./messages.js"
import { notReached } from "./preExec.js"
import type { End, ProcessHandle, Stream } from "./processHandle.js"

const nothing = new Uint8Array()

export const ended = (running: ProcessHandle, message: Ended, blobs: ReadonlyArray<Uint8Array>): End => {
  const { capture } = running.launch.program
  const { stderr: stderrPath, stdout: stdoutPath } = running.paths
  const unwanted = running.unwanted || message.overflow !== undefined
  const at = (place: number | undefined): Uint8Array => {
    const found = place === undefined ? nothing : blobs[place]
    if (found === undefined) throw new RangeError(`there is no output at the place ${place}`)
    return found
  }
  const bytes = (stream: Stream): Uint8Array => {
    const last = at(message[stream])
    const before = running.chunks[stream]
    if (unwanted) return tail(stream)
    return before.length === 0 ? last : concat([...before, last])
  }
  const tail = (stream: Stream): Uint8Array =>
    tailOf([...running.chunks[stream].slice(-2), at(message[stream]), at(message.lasts?.[stream])])
  const { dropped } = message
  const end = message.code === undefined ? { signal: message.signal! } : { exitCode: message.code }
  return Either.right({
    ...end,
    ...(stdoutPath !== undefined && (unwanted || !capture.wanted) ? {} : { stdout: bytes("stdout") }),
    stderr: bytes("stderr"),
    stdoutPath,
    stderrPath: stderrPath ?? (capture.mergeStderr ? stdoutPath : undefined),
    cwd: running.cwd,
    wallMillis: message.wall,
    usage: { userMillis: message.user, systemMillis: message.system, maxRssBytes: message.rss },
    ...(message.overflow === undefined ? {} : { overflow: message.overflow }),
    ...(message.unreadable === undefined ? {} : { unreadable: message.unreadable }),
    ...(dropped === undefined ? {} : { dropped }),
    ...(dropped?.stdout === undefined ? {} : { stdoutTail: tail("stdout") }),
    ...(dropped?.stderr === undefined ? {} : { stderrTail: tail("stderr") }),
    ...(message.survivors === undefined ? {} : { survivors: true }),
    ...(message.unreached === undefined ? {} : notReached(running.launch.program, message.unreached, end))
  })
}
