import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { delimiter, join } from "node:path"
import { pathToFileURL } from "node:url"
import { assert, describe, it, layer } from "@effect/vitest"
import { Array, Context, Effect, Layer, Schedule, Schema } from "effect"
import { makeDirectory, removeDirectory, root, run } from "../project/support.js"

const { resolve } = createRequire(import.meta.url)
const data = join(resolve("vega-datasets"), "../../data/flights-200k.json")
const check = join(root, "examples/quickstart/check.mjs")
// What `npm start` says, for any working directory.
const command = [
  "--conditions=effect-rhapsody-source",
  `--import=${pathToFileURL(resolve("tsx"))}`,
  join(root, "examples/quickstart.ts")
]

const directory = Effect.acquireRelease(Effect.sync(makeDirectory), (path) => Effect.sync(() => removeDirectory(path)))

const execute = (cwd: string, program: string, args: ReadonlyArray<string>, env?: Record<string, string>) =>
  Effect.promise(() => run(cwd, program, args, env))

/** A PATH whose first `awk` is this shell script. */
const pathWithAwk = (script: string) =>
  Effect.map(directory, (path) => {
    writeFileSync(join(path, "awk"), `#!/bin/sh\n${script}\n`)
    chmodSync(join(path, "awk"), 0o755)
    return { PATH: `${path}${delimiter}${process.env["PATH"]}` }
  })

const Flights = Schema.Array(Schema.Struct({ delay: Schema.Int, distance: Schema.Int, time: Schema.Number }))
const Result = Schema.Array(Schema.Struct({ hour: Schema.Int, flights: Schema.Int }))
const readJson = <A, I>(path: string, schema: Schema.Schema<A, I>) =>
  Schema.decode(Schema.parseJson(schema))(readFileSync(path, "utf8"))

/** One run to its end, as the README has it: `npm start`. */
class Run extends Context.Tag("test/Run")<Run, { readonly output: string; readonly path: string }>() {
  static readonly layer = Layer.scoped(
    Run,
    Effect.gen(function* () {
      const path = yield* directory
      const { code, output } = yield* execute(root, "npm", ["start", "--", data, path])
      assert.strictEqual(code, 0, output)
      return { output, path }
    })
  )
}

layer(Run.layer, { excludeTestServices: true, timeout: "30 seconds" })("the quickstart", (it) => {
  it.effect("reports a retry, shows a table and is checked", () =>
    Effect.gen(function* () {
      const { output, path } = yield* Run
      assert.strictEqual(output.match(/attempt \d failed/g)?.length, 1)
      assert.include(output, "part-07: attempt 1 failed")
      assert.match(output, /^05:00 +2,597 +−2\.9 min +6 %$/m)
      assert.match(output, /^tasks: +18 ran, 1 retried, in \d+\.\d s$/m)
      assert.match(output, /^check: +ok, all 144 numbers recomputed from 200000 flights$/m)
      assert.include(output, join(path, "delays.svg"))
    })
  )

  it.effect("writes a result that counts every flight, and a plot", () =>
    Effect.gen(function* () {
      const { path } = yield* Run
      const hours = yield* readJson(join(path, "profile.json"), Result)
      assert.strictEqual(
        hours.reduce((sum, { flights }) => sum + flights, 0),
        200_000
      )
      const plot = readFileSync(join(path, "delays.svg"), "utf8")
      assert.match(plot, /^<svg .*<\/svg>\s$/s)
      // one bar per hour on a background
      assert.strictEqual(plot.match(/<rect /g)?.length, hours.length + 1)
    })
  )

  it.effect("prints and draws what the pictures show", () =>
    Effect.gen(function* () {
      const { output, path } = yield* Run
      const picture = (name: string) => readFileSync(join(root, "examples/quickstart", name), "utf8")
      assert.strictEqual(picture("delays.svg"), readFileSync(join(path, "delays.svg"), "utf8"))
      const lines = output.split("\n").filter((line) => /^(hour |\d\d:00 |part-07: |check: )/.test(line))
      assert.strictEqual(lines.length, 27)
      for (const line of lines) assert.include(picture("terminal.svg"), `visibility="visible">${line}<`)
    })
  )

  it.effect("has a check that sees one changed field of one flight", () =>
    Effect.gen(function* () {
      const { path } = yield* Run
      const result = join(path, "profile.json")
      const verdict = (data: string) => execute(path, process.execPath, [check, data, result])
      assert.strictEqual((yield* verdict(data)).code, 0)

      const flights = yield* readJson(data, Flights)
      const chosen = 123_456
      const { delay, distance, time } = flights[chosen]!
      const changes = { delay: delay + 1, distance: distance + 1, time: time + 1 / 60 }
      for (const field of ["delay", "distance", "time"] as const) {
        const changed = join(path, `changed-${field}.json`)
        const flight = { ...flights[chosen]!, [field]: changes[field] }
        writeFileSync(changed, JSON.stringify(Array.replace(flights, chosen, flight)))
        const { code, output } = yield* verdict(changed)
        assert.strictEqual(code, 1, output)
        assert.include(output, `${field} is`)
      }
    })
  )
})

