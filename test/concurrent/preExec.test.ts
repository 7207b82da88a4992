/** What is set up before a program: lines for bash, and a directory of its own. */
import * as fs from "node:fs"
import { basename, join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Schedule } from "effect"
import { ConcurrentBackend, ExecutionBackend, Task } from "effect-rhapsody"
import { idle, nothingLeft, statesOf } from "../support.js"
import { command, directory, inbox, marked, notUtf8, overBoth, program, refusal, sh, taskError } from "./support.js"

const stdoutOf = <E, R>(task: Task.Instance<Task.Output, E, R>) =>
  Effect.map(ExecutionBackend.execute(task), (output) => output.stdout)

overBoth("lines for bash", ({ launcher, provide }) => {
  const backend = provide({ maxWorkers: 1 })

  it.scopedLive("run before the program, in one shell, and leave it their environment and directory", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      fs.mkdirSync(join(cwd, "below"))
      fs.writeFileSync(join(cwd, "activate"), "export SOURCED='from a file'\nfunction module() { export $1=loaded; }\n")
      const preExec = [
        "source ./activate",
        "module NAME",
        "local_one=1",
        "cd below",
        "export COPIED=$local_one",
        "unset GONE"
      ]
      const script = `echo "$SOURCED, $NAME, $COPIED, \${GONE-none}, \${local_one-none}, \${rhapsody_status-none}"; pwd -P`
      const output = yield* stdoutOf(sh(script, { cwd, preExec, env: { GONE: "there" } }))
      assert.strictEqual(output, `from a file, loaded, 1, none, none, none\n${join(cwd, "below")}\n`)
    }).pipe(backend)
  )

  it.scopedLive("change nothing of the program's arguments, its input and its end", () =>
    Effect.gen(function* () {
      const preExec = ["export X=1"]
      const args = ["", "a b", "$HOME", "`id`", "'", '"', "*", "-n", "--", "line\nbreak", "ü"]
      const printed = yield* stdoutOf(command({ executable: "printf", args: ["%s\\0", ...args] }, { preExec }))
      assert.deepStrictEqual(printed.split("\0").slice(0, -1), args)
      const input = yield* ExecutionBackend.execute(command({ executable: "cat", stdin: notUtf8 }, { preExec }))
      assert.deepStrictEqual(Buffer.from(input.stdoutBytes), Buffer.from(notUtf8))
      const path = yield* program(join(yield* directory, "-a ; b"), "echo $0")
      assert.strictEqual(yield* stdoutOf(command({ executable: path }, { preExec })), `${path}\n`)
      assert.strictEqual((yield* taskError(sh("exit 77", { preExec }))).exitCode, 77)
      assert.strictEqual((yield* taskError(sh("kill -9 $$", { preExec }))).signal, "SIGKILL")
      if (launcher === "agent") {
        const bytes = command({ executable: "printf", args: [notUtf8] }, { preExec })
        assert.deepStrictEqual(Buffer.from((yield* ExecutionBackend.execute(bytes)).stdoutBytes), Buffer.from(notUtf8))
      }
    }).pipe(backend)
  )

  it.scopedLive("say with the PATH they leave which program is meant", () =>
    Effect.gen(function* () {
      const bin = yield* directory
      yield* program(join(bin, "gromacs"), "echo this one")
      const preExec = [`PATH=${bin}:$PATH`]
      assert.strictEqual(yield* stdoutOf(command({ executable: "gromacs" }, { preExec })), "this one\n")
      // it is the shell that finds no program then
      const missing = yield* taskError(command({ executable: "no-such-program" }, { preExec }))
      assert.deepStrictEqual([missing.reason, missing.details["errno"]], ["LaunchFailed", "ENOENT"])
      assert.include(missing.message, "no-such-program: the shell does not find it after the lines of preExec")
      const text = join(bin, "text")
      fs.writeFileSync(text, "")
      const refused = yield* taskError(command({ executable: text }, { preExec }))
      assert.deepStrictEqual([refused.reason, refused.details["errno"]], ["LaunchFailed", "EACCES"])
      assert.include(refused.message, `${text}: the shell cannot execute it; make it executable`)
    }).pipe(backend)
  )

  it.scopedLive("end with the first that fails, by its number and with its code", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      const fails = (preExec: ReadonlyArray<string>) => taskError(sh("touch ran", { cwd, preExec }))
      const error = yield* fails(["true", "echo no such module >&2; (exit 3)", "touch later"])
      assert.deepStrictEqual([error.reason, error.exitCode], ["LaunchFailed", 3])
      assert.match(error.message, /could not be started: preExec\[1\] failed with code 3\n/)
      assert.match(error.message, /its stderr ends with:\nno such module$/)
      assert.strictEqual(error.details["preExec"], 1)
      for (const [preExec, exitCode] of [
        [["false # true"], 1],
        [["true", "false \\"], 1],
        [["return"], 2],
        [["no-such-command"], 127],
        [["source ./not-there"], 1],
        [["exit 9"], 9],
        [["set -e", "false"], 1],
        [["echo 'unfinished"], 2],
        [["if true; then"], 2],
        [["set -u", "echo $not_there"], 127]
      ] as const) {
        assert.strictEqual((yield* fails(preExec)).exitCode, exitCode, preExec.join("; "))
      }
      assert.deepStrictEqual(fs.readdirSync(cwd), [])
    }).pipe(backend)
  )

  it.scopedLive("that end the shell, or keep it from the program, are an error, whatever their code means", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      fs.writeFileSync(join(cwd, "exits"), "exit 0\n")
      for (const line of [
        "exit 0",
        "exit",
        "set -n",
        "exec true",
        "exec sh -c 'exit 0'",
        "source ./exits",
        "trap 'exit 0' DEBUG",
        "shopt -s extdebug; trap false DEBUG",
        "builtin() { :; }"
      ]) {
        const error = yield* taskError(sh("touch ran", { cwd, preExec: ["true", line] }))
        assert.deepStrictEqual([error.reason, error.exitCode, error.details["preExec"]], ["LaunchFailed", 0, 1], line)
        assert.include(error.message, "preExec[1] ended the shell with code 0 before the program", line)
      }
      // a code that is a success of the program is none of a line
      const Three = Task.executable("Three", { exitCodes: [0, 3], command: () => ({ executable: "true" }) })
      assert.strictEqual((yield* taskError(Three.make(undefined, { preExec: ["exit 3"] }))).reason, "LaunchFailed")
      const killed = yield* taskError(sh("touch ran", { cwd, preExec: ["true", "true", "kill -9 $$"] }))
      assert.deepStrictEqual([killed.reason, killed.signal, killed.details["preExec"]], ["LaunchFailed", "SIGKILL", 2])
      assert.deepStrictEqual(fs.readdirSync(cwd), ["exits"])
    }).pipe(backend)
  )

  it.scopedLive("that change the shell change nothing of how the program starts", () =>
    Effect.gen(function* () {
      const cwd = yield* directory
      fs.writeFileSync(join(cwd, "arguments"), `echo "$# of them: $@" >> seen; set -- of its own\n`)
      const script = `echo "$0 ran"; env | grep rhapsody_; ls /proc/self/fd | wc -l`
      const expected = yield* stdoutOf(sh(script, { cwd }))
      assert.match(expected, /^sh ran\n\d\n$/)
      for (const line of [
        "cat > /dev/null <<END\nan open one",
        "source ./arguments",
        "set -- lost",
        "shift || true",
        "exec() { :; }; unset() { :; }; echo() { :; }; eval() { :; }; exit() { :; }; printf() { :; }; set() { :; }",
        "exec() { :; }; printf() { :; }; export -f exec printf",
        "shopt -s expand_aliases; alias exec=true builtin=true printf=true",
        "trap 'echo the end' EXIT; trap 'echo an error' ERR",
        "break",
        "IFS=abc/",
        "set -euf -o pipefail",
        "set -o posix; set -k; set -C",
        "exec 3>&- 9>&-",
        "set -a; PS4=x",
        "ulimit -n 64"
      ]) {
        const output = yield* stdoutOf(sh(script, { cwd, preExec: ["true", line, "true"] }))
        assert.strictEqual(output, expected, line)
      }
      assert.strictEqual(fs.readFileSync(join(cwd, "seen"), "utf8"), "0 of them: \n")
    }).pipe(backend)
  )

  it.scopedLive("read nothing of the program's input, and do not change it", () =>
    Effect.gen(function* () {
      const path = join(yield* directory, "in")
      fs.writeFileSync(path, "from a file\n")
      const preExec = ["read -r line || line=nothing", "export SEEN=$line; cat; exec < /dev/null"]
      const read = (stdin: unknown) =>
        stdoutOf(command({ executable: "sh", args: ["-c", "echo $SEEN; cat"], stdin }, { preExec }))
      assert.strictEqual(yield* read("the input\n"), "nothing\nthe input\n")
      assert.strictEqual(yield* read({ file: path }), "nothing\nfrom a file\n")
      assert.strictEqual(yield* read(undefined), "nothing\n")
    }).pipe(backend)
  )

  it.scopedLive("that leave something running do not hold the task up", () =>
    Effect.gen(function* () {
      const { alive, env } = yield* marked
      const daemon = "(while :; do sleep 1000; done) > /dev/null 2>&1 &"
      assert.strictEqual(yield* stdoutOf(sh("echo ran", { env, preExec: [daemon] })), "ran\n")
      assert.deepStrictEqual(yield* alive, [])
      const detached = sh("echo ran", { env, preExec: [daemon], orphans: "detach" })
      assert.strictEqual(yield* stdoutOf(detached), "ran\n")
      assert.isNotEmpty(yield* alive)
    }).pipe(backend)
  )

  it.live("may be none, comments, or of several lines", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* stdoutOf(sh("echo a", { preExec: [] })), "a\n")
      const preExec = [
        "# a comment",
        "",
        "for i in 1 2; do\n  export X=$X$i\ndone",
        "cat <<END\nhere $X\nEND",
        "true \\"
      ]
      assert.strictEqual(yield* stdoutOf(sh("echo $X", { preExec })), "here 12\n12\n")
    }).pipe(backend)
  )

  it.live("of an instance take the place of its definition's", () =>
    Effect.gen(function* () {
      const Prepared = Task.executable("Prepared", {
        preExec: ["export X=definition"],
        command: () => ({ executable: "sh", args: ["-c", "echo $X"] })
      })
      assert.strictEqual(yield* ExecutionBackend.execute(Prepared.make()), "definition\n")
      const own = Prepared.make(undefined, { preExec: ["export X=instance"] })
      assert.strictEqual(yield* ExecutionBackend.execute(own), "instance\n")
    }).pipe(backend)
  )

  it.scopedLive("need a bash in the task's PATH", () =>
    Effect.gen(function* () {
      const error = yield* taskError(
        command({ executable: "/bin/true" }, { preExec: ["true"], env: { PATH: yield* directory } })
      )
      assert.deepStrictEqual(
        [error.reason, error.details["errno"], error.details["path"]],
        ["LaunchFailed", "ENOENT", "bash"]
      )
    }).pipe(backend)
  )

  it.scopedLive("are stopped with the task", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, take }] = [yield* marked, yield* inbox]
      const preExec = [`sleep 1000 & echo ready > ${path}`, "sleep 1000"]
      const fiber = yield* ExecutionBackend.submit(sh("true", { env, preExec }))
      assert.strictEqual(yield* take, "ready")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* alive, [])
      assert.deepStrictEqual(yield* idle, nothingLeft)
    }).pipe(backend)
  )
})

