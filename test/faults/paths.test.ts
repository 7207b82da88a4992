/** Paths that another user, another run or another process could have: none of them decides what a program's files are. */
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import { dirname, join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { ExecutionBackend, Task } from "effect-rhapsody"
import type { TaskError } from "effect-rhapsody/Errors"
import { directory, failureOf, gate, refusal, sh } from "../concurrent/support.js"
import { both, caught, fault, over } from "./support.js"

const stranger = 65534
const isRoot = process.getuid!() === 0

const swapPlace = (place: string | undefined): string | undefined => {
  const inherited = process.env["TMPDIR"]
  if (place === undefined) delete process.env["TMPDIR"]
  else process.env["TMPDIR"] = place
  return inherited
}

/** A temporary directory that all users share, as the system's own. */
const shared = Effect.gen(function* () {
  // directly there: what tests usually have is theirs alone
  const place = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync("/tmp/effect-rhapsody-")),
    (path) => Effect.sync(() => fs.rmSync(path, { recursive: true }))
  )
  fs.chmodSync(place, 0o1777)
  yield* Effect.acquireRelease(
    Effect.sync(() => swapPlace(place)),
    (inherited) => Effect.sync(() => swapPlace(inherited))
  )
  return place
})

/**
 * Another user, who makes every directory that he can in place of those that a program's files are in, and replaces the
 * files with links to `victim`.
 */
const attacker = (place: string, victim: string) =>
  Effect.gen(function* () {
    const script = `
      umask 0
      mkdir "$1/effect-rhapsody" 2>/dev/null
      echo ready
      while :; do
        for directory in "$1"/*/ "$1"/effect-rhapsody/*/; do
          for name in stdout stderr; do
            rm -f "$directory$name" 2>/dev/null && ln -s "$2" "$directory$name" 2>/dev/null
          done
        done
        for file in "$1"/effect-rhapsody-*; do
          test -f "$file" && cat "$file" > "$1/stolen" 2>/dev/null
        done
      done`
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn("sh", ["-c", script, "sh", place, victim], {
          uid: stranger,
          gid: stranger,
          detached: true,
          stdio: ["ignore", "pipe", "ignore"]
        })
      ),
      (child) => Effect.sync(() => process.kill(-child.pid!, "SIGKILL"))
    )
    yield* Effect.async<void>((resume) => void child.stdout!.once("data", () => resume(Effect.void)))
    assert.strictEqual(fs.statSync(join(place, "effect-rhapsody")).uid, stranger)
  })

fault(
  "another user swaps what is in the temporary directory for links to files of the victim",
  isRoot
    ? both(caught, "nothing of the victim's is overwritten, and all output is there", (launcher) =>
        Effect.gen(function* () {
          const place = yield* shared
          const victim = join(yield* directory, "victim")
          fs.writeFileSync(victim, "precious")
          yield* attacker(place, victim)
          const script = "printf 123456; sleep 0.02; printf 7; printf abcdef >&2"
          const run = (capture: Task.Capture) => ExecutionBackend.execute(sh(script, { capture }))
          const spilled = yield* Effect.replicateEffect(run({ limit: 5, overflow: "spill" }), 20)
          for (const { stderrPath, stdoutPath } of spilled) {
            const place = fs.statSync(dirname(stdoutPath!))
            assert.deepStrictEqual([place.mode & 0o777, place.uid], [0o700, process.getuid!()])
            assert.strictEqual(fs.lstatSync(stdoutPath!).mode, 0o100600)
            assert.deepStrictEqual(
              [stdoutPath, stderrPath].map((file) => fs.readFileSync(file!, "utf8")),
              ["1234567", "abcdef"]
            )
          }
          const little = yield* Effect.replicateEffect(run({ overflow: "spill" }), 5)
          const merged = yield* Effect.replicateEffect(run({ mergeStderr: true }), 5)
          for (const { stdout } of little) assert.strictEqual(stdout, "1234567")
          for (const { stdout } of merged) assert.strictEqual(stdout, "1234567abcdef")
          assert.strictEqual(fs.readFileSync(victim, "utf8"), "precious")
        }).pipe(over(launcher, { maxWorkers: 4 }))
      )
    : both(caught, "NOT TESTED: only root can be attacked by another user here", () => Effect.void)
)