describe("the quickstart that cannot succeed", () => {
  it.scopedLive("names the data file that is not there, without a stack trace", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const { code, output } = yield* execute(path, process.execPath, [...command, "missing.json"])
      assert.strictEqual(code, 1)
      assert.match(output, /^failed: .*missing\.json/m)
      assert.notMatch(output, /^ +at /m)
    })
  )

  it.scopedLive("does not believe a program that miscounts", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const row = `{"hour":7,"flights":12500,"delay":0,"distance":0,"time":0,"late":0}`
      const { code, output } = yield* execute(path, process.execPath, command, yield* pathWithAwk(`echo '[${row}]'`))
      assert.strictEqual(code, 1)
      assert.match(output, /^failed: task Check .* exited with code 1/m)
      assert.include(output, "hour 0: flights is undefined, not 697")
      assert.notInclude(output, "ok,")
    })
  )
})

/** How many processes of tasks carry the mark; the grandchildren too, for an environment is inherited. */
const marked = (mark: string) =>
  Effect.sync(
    () =>
      readdirSync("/proc").filter((pid) => {
        try {
          const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0")
          return environment.includes(mark) && environment.some((_) => _.startsWith("RHAPSODY_TASK_UID="))
        } catch {
          return false // no process, ended meanwhile, or another user's
        }
      }).length
  )

describe("the quickstart that is interrupted", () => {
  // What is left running can only be seen in /proc.
  it.scopedLive.skipIf(!existsSync("/proc/self/environ"))("leaves no process behind", () =>
    Effect.gen(function* () {
      const path = yield* directory
      const slow = yield* pathWithAwk("sleep 60 &\nwait")
      const mark = `QUICKSTART_TEST=${randomUUID()}`
      const [name, value] = mark.split("=") as [string, string]
      const main = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const child = spawn(process.execPath, command, {
            cwd: path,
            env: { ...process.env, ...slow, [name]: value },
            stdio: ["ignore", "ignore", "pipe"]
          })
          let stderr = ""
          child.stderr.on("data", (chunk) => {
            stderr += chunk
          })
          const closed = once(child, "close")
          return { child, ended: Effect.promise(async () => ({ code: (await closed)[0] as unknown, stderr })) }
        }),
        ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
      )

      // two workers, each a shell and its sleep
      yield* marked(mark).pipe(
        Effect.repeat({ until: (count) => count === 4, schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("20 seconds")
      )
      main.child.kill("SIGINT")
      const { code, stderr } = yield* main.ended
      assert.strictEqual(yield* marked(mark), 0)
      assert.strictEqual(code, 130, stderr)
      assert.include(stderr, "interrupted")
    })
  )
})
