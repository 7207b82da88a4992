/** Where and in what environment a program runs, and what is reported when it cannot be started at all. */
import * as fs from "node:fs"
import { join } from "node:path"
import { inspect } from "node:util"
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Redacted, Schedule, Stream } from "effect"
import { ExecutionBackend, Task, TaskFiber } from "effect-rhapsody"
import type { TaskError } from "effect-rhapsody/Errors"
import { idle, nothingLeft, statesOf, waitFor } from "../support.js"
import { command, directory, gate, inbox, overBoth, program, refusal, sh, taskError } from "./support.js"

overBoth("environment", ({ provide }) => {
  const backend = provide({ maxWorkers: 1 })

  beforeAll(() => {
    process.env["TEST_INHERITED"] = "inherited"
    process.env["TEST_REPLACED"] = "inherited"
    process.env["TEST_REMOVED"] = "inherited"
  })
  afterAll(() => {
    for (const name of ["TEST_INHERITED", "TEST_REPLACED", "TEST_REMOVED"]) delete process.env[name]
  })

  it.live("is this process's own, with what the task adds, replaces and removes", () =>
    Effect.gen(function* () {
      const task = sh(`echo "$TEST_INHERITED $TEST_REPLACED \${TEST_REMOVED-none} $TEST_ADDED"`, {
        env: { TEST_REPLACED: "replaced", TEST_REMOVED: undefined, TEST_ADDED: "added" }
      })
      assert.strictEqual((yield* ExecutionBackend.execute(task)).stdout, "inherited replaced none added\n")
      // the process's own is untouched, and the next program's too
      const after = yield* ExecutionBackend.execute(sh(`echo "$TEST_REPLACED $TEST_REMOVED \${TEST_ADDED-none}"`))
      assert.strictEqual(after.stdout, "inherited inherited none\n")
    }).pipe(backend)
  )

  it.live("of an instance wins over its definition's, that over its command's, each variable on its own", () =>
    Effect.gen(function* () {
      const Layers = Task.executable("Layers", {
        env: { B: "definition", C: "definition", D: undefined, F: "definition" },
        command: () => ({
          executable: "sh",
          args: ["-c", `echo "$A $B $C \${D-none} $E \${F-none}"`],
          env: { A: "command", B: "command", C: "command", D: "command" }
        })
      })
      const task = Layers.make(undefined, { env: { C: "instance", E: "instance", F: undefined } })
      assert.strictEqual(yield* ExecutionBackend.execute(task), "command definition instance none instance none\n")
      assert.strictEqual(
        yield* ExecutionBackend.execute(Layers.make()),
        "command definition definition none  definition\n"
      )
    }).pipe(backend)
  )

  it.live("names the task and the attempt", () =>
    Effect.gen(function* () {
      const task = sh(`echo "$RHAPSODY_TASK_UID $RHAPSODY_ATTEMPT"; test "$RHAPSODY_ATTEMPT" = 3`, {
        uid: "an uid; $x",
        retry: { schedule: Schedule.spaced("1 millis"), times: 5 }
      })
      assert.strictEqual((yield* ExecutionBackend.execute(task)).stdout, "an uid; $x 3\n")
    }).pipe(backend)
  )

  it.scopedLive("decides with its PATH which program a name means", () =>
    Effect.gen(function* () {
      const bin = yield* directory
      yield* program(join(bin, "printf"), "echo this one")
      const output = yield* ExecutionBackend.execute(command({ executable: "printf", args: ["x"], env: { PATH: bin } }))
      assert.strictEqual(output.stdout, "this one\n")
      const error = yield* taskError(command({ executable: "true" }, { env: { PATH: bin } }))
      assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "ENOENT"])
    }).pipe(backend)
  )

  it.live("is refused when a redacted value was wiped", () =>
    Effect.gen(function* () {
      const value = Redacted.make("gone")
      Redacted.unsafeWipe(value)
      const error = yield* refusal(command({ executable: "true", env: { X: value } }))
      assert.deepInclude(error, { reason: "InvalidOption", configKey: "env" })
    }).pipe(backend)
  )
})