const Text = Task.executable("Text", {
  success: Schema.String,
  command: () => ({ executable: "sh", args: ["-c", "echo out; echo err >&2"] })
})

fault(
  "paths that mean something else in each process",
  both(caught, "are refused by their field, by whatever way they lead there", (launcher) =>
    Effect.gen(function* () {
      const cwd = yield* directory
      fs.symlinkSync("/dev/stdout", join(cwd, "link"))
      fs.symlinkSync("link", join(cwd, "link-to-link"))
      fs.symlinkSync("/proc/self", join(cwd, "self"))
      fs.symlinkSync("/dev", join(cwd, "devices"))
      const up = "../".repeat(cwd.split("/").length - 1)
      const files = [
        "/dev/stdin",
        "/dev/stdout",
        "/dev/fd/0",
        "/proc/self/fd/1",
        "/proc/thread-self/fd/1",
        "/dev/tty",
        "/dev//./fd/../fd/1",
        `${up}dev/stderr`,
        "link",
        "link-to-link",
        "self/fd/1",
        "devices/stdout"
      ]
      for (const file of files) {
        for (const [field, task] of [
          [
            "stdin.file",
            Task.executable("In", { command: () => ({ executable: "cat", stdin: { file } }) }).make(undefined, { cwd })
          ],
          ["capture.stdout", Text.make(undefined, { cwd, capture: { stdout: file } })],
          ["capture.stderr", Text.make(undefined, { cwd, capture: { stderr: file } })]
        ] as const) {
          const error = yield* refusal(task)
          assert.deepStrictEqual([error.reason, error.configKey], ["InvalidOption", field], file)
          assert.include(error.message, "means something else in each process")
        }
      }
      assert.strictEqual((yield* refusal(sh("true", { cwd: "/proc/self/cwd" }))).configKey, "cwd")
      // what looks alike and is the same everywhere
      fs.mkdirSync(join(cwd, "dev"))
      for (const stdout of ["dev/stdout", "/dev/null", `/proc/${process.pid}/cwd/../dev/null`]) {
        const result = yield* Effect.either(
          ExecutionBackend.execute(Text.make(undefined, { cwd, capture: { stdout } }))
        )
        if (result._tag === "Left") assert.notInclude(result.left.message, "something else", stdout)
      }
      assert.strictEqual(fs.readFileSync(join(cwd, "dev/stdout"), "utf8"), "out\n")
    }).pipe(over(launcher, { maxWorkers: 1 }))
  )
)

fault(
  "a link to such a path that comes after the submission",
  both(caught, "fails the launch, and nothing is written to the agent's own output", (launcher) =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const door = yield* gate
      // one slot: the second is accepted before the first makes the link
      const first = yield* ExecutionBackend.submit(sh(`read x < ${door.path}; ln -s /dev/stdout log`, { cwd }))
      const second = yield* ExecutionBackend.submit(Text.make(undefined, { cwd, capture: { stdout: "log" } }))
      yield* door.open()
      yield* Fiber.join(first)
      const error = failureOf(yield* Fiber.await(second)) as TaskError
      assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "EINVAL"])
      assert.strictEqual(error.details["path"], join(cwd, "log"))
      assert.strictEqual((yield* ExecutionBackend.execute(sh("echo on"))).stdout, "on\n")
    }).pipe(over(launcher, { maxWorkers: 1 }))
  )
)

fault(
  "a temporary directory where nothing of the name that was predictable may be",
  both(caught, "files of the library have other names", (launcher) =>
    Effect.gen(function* () {
      const place = yield* shared
      for (let serial = 1; serial < 100; serial++) {
        fs.writeFileSync(join(place, `effect-rhapsody-${process.pid}-${serial}`), "")
      }
      const { stdout } = yield* ExecutionBackend.execute(sh("echo 1; echo 2 >&2", { capture: { mergeStderr: true } }))
      assert.strictEqual(stdout, "1\n2\n")
    }).pipe(over(launcher, { maxWorkers: 1 }))
  )
)
