/** numpy beside a Python of the tests, which stays without it: an environment that finds the packages of both, made once. */
import { execFile } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"

// The last that runs on Python 3.10.
const pin = "numpy==2.2.6"

const ran = promisify(execFile)
const cache = path.join(import.meta.dirname, "../../node_modules/.cache/effect-rhapsody")

/** Where an interpreter looks for packages. */
const packages = async (python: string) =>
  (await ran(python, ["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])).stdout.trim()

/** Its interpreter, or why there is none. */
export const numpy = async (python: string): Promise<{ readonly python: string } | { readonly missing: string }> => {
  try {
    const environment = path.basename(path.resolve(python, "../.."))
    const directory = path.join(cache, `${pin.replace("==", "-")}-beside-${environment}`)
    if (!fs.existsSync(directory)) {
      // whole or not at all, for another run may make it at the same time
      const target = fs.mkdtempSync(`${directory}.`)
      try {
        await ran(python, ["-m", "venv", "--without-pip", target])
        const own = await packages(path.join(target, "bin/python"))
        await ran(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", own, pin])
        fs.writeFileSync(path.join(own, "beside.pth"), `${await packages(python)}\n`)
        fs.renameSync(target, directory)
      } catch (cause) {
        fs.rmSync(target, { recursive: true, force: true })
        if (!fs.existsSync(directory)) throw cause
      }
    }
    return { python: path.join(directory, "bin/python") }
  } catch (cause) {
    return { missing: (cause as Error).message }
  }
}
