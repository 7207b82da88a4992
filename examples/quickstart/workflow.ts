/** The quickstart's workflow, from the data to the table. It knows tasks and no backend: that is for layers to say. */
import { fileURLToPath } from "node:url"
import { FileSystem, Path } from "@effect/platform"
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Console, Duration, Effect, Exit, Fiber, Schema } from "effect"
import { ExecutionBackend } from "effect-rhapsody"
import { split } from "./parts.js"
import { follow } from "./progress.js"
import { explain, plot, table } from "./report.js"
import { Check, Merge, Profile, Summarise } from "./tasks.js"

const flights = fileURLToPath(new URL("../data/flights-200k.json", import.meta.resolve("vega-datasets")))
const [data = flights, output = ".rhapsody/quickstart"] = process.argv.slice(2)

const work = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const files = {
    parts: path.resolve(output, "parts"),
    result: path.resolve(output, "profile.json"),
    plot: path.resolve(output, "delays.svg")
  }
  yield* Effect.forEach(Object.values(files), (old) => fs.remove(old, { recursive: true, force: true }))

  yield* Console.log(`reading ${data}`)
  const parts = yield* split(data, files.parts, 16)
  const progress = yield* follow(parts.length + 2)

  // All parts are submitted at once; the backend runs as many as it has workers. One of them fails at first.
  const summaries = yield* Effect.forEach(
    parts,
    ({ file, name }, index) => ExecutionBackend.execute(Summarise.make({ file, flaky: index === 6 }, { uid: name })),
    { concurrency: "unbounded" }
  )
  const profile = yield* ExecutionBackend.execute(Merge.make({ summaries }, { uid: "merge" }))

  const json = yield* Schema.encode(Schema.parseJson(Profile, { space: 1 }))(profile)
  yield* fs.writeFileString(files.result, json)
  const verdict = yield* ExecutionBackend.execute(Check.make({ data, result: files.result }, { uid: "check" }))
  yield* fs.writeFileString(files.plot, plot(profile))

  return { files, profile, verdict, counts: yield* Fiber.join(progress) }
}).pipe(Effect.scoped)

export const program = Effect.gen(function* () {
  const [elapsed, { counts, files, profile, verdict }] = yield* Effect.timed(work)
  yield* Console.log(`
${table(profile)}

result: ${files.result}
plot:   ${files.plot}
tasks:  ${counts.done} ran, ${counts.retried} retried, in ${Duration.toSeconds(elapsed).toFixed(1)} s
check:  ${verdict}`)
})

/** Runs it as the whole process: its exit code says how it ended, and a failure is one line. */
export const main = <E extends { readonly message: string }>(program: Effect.Effect<void, E>) =>
  program.pipe(
    Effect.onError((cause) => Console.error(explain(cause))),
    NodeRuntime.runMain({
      disableErrorReporting: true,
      teardown: (exit, end) => end(Exit.isSuccess(exit) ? 0 : Cause.isInterruptedOnly(exit.cause) ? 130 : 1)
    })
  )