overBoth("a secret", ({ provide }) => {
  const backend = provide({ maxWorkers: 1 })

  const secret = "correct-horse-battery-staple"
  const env = { SECRET: Redacted.make(secret) }
  const shown = (u: unknown): string =>
    [
      inspect(u, { depth: Infinity, showHidden: true }),
      String(u),
      JSON.stringify(u),
      Cause.isCause(u) ? Cause.pretty(u, { renderErrorCause: true }) : ""
    ].join("\n")

  it.scopedLive("reaches the program, and nothing that can be printed shows it", () =>
    Effect.gen(function* () {
      const file = join(yield* directory, "secret")
      const events = yield* ExecutionBackend.events
      const seen: Array<unknown> = []
      const report = (uid: string, task: Task.Instance<Task.Output, never, any>) =>
        Effect.gen(function* () {
          const fiber = yield* ExecutionBackend.submit(task)
          seen.push(task, fiber)
          const exit = yield* Fiber.await(fiber)
          seen.push(fiber, exit, Exit.isFailure(exit) ? exit.cause : undefined)
          assert.strictEqual(fiber.uid, uid)
          return exit
        })
      const script = `printf %s "$SECRET" > '${file}'; exit 3`
      yield* report("exit", sh(script, { uid: "exit", env }))
      assert.strictEqual(fs.readFileSync(file, "utf8"), secret)
      yield* report("signal", sh("kill -9 $$", { uid: "signal", env }))
      yield* report("launch", command({ executable: "not-there", env }, { uid: "launch" }))
      yield* report("cwd", command({ executable: "true", env }, { uid: "cwd", cwd: "/not/there" }))
      yield* report("timeout", sh("sleep 100", { uid: "timeout", env, timeout: "10 millis" }))
      yield* report("limit", sh("yes", { uid: "limit", env, capture: { limit: 10 } }))
      seen.push(yield* refusal(sh("true", { env: { ...env, OTHER: "\0" } })))
      seen.push(yield* refusal(sh("true", { env: { SECRET: Redacted.make(`${secret}\0`) } })))
      yield* report("last", sh("true", { uid: "last", env }))
      const reported = yield* events.pipe(
        Stream.takeUntil(
          (event) => event._tag === "StateChange" && event.uid === "last" && event.state === "COMPLETED"
        ),
        Stream.runCollect
      )
      seen.push([...reported])
      assert.isAbove(seen.length, 30)
      for (const thing of seen) assert.notInclude(shown(thing), secret)
    }).pipe(backend)
  )
})

overBoth("working directory", ({ provide }) => {
  const backend = provide({ maxWorkers: 1 })

  it.scopedLive("is the task's, over its command's, and its relative paths start there", () =>
    Effect.gen(function* () {
      const [cwd, other] = [yield* directory, yield* directory]
      yield* program(join(cwd, "here"), "pwd -P")
      const run = (task: Task.Instance<Task.Output, never, any>) =>
        Effect.map(ExecutionBackend.execute(task), (output) => output.stdout)
      assert.strictEqual(yield* run(command({ executable: "./here", cwd })), `${cwd}\n`)
      assert.strictEqual(yield* run(command({ executable: "./here", cwd: other }, { cwd })), `${cwd}\n`)
      assert.strictEqual(yield* run(sh("pwd -P")), `${fs.realpathSync(".")}\n`)
    }).pipe(backend)
  )
})

