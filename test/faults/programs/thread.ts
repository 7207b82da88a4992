/** Runs the scripts of a plan in a thread (trees.ts), which it terminates at any word. */
import { Worker } from "node:worker_threads"

// a thread does not inherit what reads TypeScript
const [tsx, trees] = ["tsx/esm/api", "./trees.ts"].map((name) => JSON.stringify(import.meta.resolve(name)))
const program = `import(${tsx}).then(({ register }) => (register(), import(${trees})))`
const worker = new Worker(program, { eval: true, argv: process.argv.slice(2) })
process.stdin.on("data", () => void worker.terminate())
