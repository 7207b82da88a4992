import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { root } from "./support.js"

const notOurs = new Set([".git", "node_modules", "dist", "coverage", ".rhapsody"])

const walk = (directory: string): ReadonlyArray<string> =>
  readdirSync(join(root, directory), { withFileTypes: true })
    .filter((entry) => !notOurs.has(entry.name))
    .flatMap((entry) => {
      const path = join(directory, entry.name)
      return entry.isDirectory() ? walk(path) : [path]
    })

const listFiles = (): ReadonlyArray<string> => {
  try {
    const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    const listed = execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] })
    return listed.split("\0").filter((path) => path !== "" && existsSync(join(root, path)))
  } catch {
    // An archive of the sources has no repository.
    return walk("")
  }
}

const files = listFiles()
const read = (path: string): string => readFileSync(join(root, path), "utf8")
const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(?<!:)\/\/.*/g, "")

const sources = files.filter((path) => /^src\/.*\.ts$/.test(path))
const tests = files.filter((path) => /^test\/.*\.ts$/.test(path))
const pages = files.filter((path) => path.endsWith(".md"))

/** What each module imports of ours, types included. */
const imports = new Map(
  sources.map((path) => {
    const specifiers = read(path).matchAll(/^(?:import|export)[^"']*?["'](\.[^"']+)["']/gms)
    return [path, [...specifiers].map(([, to]) => join(path, "..", to!).replace(/\.js$/, ".ts"))] as const
  })
)

/** Every module that is loaded with one: what only gives types is not. */
const loadedWith = (path: string, loaded = new Set<string>()): ReadonlySet<string> => {
  if (loaded.has(path)) return loaded
  loaded.add(path)
  for (const [, to] of read(path).matchAll(/^(?:import|export)(?! type\b)[^"']*?["'](\.[^"']+)["']/gms)) {
    loadedWith(join(path, "..", to!).replace(/\.js$/, ".ts"), loaded)
  }
  return loaded
}

/** The first circle that is found from a module on. */
const circle = (
  path: string,
  seen: Set<string>,
  way: ReadonlyArray<string> = []
): ReadonlyArray<string> | undefined => {
  if (way.includes(path)) return [...way.slice(way.indexOf(path)), path]
  if (seen.has(path)) return undefined
  seen.add(path)
  for (const next of imports.get(path) ?? []) {
    const found = circle(next, seen, [...way, path])
    if (found !== undefined) return found
  }
  return undefined
}

describe("the house", () => {
  it("has no circle of imports in src, of types neither", () => {
    const seen = new Set<string>()
    expect(sources.map((path) => circle(path, seen)).find((found) => found !== undefined)).toBeUndefined()
    expect(imports.get("src/Backend.ts")).toContain("src/internal/engine/engine.ts")
  })

  it("loads no engine and no process code with Task, and nothing for tests with all the rest", () => {
    const folders = (path: string) => {
      const loaded = [...loadedWith(path)].filter((one) => one.startsWith("src/internal/") || one.includes("testing"))
      return [...new Set(loaded.map((one) => one.split("/").slice(0, -1).join("/")))].sort()
    }
    expect(folders("src/Task.ts")).toEqual(["src/internal", "src/internal/options"])
    expect(folders("src/index.ts").filter((folder) => folder.includes("testing"))).toEqual([])
    expect(folders("src/index.ts")).toContain("src/internal/process")
    expect(folders("src/testing/index.ts")).toContain("src/internal/testing")
  })

  it("has no top-level entry beyond the agreed ones", () => {
    const allowed = ["src", "test", "examples", "README.md", "LICENSE", "vitest.config.ts"]
    const manifests = ["package.json", "package-lock.json", "tsconfig.json"]
    const top = [...new Set(files.map((path) => path.split("/")[0]!))]
    expect(sources.length).toBeGreaterThan(0)
    expect(top.filter((name) => !name.startsWith(".") && ![...allowed, ...manifests].includes(name))).toEqual([])
  })

  it("has no source file over 400 lines", () => {
    const lines = (path: string) => read(path).trimEnd().split("\n").length
    expect(files.filter((path) => path.startsWith("src/") && lines(path) > 400)).toEqual([])
  })

  // Put together here, so that this file does not hold them itself.
  it.each([
    ["registry", "npmjs"].join("."),
    ["pypi", "org"].join("."),
    ["files", "pythonhosted"].join("."),
    ["", "work", ""].join("/")
  ])("has no file that names %s", (text) => {
    expect(files.filter((path) => read(path).includes(text))).toEqual([])
  })

  it.each([/\bEffect\.run(Sync|Promise|Fork|Callback)/, /\bDate\.now\(/])("has no source with %s", (pattern) => {
    expect(sources.filter((path) => pattern.test(withoutComments(read(path))))).toEqual([])
  })

  // There may be two copies of this library, or of Effect: what they make is recognized by tag and TypeId.
  it("asks for instances of nothing but what the language has", () => {
    const asked = (path: string) =>
      [...withoutComments(read(path)).matchAll(/\binstanceof (\w+)/g)].map(([, name]) => name!)
    const known = new Set(["Error", "RangeError", "TypeError", "Uint8Array", "URL", "Map", "Set", "Date", "RegExp"])
    expect(sources.flatMap((path) => asked(path).filter((name) => !known.has(name)))).toEqual([])
  })

  it("reads the environment of the process in the launch agent alone", () => {
    const readers = sources.filter((path) => /\bprocess\.env\b/.test(withoutComments(read(path))))
    expect(readers.filter((path) => !path.startsWith("src/internal/process"))).toEqual([])
  })

  // Words of old messages and names of old options; what is said instead is in the glossary.
  it.each([
    ...["told", "tells", "whoever", "nobody", "somebody", "everybody", "shall", "thereof", "there and back"],
    ...["own cluster", "leftovers", "nestedAdmission", "killGrace", "stopGrace", "cancelRunning", "Needing"]
  ])("uses no retired word: %s", (word) => {
    const pattern = new RegExp(`\\b${word.replaceAll(" ", "[\\s*/]+")}\\b`, "i")
    const all = [...sources, ...tests, ...pages].filter((path) => !path.endsWith("/house.test.ts"))
    const found = all.filter((path) => pattern.test(read(path)))
    expect(found).toEqual([])
  })

  it("runs all of its tests", () => {
    expect(tests.filter((path) => /\.(only|todo)\(/.test(read(path)))).toEqual([])
  })
})
