import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { makeDirectory, removeDirectory, root, run } from "./support.js"

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
const modules = readdirSync(join(root, "src"))
  .filter((name) => name.endsWith(".ts"))
  .map((name) => name.slice(0, -".ts".length))
const specifier = (module: string) => (module === "index" ? manifest.name : `${manifest.name}/${module}`)

it("exports exactly the modules of src", () => {
  const entries = modules.map((module) => [
    module === "index" ? "." : `./${module}`,
    { "effect-rhapsody-source": `./src/${module}.ts`, types: `./dist/${module}.d.ts`, default: `./dist/${module}.js` }
  ])
  expect(manifest.exports).toEqual({ "./package.json": "./package.json", ...Object.fromEntries(entries) })
})

describe("the packed package in a stranger's project", () => {
  const directory = makeDirectory()
  const stranger = join(directory, "stranger")
  let files: ReadonlyArray<string>

  beforeAll(async () => {
    const packed = await run(root, "npm", ["pack", "--json", "--pack-destination", directory])
    expect(packed.code, packed.output).toBe(0)
    const [tarball] = JSON.parse(packed.stdout)
    files = tarball.files.map((file: { path: string }) => file.path)

    mkdirSync(stranger)
    writeFileSync(join(stranger, "package.json"), '{ "private": true, "type": "module" }')
    const pinned = ["effect", "typescript", "@types/node"].map((name) => `${name}@${manifest.devDependencies[name]}`)
    const install = ["install", "--prefer-offline", "--no-audit", "--no-fund"]
    const installed = await run(stranger, "npm", [...install, join(directory, tarball.filename), ...pinned])
    expect(installed.code, installed.output).toBe(0)
  })

  afterAll(() => removeDirectory(directory))

  const node = (file: string, text: string) => {
    writeFileSync(join(stranger, file), text)
    return run(stranger, process.execPath, [file])
  }

  it("holds what it needs, and no tests", () => {
    expect(files.filter((file) => !/^(dist|src)\//.test(file)).sort()).toEqual(["LICENSE", "README.md", "package.json"])
    expect(files.filter((file) => file.includes("test."))).toEqual([])
  })

  it("type-checks and runs", async () => {
    const options = {
      strict: true,
      module: "NodeNext",
      target: "ES2022",
      types: ["node"],
      exactOptionalPropertyTypes: true
    }
    writeFileSync(join(stranger, "tsconfig.json"), JSON.stringify({ compilerOptions: options, include: ["*.ts"] }))
    writeFileSync(
      join(stranger, "everything.ts"),
      modules.map((module) => `export * as ${module} from "${specifier(module)}"\n`).join("")
    )
    writeFileSync(
      join(stranger, "hello.ts"),
      `import { Effect } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "${manifest.name}"
import "./everything.js"

const Hello = Task.executable("Hello", { command: () => ({ executable: "echo", args: ["hello"] }) })

const program = ExecutionBackend.execute(Hello.make()).pipe(Effect.provide(ConcurrentBackend.layer({ launcher: "agent" })))

Effect.runPromise(program).then(console.log)
`
    )
    const checked = await run(stranger, process.execPath, ["node_modules/typescript/bin/tsc"])
    expect(checked.code, checked.output).toBe(0)
    const hello = await run(stranger, process.execPath, ["hello.js"])
    expect(hello.code, hello.output).toBe(0)
    expect(hello.output.trim()).toBe("hello")
  })

  it("lets nothing else out", async () => {
    const allowed = await node("in.js", `await import("${manifest.name}/Task")`)
    expect(allowed.code, allowed.output).toBe(0)
    const internal = files.find((file) => /^dist\/internal\/.*\.js$/.test(file))!.slice("dist/".length)
    for (const path of [internal, internal.replace(/\.js$/, ""), `dist/${internal}`, "dist/index.js", "src/index.ts"]) {
      const refused = await node("out.js", `await import("${manifest.name}/${path}")`)
      expect(refused.output, path).toContain("ERR_PACKAGE_PATH_NOT_EXPORTED")
      expect(refused.code, path).toBe(1)
    }
  })
})