overBoth("a program that cannot be started", ({ provide }) => {
  const backend = provide({ maxWorkers: 1 })

  const failures: Record<
    string,
    readonly [
      make: (directory: string) => Task.Instance<Task.Output, never, any>,
      errno: string,
      path: (directory: string) => string,
      message: RegExp
    ]
  > = {
    "since its working directory is missing": [
      (cwd) => command({ executable: "true" }, { cwd: join(cwd, "missing") }),
      "ENOENT",
      (cwd) => join(cwd, "missing"),
      /working directory .*\/missing:? (does not exist|.*ENOENT)/
    ],
    "since its working directory is a file": [
      (cwd) => command({ executable: "true" }, { cwd: join(cwd, "plain") }),
      "ENOTDIR",
      (cwd) => join(cwd, "plain"),
      /working directory .*\/plain:? (is not a directory|.*ENOTDIR)/
    ],
    "since its working directory is below a file": [
      (cwd) => command({ executable: "true" }, { cwd: join(cwd, "plain/deeper") }),
      "ENOTDIR",
      (cwd) => join(cwd, "plain/deeper"),
      /working directory .*\/plain\/deeper:? (does not exist|.*ENOTDIR)/
    ],
    "since its name is in no directory of PATH": [
      () => command({ executable: "no-such-program" }),
      "ENOENT",
      () => "no-such-program",
      /no-such-program.*ENOENT.*give a path, or a name that is in the task's PATH/
    ],
    "since its path leads nowhere": [
      (cwd) => command({ executable: join(cwd, "missing") }),
      "ENOENT",
      (cwd) => join(cwd, "missing"),
      /ENOENT/
    ],
    "since it is not executable": [
      (cwd) => command({ executable: join(cwd, "plain") }),
      "EACCES",
      (cwd) => join(cwd, "plain"),
      /plain.*EACCES/
    ],
    "since its arguments are longer than the system takes": [
      () => command({ executable: "true", args: ["x".repeat(1 << 22)] }),
      "E2BIG",
      () => "true",
      /E2BIG/
    ],
    "since the file for its output cannot be opened": [
      (cwd) => command({ executable: "true" }, { cwd, capture: { stdout: "no/such/file" } }),
      "ENOENT",
      (cwd) => join(cwd, "no/such/file"),
      /output file .*no\/such\/file cannot be opened/
    ],
    "since the file for its errors is a directory": [
      (cwd) => command({ executable: "true" }, { cwd, capture: { stdout: "out", stderr: "." } }),
      "EISDIR",
      (cwd) => cwd,
      /output file .* cannot be opened/
    ]
  }

  for (const [why, [make, errno, path, message]] of Object.entries(failures)) {
    it.scopedLive(`${why} is a failed launch and was never EXECUTING`, () =>
      Effect.gen(function* () {
        const cwd = yield* directory
        yield* program(join(cwd, "plain"), "", 0o644)
        const follow = yield* statesOf
        const task = make(cwd)
        const error: TaskError = yield* taskError(task)
        assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", errno])
        assert.strictEqual(error.details["path"], path(cwd))
        assert.match(error.message, /^task Command \(.*\) could not be started: /)
        assert.match(error.message, message)
        const changes = yield* follow(error.taskUid)
        assert.deepStrictEqual(
          changes.map(({ state }) => state),
          ["NEW", "READY", "FAILED"]
        )
        assert.strictEqual(changes.at(-1)!.reason, "LaunchFailed")
        // the only slot is free
        yield* ExecutionBackend.execute(sh("true"))
        assert.deepStrictEqual(yield* idle, nothingLeft)
      }).pipe(backend)
    )
  }

  it.live("since its arguments are longer than one message to an agent is a failed launch, too", () =>
    Effect.gen(function* () {
      const megabyte = "x".repeat(1 << 20)
      const error = yield* taskError(command({ executable: "true", args: Array.from({ length: 65 }, () => megabyte) }))
      assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "E2BIG"])
      yield* ExecutionBackend.execute(sh("true"))
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(backend)
  )

  it.scopedLive("is tried again as other failures are", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const path = join(cwd, "later")
      const task = command(
        { executable: path },
        {
          retry: { schedule: Schedule.spaced("1 millis"), while: () => Effect.as(program(path, "echo now"), true) }
        }
      )
      assert.strictEqual((yield* ExecutionBackend.execute(task)).stdout, "now\n")
    }).pipe(backend)
  )
})

