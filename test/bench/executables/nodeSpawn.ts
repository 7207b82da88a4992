// Programs by Node alone, so many at a time, each result compared: node nodeSpawn.js PROGRAM COUNT WIDTH. Prints how
// many a second.
import { spawn } from "node:child_process"

const [program = "", count, width] = process.argv.slice(2)
let started = 0

const run = (text: string) =>
  new Promise<void>((resolve, reject) => {
    const child = spawn(program, [text], { stdio: ["ignore", "pipe", "pipe"] })
    const expected = program.endsWith("echo") ? `${text}\n` : ""
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (data) => {
      output += data
    })
    child.stderr.resume()
    child.on("error", reject).on("close", (code) => {
      if (code === 0 && output === expected) resolve()
      else reject(new Error(`${text} printed ${JSON.stringify(output)} and ended with ${code}`))
    })
  })

const runAll = async (count: number) => {
  const end = started + count
  const next = async (): Promise<void> => {
    while (started < end) await run(`task.${String(started++).padStart(6, "0")}`)
  }
  await Promise.all(Array.from({ length: Number(width) }, next))
}

await runAll(200)
const start = performance.now()
await runAll(Number(count))
console.log((Number(count) / (performance.now() - start)) * 1000)
