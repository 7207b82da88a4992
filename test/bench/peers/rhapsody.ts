// Where RHAPSODY is: named, or installed for this run.
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Option } from "effect"

/** A Python that has RHAPSODY, installed into a temporary directory when none is named by RHAPSODY_PYTHON. */
export const rhapsodyPython = (): Option.Option<string> => {
  const named = process.env["RHAPSODY_PYTHON"]
  if (named !== undefined) return Option.some(named)
  const directory = mkdtempSync(join(tmpdir(), "effect-rhapsody-bench-"))
  process.on("exit", () => rmSync(directory, { recursive: true, force: true }))
  const python = join(directory, "bin/python")
  const steps: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
    ["python3", ["-m", "venv", directory]],
    [python, ["-m", "pip", "install", "--quiet", "rhapsody-py==0.6.0"]]
  ]
  const installed = steps.every(([command, args]) => spawnSync(command, args, { stdio: "ignore" }).status === 0)
  return installed && existsSync(python) ? Option.some(python) : Option.none()
}