overBoth("a program starts", ({ launcher, provide }) => {
  const backend = provide({ maxWorkers: 1 })

  it.scopedLive("and is EXECUTING from then on, in each attempt", () =>
    Effect.gen(function* () {
      const [letters, door] = [yield* inbox, yield* gate]
      const follow = yield* statesOf
      const script = `echo $RHAPSODY_ATTEMPT > ${letters.path}; read x < ${door.path}; test $RHAPSODY_ATTEMPT = 2`
      const retry = { times: 1, schedule: Schedule.spaced("1 millis") }
      const events = yield* ExecutionBackend.events
      const fiber = yield* ExecutionBackend.submit(sh(script, { retry }))
      for (const attempt of [1, 2]) {
        assert.strictEqual(yield* letters.take, `${attempt}`)
        // the launch agent may report it later than the program itself
        assert.strictEqual((yield* waitFor(events, fiber.uid, "EXECUTING")).attempt, attempt)
        assert.strictEqual(yield* TaskFiber.state(fiber), "EXECUTING")
        yield* door.open()
      }
      const changes = yield* follow(fiber.uid)
      assert.deepStrictEqual(
        changes.map(({ attempt, state }) => `${state} ${attempt}`),
        ["NEW 1", "READY 1", "EXECUTING 1", "RETRYING 1", "WAITING 2", "READY 2", "EXECUTING 2", "COMPLETED 2"]
      )
    }).pipe(backend)
  )

  it.scopedLive("with default signals, and with no file of this process open but its own three", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      yield* Effect.acquireRelease(
        Effect.sync(() => fs.openSync(join(cwd, "ours"), "w")),
        (fd) => Effect.sync(() => fs.closeSync(fd))
      )
      // a file that another task's result will be read from
      const Kept = Task.executable("Kept", { command: () => ({ executable: "sleep", args: ["100"] }) })
      yield* ExecutionBackend.submitScoped(Kept.make(undefined, { cwd, capture: { stdout: "kept" } }))
      // its directory is the fourth that ls has open
      const script = `grep -E "^Sig(Blk|Ign)" /proc/self/status >&2; ls /proc/self/fd; ls -l /proc/self/fd`
      const { stderr, stdout } = yield* ExecutionBackend.execute(sh(script))
      assert.include(stdout, "/dev/null")
      assert.notInclude(stdout, cwd)
      // Limit of Node: it passes on what this process itself was given open.
      if (launcher === "agent") assert.match(stdout, /^0\n1\n2\n3\ntotal/)
      // what glibc keeps for itself, the first two real-time signals, is not for programs
      const masks = [...stderr.matchAll(/[0-9a-f]{16}/g)].map(([mask]) => BigInt(`0x${mask}`) & ~0x1_8000_0000n)
      assert.deepStrictEqual(masks, [0n, 0n], stderr)
      // yes gets SIGPIPE when its output is not read any more
      const pipe = yield* ExecutionBackend.execute(sh("yes | head -n 1"))
      assert.strictEqual(pipe.stdout, "y\n")
    }).pipe(provide({ maxWorkers: 2 }))
  )

  // Limit of Node, whose pipes are sockets.
  it.live(launcher === "agent" ? "with pipes that can be opened by name" : "with sockets for pipes", () =>
    Effect.gen(function* () {
      const script = "echo out > /dev/stdout; echo err > /dev/stderr"
      if (launcher === "agent") {
        const { stderr, stdout } = yield* ExecutionBackend.execute(sh(script))
        assert.deepStrictEqual([stdout, stderr], ["out\n", "err\n"])
      } else {
        const { message } = yield* taskError(sh(script))
        assert.match(message, /cannot create \/dev\/stderr: No such device/)
      }
    }).pipe(backend)
  )
})

overBoth("a script without #!", ({ launcher, provide }) => {
  it.scopedLive("is no program to the system", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "script")
      fs.writeFileSync(path, "echo from sh\n", { mode: 0o755 })
      const task = command({ executable: path })
      if (launcher === "node") {
        // a limit: libuv lets the shell run it
        assert.strictEqual((yield* ExecutionBackend.execute(task)).stdout, "from sh\n")
        return
      }
      const error = yield* taskError(task)
      assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "ENOEXEC"])
      assert.match(error.message, /begins with #!/)
    }).pipe(provide())
  )
})
