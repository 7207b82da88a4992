// The packed package as a stranger gets it: what it holds, how it is installed, what it lets out, what it says when the
// version of Effect is another. Outside vitest, for it installs and type-checks whole projects.

import assert from "node:assert"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { links, page, pages } from "../project/documentation.js"
import { makeDirectory, removeDirectory, root, run } from "../project/support.js"

const readme = page("README.md")
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
/** Below src: each is exported by its name, and the indexes by that of their folder. */
const modules = [...readdirSync(join(root, "src")), "testing/index.ts"]
  .filter((name) => name.endsWith(".ts"))
  .map((name) => name.slice(0, -".ts".length))
const entryOf = (module: string) => (module === "index" ? "." : `./${module.replace(/\/index$/, "")}`)
const specifier = (module: string) => `${manifest.name}${entryOf(module).slice(1)}`

it("exports exactly the modules of src", () => {
  const entries = modules.map((module) => [
    entryOf(module),
    { "effect-rhapsody-source": `./src/${module}.ts`, types: `./dist/${module}.d.ts`, default: `./dist/${module}.js` }
  ])
  assert.deepStrictEqual(manifest.exports, { "./package.json": "./package.json", ...Object.fromEntries(entries) })
})

const hello = `import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "${manifest.name}"

const Hello = Task.executable("Hello", { command: () => ({ executable: "echo", args: ["hello"] }) })

ExecutionBackend.execute(Hello.make()).pipe(
  Effect.tap(Console.log),
  Effect.provide(ConcurrentBackend.layer({ launcher: "agent" })),
  NodeRuntime.runMain
)
`