overBoth("a sandbox", ({ options, provide }) => {
  /** A backend whose sandboxes are in a directory of the test's own. */
  const within = <A, E>(
    use: (sandboxes: string) => Effect.Effect<A, E, ExecutionBackend.ExecutionBackend<"executable">>
  ) =>
    Effect.flatMap(directory, (root) =>
      Effect.provide(use(join(root, "a/b")), ConcurrentBackend.layer({ ...options, sandboxRoot: join(root, "a/b") }))
    )
  /** Where one backend instance makes the sandboxes of its tasks. */
  const instance = (sandboxes: string) => {
    const [own, ...others] = fs.readdirSync(sandboxes).filter((name) => name.startsWith("run."))
    assert.deepStrictEqual(others, [])
    return join(sandboxes, own!)
  }

  it.scopedLive("is made for the task, named by its uid, its directory, and kept", () =>
    within((sandboxes) =>
      Effect.gen(function* () {
        const script = `echo "$RHAPSODY_SANDBOX"; pwd -P; echo kept > file`
        const output = yield* ExecutionBackend.execute(sh(script, { uid: "its uid; ü", sandbox: true }))
        const sandbox = join(instance(sandboxes), "its uid; ü")
        assert.strictEqual(output.stdout, `${sandbox}\n${sandbox}\n`)
        assert.strictEqual(output.sandboxPath, sandbox)
        assert.strictEqual(fs.readFileSync(join(sandbox, "file"), "utf8"), "kept\n")
        yield* stdoutOf(sh("true", { uid: "other", sandbox: true }))
        // who does not ask for one has none
        const none = `echo "\${RHAPSODY_SANDBOX-none}"; pwd -P`
        assert.strictEqual(
          yield* stdoutOf(sh(none, { uid: "none", sandbox: false })),
          `none\n${fs.realpathSync(".")}\n`
        )
        assert.strictEqual((yield* ExecutionBackend.execute(sh("true"))).sandboxPath, undefined)
        assert.deepStrictEqual(fs.readdirSync(instance(sandboxes)).sort(), ["its uid; ü", "other"])
      })
    )
  )

  it.scopedLive("is where relative paths start, those of files for output and input, too", () =>
    within((sandboxes) =>
      Effect.gen(function* () {
        fs.mkdirSync(sandboxes, { recursive: true })
        fs.writeFileSync(join(sandboxes, "in"), "input")
        const Copy = Task.executable("Copy", {
          success: Task.Output,
          sandbox: true,
          command: () => ({ executable: "cat", stdin: { file: "../../in" } })
        })
        const output = yield* ExecutionBackend.execute(
          Copy.make(undefined, { uid: "task", capture: { stdout: "out" } })
        )
        assert.strictEqual(output.stdoutPath, join(instance(sandboxes), "task/out"))
        assert.strictEqual(fs.readFileSync(output.stdoutPath!, "utf8"), "input")
      })
    )
  )

  it.scopedLive("is made beside a working directory that the task names, by option or command", () =>
    within((sandboxes) =>
      Effect.gen(function* () {
        const cwd = fs.realpathSync("/")
        const script = `echo "$RHAPSODY_SANDBOX $(pwd)"; touch "$RHAPSODY_SANDBOX/there"`
        const byOption = yield* stdoutOf(sh(script, { uid: "option", sandbox: true, cwd }))
        assert.strictEqual(byOption, `${join(instance(sandboxes), "option")} /\n`)
        const args = ["-c", script]
        const byCommand = command({ executable: "sh", args, cwd }, { uid: "command", sandbox: true })
        assert.strictEqual(yield* stdoutOf(byCommand), `${join(instance(sandboxes), "command")} /\n`)
        assert.isTrue(["option", "command"].every((uid) => fs.existsSync(join(instance(sandboxes), uid, "there"))))
      })
    )
  )

  it.scopedLive("is one for all attempts, and what is spilled is in it", () =>
    within((sandboxes) =>
      Effect.gen(function* () {
        const output = yield* ExecutionBackend.execute(
          sh("echo $RHAPSODY_ATTEMPT >> attempts; cat attempts; test $RHAPSODY_ATTEMPT = 3", {
            uid: "task",
            sandbox: true,
            retry: { times: 5, schedule: Schedule.spaced("1 millis") },
            capture: { limit: 5, overflow: "spill" }
          })
        )
        assert.isTrue(output.stdoutPath!.startsWith(join(instance(sandboxes), "task/")))
        assert.strictEqual(fs.readFileSync(output.stdoutPath!, "utf8"), "1\n2\n3\n")
      })
    )
  )

  it.scopedLive("that cannot be made fails its task, which never was EXECUTING", () =>
    within((sandboxes) =>
      Effect.gen(function* () {
        fs.mkdirSync(join(sandboxes, ".."), { recursive: true })
        fs.writeFileSync(sandboxes, "a file")
        const follow = yield* statesOf
        const error = yield* taskError(sh("true", { uid: "task", sandbox: true }))
        assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "ENOTDIR"])
        const where = String(error.details["path"])
        assert.isTrue(where.startsWith(`${sandboxes}/run.`) && where.endsWith("/task"), where)
        assert.include(error.message, `its sandbox ${where} cannot be made`)
        const changes = yield* follow("task")
        assert.deepStrictEqual(
          changes.map(({ state }) => state),
          ["NEW", "READY", "FAILED"]
        )
      }).pipe(Effect.scoped)
    )
  )

  it.scopedLive("is shared with no other run, at the same time or later, whose tasks have the same uids", () =>
    Effect.gen(function* () {
      const sandboxes = yield* directory
      const run = (content: string) =>
        ExecutionBackend.execute(sh(`echo ${content} >> file; cat file; sleep 0.05`, { sandbox: true })).pipe(
          Effect.provide(ConcurrentBackend.layer({ ...options, sandboxRoot: sandboxes }))
        )
      const outputs = [...(yield* Effect.all([run("a"), run("b")], { concurrency: 2 })), yield* run("c")]
      assert.deepStrictEqual(
        outputs.map(({ stdout }) => stdout),
        ["a\n", "b\n", "c\n"]
      )
      assert.strictEqual(new Set(outputs.map(({ sandboxPath }) => sandboxPath)).size, 3)
    })
  )

  it.scopedLive("is not that of a task of the same uid that the backend no longer knows", () =>
    Effect.gen(function* () {
      const sandboxes = yield* directory
      const task = sh("echo x >> file", { uid: "task", sandbox: true })
      const error = yield* Effect.zipRight(ExecutionBackend.execute(task), taskError(task)).pipe(
        Effect.provide(ConcurrentBackend.layer({ ...options, sandboxRoot: sandboxes, historySize: 0 }))
      )
      assert.deepStrictEqual([error.reason, error.details["errno"]], ["LaunchFailed", "EEXIST"])
      assert.strictEqual(fs.readFileSync(join(instance(sandboxes), "task/file"), "utf8"), "x\n")
    })
  )

  it.scopedLive("can be made for every uid that is accepted: bytes count, and not characters", () =>
    within(() =>
      Effect.gen(function* () {
        for (const uid of ["a".repeat(200), "計".repeat(66), "😀".repeat(50)]) {
          const { sandboxPath } = yield* ExecutionBackend.execute(
            sh("printf 1234", { uid, sandbox: true, capture: { limit: 3, overflow: "spill" } })
          )
          assert.strictEqual(basename(sandboxPath!), uid)
        }
        for (const uid of ["a".repeat(201), "計".repeat(67), "計".repeat(86), "😀".repeat(51)]) {
          const error = yield* refusal(sh("true", { uid }))
          assert.strictEqual(error.configKey, "uid")
          assert.include(error.message, "200 bytes of UTF-8 at most")
        }
      })
    )
  )

  it.scopedLive("is in rhapsody.sandboxes of the current directory where the backend names no other", () =>
    Effect.gen(function* () {
      const here = process.cwd()
      const cwd = yield* directory
      yield* Effect.acquireRelease(
        Effect.sync(() => process.chdir(cwd)),
        () => Effect.sync(() => process.chdir(here))
      )
      const output = yield* stdoutOf(sh("pwd -P", { uid: "task", sandbox: true })).pipe(provide())
      assert.strictEqual(output, `${join(instance(join(cwd, "rhapsody.sandboxes")), "task")}\n`)
    })
  )
})
