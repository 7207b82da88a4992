/** The files of a program that Node starts: none of them may block this process when it is opened. */
import { randomUUID } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
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
 * To open a FIFO that nobody reads would block this whole process, or let the output vanish: that fails with ENXIO. It
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

/** To open a FIFO that nobody writes would block this whole process. */
export const openInput = (file: string): number => {
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
