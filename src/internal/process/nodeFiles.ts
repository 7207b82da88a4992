/** The files of a program that Node starts: none of them may block this process when it is opened. */
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import type { Executable } from "../../Driver.js"
import { leadsToOwn, meansOwn } from "./ownPaths.js"

/**
 * Read and written through its descriptor alone, and removed at once. Its name is not known before, or another user
 * could be there first.
 */
export const openNameless = (): number => {
  const file = path.join(tmpdir(), `effect-rhapsody-${randomUUID()}`)
  const fd = fs.openSync(file, "wx+", 0o600)
  fs.unlinkSync(file)
  return fd
}

export const makeSandbox = (directory: string, fresh: boolean): void => {
  if (fresh) fs.mkdirSync(path.dirname(directory), { recursive: true })
  fs.mkdirSync(directory, { recursive: !fresh })
}

const { O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR, O_TRUNC } = fs.constants

/** For reading, too: a result may be decoded from it. `exclusive`: nothing may be there, not even a link. */
export const openOutput = (
  file: string,
  { append, exclusive }: { readonly append: boolean; readonly exclusive: boolean }
): number => {
  if (exclusive) return fs.openSync(file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  refuseOwn(file)
  return fs.statSync(file, { throwIfNoEntry: false })?.isFIFO() === true
    ? openFifo(file)
    : fs.openSync(file, O_RDWR | O_CREAT | (append ? O_APPEND : O_TRUNC))
}

/**
 * To open a FIFO that no process reads would block this whole process, or let the output vanish: that fails with ENXIO. It
 * is open at any moment from then on, or its reader would take it for closed, and be gone.
 */
const openFifo = (file: string): number => {
  const probe = fs.openSync(file, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK)
  try {
    // with an end for reading of its own, the next does not wait even if the reader has just gone
    const both = fs.openSync(file, fs.constants.O_RDWR)
    try {
      return fs.openSync(file, fs.constants.O_WRONLY)
    } finally {
      fs.closeSync(both)
    }
  } finally {
    fs.closeSync(probe)
  }
}

/** To open a FIFO that no process writes would block this whole process. */
const openInput = (file: string): number => {
  refuseOwn(file)
  if (fs.statSync(file).isFIFO()) {
    throw Object.assign(new Error("a FIFO, which only the launch agent can open: install Python 3.8 or later"), {
      code: "EINVAL",
      path: file
    })
  }
  return fs.openSync(file, "r")
}

const refuseOwn = (file: string): void => {
  if (leadsToOwn(file)) throw Object.assign(new Error(meansOwn), { code: "EINVAL", path: file })
}

/** Fewer bytes than that where the file ends before. */
export const readFrom = (fd: number, from: number, to: number): Uint8Array => {
  const content = new Uint8Array(Math.max(0, to - from))
  let at = 0
  for (let n = -1; at < content.length && n !== 0; at += n) {
    n = fs.readSync(fd, content, at, content.length - at, from + at)
  }
  return content.subarray(0, at)
}

/** What a program reads; a file that was opened for it is added to `opened`. */
export const standardInput = (
  stdin: Executable["stdin"],
  cwd: string,
  opened: Array<number>
): "ignore" | "pipe" | number => {
  if (stdin === undefined) return "ignore"
  if (typeof stdin === "string" || stdin instanceof Uint8Array) return "pipe"
  const fd = openInput(path.resolve(cwd, stdin.file))
  opened.push(fd)
  return fd
}
