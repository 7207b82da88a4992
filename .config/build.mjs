// Compiles src to dist, with the Python sources inside: a bundler keeps no files but those of JavaScript.
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"

const root = new URL("..", import.meta.url)
const at = (path) => new URL(path, root)

fs.rmSync(at("dist"), { recursive: true, force: true })
execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", ".config/tsconfig.build.json"], {
  cwd: root,
  stdio: "inherit"
})
const names = fs.readdirSync(at("src/internal"), { recursive: true }).filter((name) => name.endsWith(".py"))
const sources = Object.fromEntries(
  names.sort().map((name) => [name.slice(0, -".py".length), fs.readFileSync(at(`src/internal/${name}`), "utf8")])
)
for (const file of ["sources.js.map", "sources.d.ts.map"]) fs.rmSync(at(`dist/internal/${file}`))
fs.writeFileSync(
  at("dist/internal/sources.js"),
  `const sources = ${JSON.stringify(sources, null, 1)}
export const sourceOf = (...names) => names.map((name) => sources[name]).join("\\n")
`
)
