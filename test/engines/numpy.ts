/** numpy beside a Python of the tests, which stays without it: a directory for PYTHONPATH, made once and kept. */
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"

// The last that runs on Python 3.10.
const pin = "numpy==2.2.6"

const cache = path.join(import.meta.dirname, "../../node_modules/.cache/effect-rhapsody")

/** Where it is, or why it is not. */
export const numpy = (python: string): { readonly directory: string } | { readonly missing: string } => {
  try {
    const version = execFileSync(python, ["-c", "import sys; print(*sys.version_info[:2], sep='.')"], {
      encoding: "utf8"
    })
    const directory = path.join(cache, `${pin.replace("==", "-")}-${version.trim()}`)
    if (!fs.existsSync(directory)) {
      // whole or not at all, for another run may make it at the same time
      const target = fs.mkdtempSync(`${directory}.`)
      const args = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", target, pin]
      try {
        execFileSync(python, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })
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
