/** For orchestrators that run as another user than root: a copy of the checkout that this user may read. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { directory, root } from "../concurrent/support.js"

export const unprivileged = 65534

/** A package and all that it needs. */
const packages = (name: string, found = new Set<string>()): ReadonlySet<string> => {
  const file = join(root, "node_modules", name, "package.json")
  if (found.has(name) || !fs.existsSync(file)) return found
  found.add(name)
  const { dependencies, optionalDependencies } = JSON.parse(fs.readFileSync(file, "utf8"))
  for (const needed of Object.keys({ ...dependencies, ...optionalDependencies })) packages(needed, found)
  return found
}

/** The checkout, or a copy of what the program needs where that user may not read the checkout. */
export const readableBy = (uid: number | undefined) =>
  Effect.gen(function* () {
    const modules = [...packages("effect"), ...packages("tsx")].map((name) => `node_modules/${name}`)
    const needed = ["package.json", "tsconfig.json", "src", "test/faults", ...modules]
    const script = `for (const path of ${JSON.stringify(needed)}) fs.accessSync(${JSON.stringify(root)} + path, 4)`
    const { status } = spawnSync(process.execPath, ["-e", script], { cwd: "/", uid, gid: uid })
    if (status === 0) return root
    const copy = yield* directory
    for (const path of needed) fs.cpSync(join(root, path), join(copy, path), { recursive: true })
    spawnSync("chmod", ["-R", "a+rX", copy])
    return `${copy}/`
  })
