/** The files of a program that Node starts: none of them may block this process when it is opened. */
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"

let serial = 0
/** Read and written through its descriptor alone: nobody has to delete it. */
export const openNameless = (): number => {
  const file = path.join(tmpdir(), `effect-rhapsody-${process.pid}-${++serial}`)
  const fd = fs.openSync(file, "wx+", 0o600)
  fs.unlinkSync(file)
  return fd
}

/** For reading, too: a result may be decoded from it. */
export const openOutput = (file: string): number =>
  fs.statSync(file, { throwIfNoEntry: false })?.isFIFO() === true ? openFifo(file) : fs.openSync(file, "w+")

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
  if (fs.statSync(file).isFIFO()) {
    throw Object.assign(new Error("a FIFO, which only the launch agent can open: install Python 3.8 or later"), {
      code: "EINVAL",
      path: file
    })
  }
  return fs.openSync(file, "r")
}
