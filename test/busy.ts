/**
 * The tests on a machine that does other work: two processes compute all along, and the tests run three times, or as
 * often as the first argument says. `npm run test:busy`. Fails when a run fails.
 */
import { spawn, spawnSync } from "node:child_process"

const runs = Number(process.argv[2] ?? 3)

// Each ends with this process, however that ends: its standard input is closed then.
const compute = `
import select, sys
n = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(1000000):
        n += 1
`
const others = [1, 2].map(() => spawn("python3", ["-c", compute], { stdio: ["pipe", "inherit", "inherit"] }))

const summaries: Array<string> = []
for (let i = 1; i <= runs; i++) {
  const { status, stdout } = spawnSync("npm", ["--silent", "test"], {
    encoding: "utf8",
    maxBuffer: 256 * 1024 * 1024,
    stdio: ["ignore", "pipe", "inherit"]
  })
  process.stdout.write(stdout)
  summaries.push(`run ${i}: ${stdout.trimEnd().split("\n").at(-1)}`)
  if (status !== 0) process.exitCode = 1
}
for (const other of others) other.kill()
console.log(summaries.join("\n"))