describe("the packed package", () => {
  const directory = makeDirectory()
  const stranger = join(directory, "stranger")
  // what package managers leave there goes with the directory
  const temporary = join(directory, "tmp")
  mkdirSync(temporary)
  let tarball: string
  let files: ReadonlyArray<string>

  const project = (name: string) => {
    const path = join(directory, name)
    mkdirSync(path)
    writeFileSync(join(path, "package.json"), '{ "private": true, "type": "module" }')
    return path
  }
  const succeeds = async (cwd: string, command: string, ...args: ReadonlyArray<string>) => {
    const { code, output, stdout } = await run(cwd, command, args, { TMPDIR: temporary })
    assert.strictEqual(code, 0, output)
    return stdout
  }
  const node = (file: string, text: string) => {
    writeFileSync(join(stranger, file), text)
    return run(stranger, process.execPath, [file])
  }

  before(async () => {
    const [packed] = JSON.parse(await succeeds(root, "npm", "pack", "--json", "--pack-destination", directory))
    tarball = join(directory, packed.filename)
    files = packed.files.map((file: { path: string }) => file.path)
    const pinned = ["effect", "typescript", "@types/node"].map((name) => `${name}@${manifest.devDependencies[name]}`)
    project("stranger")
    await succeeds(stranger, "npm", "install", "--prefer-offline", "--no-audit", "--no-fund", tarball, ...pinned)
  })
  after(() => removeDirectory(directory))

  it("holds what it needs, and no tests", () => {
    const others = files.filter((file) => !/^(dist|src|examples)\//.test(file))
    const ours = ["LICENSE", "README.md", "package.json", "test/README.md", "test/bench/README.md"]
    assert.deepStrictEqual(others.sort(), ours)
    assert.deepStrictEqual(
      files.filter((file) => file.includes("test.")),
      []
    )
  })

  it("has all pages, and all that they link to", () => {
    const all = pages.flatMap(links).map(({ path }) => path.replace(/\/$/, ""))
    assert.ok(all.length > 5)
    assert.deepStrictEqual(
      [...pages.map(({ path }) => path), ...all].filter(
        (path) => !files.includes(path) && !files.some((file) => file.startsWith(`${path}/`))
      ),
      []
    )
  })

  // As the README says it, with the tarball for the name.
  const lines = [...readme.matchAll(/^(npm install|pnpm add|yarn add) effect-rhapsody (.*)$/gm)]
  it("has an installation line for npm, pnpm and yarn", () => {
    assert.deepStrictEqual(
      lines.map(([, line]) => line),
      ["npm install", "pnpm add", "yarn add"]
    )
  })
  // Those that a machine does not have come from the registry; their versions run on Node 20.
  const managers: Record<string, ReadonlyArray<string>> = {
    npm: ["npm"],
    pnpm: ["npx", "--yes", "pnpm@10"],
    yarn: ["npx", "--yes", "yarn@1.22"]
  }
  for (const [, line, packages] of lines) {
    const [name, verb] = line!.split(" ") as [string, string]
    it(`runs when it is installed with ${name} as the README says`, async () => {
      const path = project(name)
      const [command, ...args] = managers[name]!
      await succeeds(path, command!, ...args, verb, tarball, ...packages!.split(" "))
      writeFileSync(join(path, "hello.ts"), hello)
      assert.strictEqual(await succeeds(path, "npx", "tsx", "hello.ts"), "hello\n\n")
    })
  }

  it("type-checks", async () => {
    const options = {
      strict: true,
      module: "NodeNext",
      target: "ES2022",
      types: ["node"],
      noEmit: true,
      exactOptionalPropertyTypes: true
    }
    writeFileSync(join(stranger, "tsconfig.json"), JSON.stringify({ compilerOptions: options, include: ["*.ts"] }))
    const everything = modules
      .map((module) => `export * as ${module.replace("/", "_")} from "${specifier(module)}"\n`)
      .join("")
    writeFileSync(join(stranger, "everything.ts"), everything)
    await succeeds(stranger, process.execPath, "node_modules/typescript/bin/tsc")
  })

  it("starts its launch agent from a bundle, which has no files of Python", async () => {
    const entry = hello
      .replace('import { NodeRuntime } from "@effect/platform-node"\n', "")
      .replace("  NodeRuntime.runMain\n", "  Effect.runPromise\n")
    writeFileSync(join(stranger, "bundled.ts"), entry)
    const bundle = join(directory, "bundle.mjs")
    const esbuild = join(root, "node_modules/esbuild/bin/esbuild")
    const args = ["--bundle", "--platform=node", "--format=esm", "--log-level=error", `--outfile=${bundle}`]
    await succeeds(stranger, esbuild, "bundled.ts", ...args)
    assert.strictEqual(await succeeds(directory, process.execPath, bundle), "hello\n\n")
  })

  it("lets nothing else out", async () => {
    const allowed = await node("in.js", `await import("${manifest.name}/Task")`)
    assert.strictEqual(allowed.code, 0, allowed.output)
    const internal = files.find((file) => /^dist\/internal\/.*\.js$/.test(file))!.slice("dist/".length)
    for (const path of [internal, internal.replace(/\.js$/, ""), `dist/${internal}`, "dist/index.js", "src/index.ts"]) {
      const refused = await node("out.js", `await import("${manifest.name}/${path}")`)
      assert.ok(refused.output.includes("ERR_PACKAGE_PATH_NOT_EXPORTED"), path)
      assert.strictEqual(refused.code, 1, path)
    }
  })

  for (const [version, said] of [
    ["4", /Cannot find module .*effect\/dist\/Either\.js' imported from .*needsEffect3\.js/],
    ["3.17", /effect-rhapsody needs effect 3\.22 or a later version of Effect 3, and finds effect 3\.17\.\d+/]
  ] as const) {
    it(`names what it needs beside Effect ${version}`, async () => {
      const path = project(`effect-${version}`)
      const flags = ["--legacy-peer-deps", "--no-audit", "--no-fund"]
      await succeeds(path, "npm", "install", ...flags, tarball, `effect@${version}`)
      for (const module of ["index", "Task"]) {
        const { code, output } = await run(path, process.execPath, [
          "--input-type=module",
          "-e",
          `import "${specifier(module)}"`
        ])
        assert.match(output, said)
        assert.notStrictEqual(code, 0)
      }
    })
  }
})
