/** numpy beside a Python of the tests, which stays without it: a directory for PYTHONPATH, made once and kept. */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"

// The last that runs on Python 3.10.
const pin = "numpy==2.2.6"

const ran = promisify(execFile)
const cache = path.join(import.meta.dirname, "../../node_modules/.cache/effect-rhapsody")

/** Where it is, or why it is not. */
export const numpy = async (python: string): Promise<{ readonly directory: string } | { readonly missing: string }> => {
  try {
    const { stdout: version } = await ran(python, ["-c", "import sys; print(*sys.version_info[:2], sep='.')"])
    const directory = path.join(cache, `${pin.replace("==", "-")}-${version.trim()}`)
    if (!fs.existsSync(directory)) {
      // whole or not at all, for another run may make it at the same time
      const target = fs.mkdtempSync(`${directory}.`)
      const args = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", target, pin]
      try {
        await ran(python, args)
        fs.renameSync(target, directory)
      } catch (cause) {
        fs.rmSync(target, { recursive: true, force: true })
        if (!fs.existsSync(directory)) throw cause
      }
    }
    return { directory }
  } catch (cause) {
    return { missing: (cause as Error).message }
  }
}
