import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, ParseResult, Schema } from "effect"
import { Backend, ConcurrentBackend, Driver, ExecutionBackend, Task, TaskDictionary } from "effect-rhapsody"

/** Answers with what the driver was given; takes settings of its own. */
const settings = Task.settings("recorder", Schema.Struct({ queue: Schema.String }))
const Recorder = Backend.layer({
  type: "recorder",
  kinds: ["executable", "python"],
  concurrency: 1,
  honours: Driver.everyOption,
  settings,
  run: ({ name, payload, priority, work, resources, settings, uid }) => {
    if (work._tag !== "executable") {
      return Effect.succeed(Driver.Outcome.success({ uid, name, program: work, payload }))
    }
    const { args, cwd, env, executable } = work
    const stdout = JSON.stringify({ uid, name, executable, args, env, cwd, priority, resources, settings })
    return Effect.succeed(Driver.Outcome.exited({ exitCode: 0, stdout }))
  }
})
const run = (dictionary: TaskDictionary.TaskDict) =>
  TaskDictionary.decode(dictionary).pipe(Effect.flatMap(ExecutionBackend.execute), Effect.provide(Recorder))
const ran = (dictionary: TaskDictionary.TaskDict) => Effect.map(run(dictionary), (text) => JSON.parse(String(text)))

describe("a dictionary", () => {
  it.effect("of a program gives its standard output as text", () =>
    Effect.gen(function* () {
      const tasks = yield* TaskDictionary.decodeAll([
        { uid: "task_001", executable: "echo", arguments: ["Hello", "a b; echo INJECTED"] },
        { uid: "task_002", executable: "sh", arguments: ["-c", "echo $A-$B; pwd"], env: { A: "1", B: "2" }, cwd: "/" }
      ])
      const results = yield* Effect.forEach(tasks, ExecutionBackend.execute)
      assert.deepStrictEqual(results, ["Hello a b; echo INJECTED\n", "1-2\n/\n"])
    }).pipe(Effect.provide(ConcurrentBackend.layer()))
  )

  it.effect("of a program says all of it to the driver", () =>
    Effect.gen(function* () {
      const given = yield* ran({
        uid: "t1",
        executable: "/opt/bin/simulate",
        arguments: ["--seed", "7"],
        env: { OMP_NUM_THREADS: "4" },
        cwd: "/tmp",
        priority: 3,
        resources: { cores: 4, gpus: 1, memory: 1e9, ranks: 2, nodes: 1 },
        task_backend_specific_kwargs: { recorder: { queue: "debug" }, shell: false }
      })
      assert.deepStrictEqual(given, {
        uid: "t1",
        name: "simulate",
        executable: "/opt/bin/simulate",
        args: ["--seed", "7"],
        env: { OMP_NUM_THREADS: "4" },
        cwd: "/tmp",
        priority: 3,
        resources: { cores: 4, gpus: 1, memory: 1e9, ranks: 2, nodes: 1 },
        settings: { queue: "debug" }
      })
    })
  )

  it.effect(
    "of a program says how it is surrounded: lines before it, a directory of its own, what is kept of its output",
    () =>
      Effect.gen(function* () {
        const files = { append: true, makeDirectories: true }
        const capture = {
          stdout: "log",
          mergeStderr: true,
          limit: 10,
          overflow: "truncate",
          stderr: null,
          ...files
        } as const
        const { options } = yield* TaskDictionary.decode({
          executable: "a",
          pre_exec: ["module load gromacs"],
          sandbox: true,
          capture
        })
        assert.deepStrictEqual(options, {
          preExec: ["module load gromacs"],
          sandbox: true,
          capture: { stdout: "log", mergeStderr: true, limit: 10, overflow: "truncate", ...files }
        })
        const own = yield* TaskDictionary.decode({
          executable: "a",
          task_backend_specific_kwargs: { pre_exec: ["true"] }
        })
        assert.deepStrictEqual(own.options, { preExec: ["true"] })
      })
  )

  it.effect("that holds a program needs no more than a backend of programs; one that holds none is refused there", () =>
    Effect.gen(function* () {
      const programs = JSON.parse('[{ "executable": "echo", "arguments": ["a"] }]')
      const [task] = yield* TaskDictionary.decodePrograms(programs)
      assert.strictEqual(yield* ExecutionBackend.execute(task!), "a\n")
      const error = yield* Effect.flip(TaskDictionary.decodePrograms([...programs, { function: "os:getpid" }]))
      assert.deepInclude(error, { reason: "UnsupportedKind", configKey: "[1].function" })
      const wrong = yield* Effect.flip(TaskDictionary.decodePrograms([{ executable: "" }]))
      assert.strictEqual(wrong.configKey, "[0].executable")
    }).pipe(Effect.provide(ConcurrentBackend.layer()))
  )

  it.effect("as RHAPSODY's documentation writes it runs, or is refused with the key that is meant", () =>
    Effect.gen(function* () {
      const written = { executable: "/bin/echo", args: ["Hello World"], is_service: false }
      const error = yield* Effect.flip(TaskDictionary.decode(written))
      assert.strictEqual(error.configKey, "args")
      assert.include(error.message, "for a program, write arguments")
      const { args, ...rest } = written
      const task = yield* TaskDictionary.decodePrograms([{ ...rest, arguments: args }])
      assert.strictEqual(yield* ExecutionBackend.execute(task[0]!), "Hello World\n")
      // what its task objects write out after a run
      const results = { state: null, stdout: null, stderr: null, exit_code: null, return_value: null, exception: null }
      yield* TaskDictionary.decode({ ...results, response: null, uid: "test_task", executable: "echo" })
    }).pipe(Effect.provide(ConcurrentBackend.layer()))
  )

  it.effect("of a Python function gives it args and kwargs", () =>
    Effect.gen(function* () {
      const value = yield* run({ uid: "p", function: "pkg.stats:Fit.mean", args: [[1, 2]], kwargs: { axis: 0 } })
      assert.deepStrictEqual(value, {
        uid: "p",
        name: "pkg.stats:Fit.mean",
        program: { _tag: "python", callable: "pkg.stats:Fit.mean", call: "both" },
        payload: { args: [[1, 2]], kwargs: { axis: 0 } }
      })
      const bare: any = yield* run({ function: "os:getpid" })
      assert.deepStrictEqual(bare.payload, { args: [], kwargs: {} })
    })
  )

  it.effect("has times in seconds, or as text", () =>
    Effect.gen(function* () {
      const timeout = (timeout: number | string) =>
        Effect.map(TaskDictionary.decode({ executable: "a", timeout, resources: { walltime: timeout } }), (task) => {
          const { resources, timeout } = task.options
          assert.deepStrictEqual(resources?.walltime, timeout)
          return Duration.toMillis(timeout!)
        })
      assert.strictEqual(yield* timeout(30), 30_000)
      assert.strictEqual(yield* timeout(0.5), 500)
      assert.strictEqual(yield* timeout("2 minutes"), 120_000)
    })
  )

  it.effect("is retried as often as retry_count says", () =>
    Effect.gen(function* () {
      const { options } = yield* TaskDictionary.decode({ executable: "a", retry_count: 2 })
      assert.deepStrictEqual(options, { retry: { times: 2 } })
    })
  )

  it.effect("may have None, and what the original writes out as empty", () =>
    Effect.gen(function* () {
      const task = yield* TaskDictionary.decode({
        uid: null,
        executable: "echo",
        arguments: [],
        function: null,
        args: [],
        kwargs: {},
        env: null,
        cwd: null,
        timeout: null,
        priority: null,
        retry_count: null,
        resources: null,
        task_backend_specific_kwargs: {},
        backend: null,
        input_files: [],
        output_files: null,
        capture_stdio: false,
        is_service: false,
        prompt: null
      })
      assert.deepStrictEqual(task.options, {})
    })
  )

  it.effect("may have cwd and env among the kwargs of its backend, as in the original", () =>
    Effect.gen(function* () {
      const own = { cwd: "/tmp", env: { A: "1" } }
      const given = yield* ran({ executable: "a", env: {}, task_backend_specific_kwargs: own })
      assert.deepInclude(given, { cwd: "/tmp", env: { A: "1" } })
    })
  )

  it.effect("with settings for one backend is refused by another", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        ran({ executable: "a", task_backend_specific_kwargs: { dask: { priority: 5 } } })
      )
      assert.deepInclude(error, { _tag: "ConfigurationError", reason: "WrongSettings", configKey: "settings" })
    })
  )
})

const wrong: Record<string, readonly [dictionary: unknown, key: string | undefined, reason: string, message: string]> =
  {
    neither: [{ uid: "t" }, "executable", "InvalidPayload", "requires either executable or function"],
    both: [{ executable: "a", function: "a:b" }, "function", "InvalidPayload", "cannot have both"],
    "an empty program": [{ executable: "" }, "executable", "InvalidPayload", "not an empty string"],
    "a number as argument": [
      { executable: "a", arguments: ["x", 5] },
      "arguments[1]",
      "InvalidPayload",
      "a string, not 5"
    ],
    "arguments that are text": [{ executable: "a", arguments: "x" }, "arguments", "InvalidPayload", "must be a list"],
    "args of a program": [{ executable: "a", args: [1] }, "args", "InvalidPayload", "write arguments"],
    "arguments of a function": [
      { function: "a:b", arguments: ["x"] },
      "arguments",
      "InvalidPayload",
      "is for programs"
    ],
    "env of a function": [{ function: "a:b", env: { A: "1" } }, "env", "InvalidOption", "is for programs"],
    "a function that is code": [{ function: () => 1 }, "function", "InvalidPayload", "not a function"],
    "a function without module": [{ function: "mean" }, "function", "InvalidPayload", "package.module:callable"],
    "a function that is a path": [
      { function: "/a/b.py:mean" },
      "function",
      "InvalidPayload",
      "package.module:callable"
    ],
    "args that are no list": [{ function: "a:b", args: { 0: 1 } }, "args", "InvalidPayload", "must be a list"],
    "kwargs that are no dictionary": [{ function: "a:b", kwargs: [1] }, "kwargs", "InvalidPayload", "a dictionary"],
    "an unknown key": [
      { executable: "a", argumnets: [] },
      "argumnets",
      "InvalidOption",
      "is no key of a task; known: uid"
    ],
    "a key of RADICAL-Pilot's": [
      { executable: "a", cores_per_rank: 2 },
      "cores_per_rank",
      "InvalidOption",
      "is no key of a task; write resources: { cores }"
    ],
    "a key of our own options": [{ executable: "a", preExec: ["x"] }, "preExec", "InvalidOption", "write pre_exec"],
    "a dependency": [{ executable: "a", depends_on: ["b"] }, "depends_on", "InvalidOption", "no dependencies"],
    "a result": [{ executable: "a", exit_code: 0 }, "exit_code", "InvalidOption", "is a result"],
    "a file for its output": [
      { executable: "a", stdout: "log" },
      "stdout",
      "InvalidOption",
      'capture: { stdout: "path" }'
    ],
    "lines of a function": [{ function: "a:b", pre_exec: ["x"] }, "pre_exec", "InvalidOption", "is for programs"],
    "a sandbox that is a path": [{ executable: "a", sandbox: "/tmp" }, "sandbox", "InvalidOption", "true or false"],
    "an output file that is added to by a text": [
      { executable: "a", capture: { append: "yes" } },
      "capture.append",
      "InvalidOption",
      "must be true or false, not a string"
    ],
    "directories that are made by a number": [
      { executable: "a", capture: { makeDirectories: 1 } },
      "capture.makeDirectories",
      "InvalidOption",
      "must be true or false, not 1"
    ],
    "an unknown overflow": [
      { executable: "a", capture: { overflow: "drop" } },
      "capture.overflow",
      "InvalidOption",
      '"fail", "truncate" or "spill"'
    ],
    "an empty uid": [{ uid: "", executable: "a" }, "uid", "InvalidOption", "non-empty string"],
    "a uid that is a number": [{ uid: 7, executable: "a" }, "uid", "InvalidOption", "non-empty string, not 7"],
    "a variable that is a number": [{ executable: "a", env: { N: 4 } }, "env.N", "InvalidOption", "a string, not 4"],
    "a timeout of 0": [{ executable: "a", timeout: 0 }, "timeout", "InvalidOption", "positive seconds"],
    "a timeout that is no time": [{ executable: "a", timeout: "soon" }, "timeout", "InvalidOption", "positive seconds"],
    "a priority that is no number": [
      { executable: "a", priority: "high" },
      "priority",
      "InvalidOption",
      "not a string"
    ],
    "half a retry": [{ executable: "a", retry_count: 0.5 }, "retry_count", "InvalidOption", "0 or more, not 0.5"],
    "an unknown resource": [{ executable: "a", resources: { gpu: 1 } }, "resources.gpu", "InvalidOption", "gpus"],
    "memory as text": [{ executable: "a", resources: { memory: "4G" } }, "resources.memory", "InvalidOption", "number"],
    "a backend": [{ executable: "a", backend: "dask" }, "backend", "InvalidOption", "BackendRegistry.layer"],
    "a service": [{ executable: "a", is_service: true }, "is_service", "InvalidOption", "Task.service"],
    "files to stage": [{ executable: "a", input_files: ["x"] }, "input_files", "InvalidOption", "stages no files"],
    "a prompt": [{ prompt: "Hello" }, "prompt", "InvalidOption", "no AI tasks"],
    text: ["echo", undefined, "NotATask", "must be a dictionary"],
    nothing: [undefined, undefined, "NotATask", "must be a dictionary"]
  }

const kwargs = (task_backend_specific_kwargs: unknown, more: object = { executable: "a" }) => ({
  ...more,
  task_backend_specific_kwargs
})
const wrongKwargs: typeof wrong = {
  "a shell": [kwargs({ shell: true }), "shell", "InvalidOption", '{ executable: "sh", arguments: ["-c"'],
  "what names no backend": [kwargs({ queue: 2 }), "queue", "InvalidOption", "{ dask: { queue: ... } }"],
  "what is a resource": [kwargs({ ranks: 2 }), "ranks", "InvalidOption", "resources: { ranks }"],
  "lines given twice": [
    kwargs({ pre_exec: ["a"] }, { executable: "a", pre_exec: ["b"] }),
    "pre_exec",
    "InvalidOption",
    "given twice"
  ],
  "two backends": [kwargs({ dask: {}, slurm: {} }), "slurm", "InvalidOption", "this one has those of dask"],
  "a cwd given twice": [kwargs({ cwd: "/" }, { executable: "a", cwd: "/" }), "cwd", "InvalidOption", "given twice"],
  "a cwd of a function": [kwargs({ cwd: "/" }, { function: "a:b" }), "cwd", "InvalidOption", "is for programs"],
  "a variable that is a number": [kwargs({ env: { N: 4 } }), "env.N", "InvalidOption", "a string, not 4"]
}

describe("is refused, the key named:", () => {
  const test = (what: string, dictionary: unknown, configKey: string | undefined, reason: string, message: string) =>
    it.effect(what, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(TaskDictionary.decode(dictionary))
        assert.deepStrictEqual(
          [error._tag, error.configKey, error.reason as string],
          ["ConfigurationError", configKey, reason]
        )
        assert.include(error.message, message)
      })
    )
  for (const [what, [dictionary, key, reason, message]] of Object.entries(wrong)) {
    test(what, dictionary, key, reason, message)
  }
  for (const [what, [dictionary, key, reason, message]] of Object.entries(wrongKwargs)) {
    test(`of the backend's, ${what}`, dictionary, `task_backend_specific_kwargs.${key}`, reason, message)
  }

  const good = { executable: "a" }
  it.effect("in a list, with the index", () =>
    Effect.gen(function* () {
      const key = (list: unknown) =>
        Effect.map(Effect.flip(TaskDictionary.decodeAll(list)), (_) => [_.configKey, _.reason])
      assert.deepStrictEqual(yield* key([good, { executable: "b", arguments: [1] }]), [
        "[1].arguments[0]",
        "InvalidPayload"
      ])
      assert.deepStrictEqual(yield* key([good, good, { executble: "b" }]), ["[2].executble", "InvalidOption"])
      assert.deepStrictEqual(yield* key([{ uid: "x" }]), ["[0].executable", "InvalidPayload"])
      assert.deepStrictEqual(yield* key([good, 7]), ["[1]", "NotATask"])
      assert.deepStrictEqual(yield* key(good), [undefined, "NotATask"])
      assert.deepStrictEqual(yield* TaskDictionary.decodeAll([]), [])
    })
  )

  it.effect("without its secrets", () =>
    Effect.gen(function* () {
      const secret = "hunter2"
      const holders: ReadonlyArray<unknown> = [
        { executable: "a", env: secret },
        { executable: "a", env: { TOKEN: [secret] } },
        { executable: "a", arguments: secret },
        { executable: "a", args: [secret] },
        { function: "a:b", env: { TOKEN: secret } },
        kwargs({ token: secret }),
        { executable: "a", token: secret },
        [secret],
        secret
      ]
      for (const holder of holders) {
        const error = yield* Effect.flip(TaskDictionary.decode(holder))
        assert.notInclude(inspect(error, { depth: 9 }) + JSON.stringify(error) + error.message, secret)
      }
    })
  )
})

describe("the schema", () => {
  it.effect("is a part of others, and names the path", () =>
    Effect.gen(function* () {
      const Campaign = Schema.parseJson(Schema.Struct({ name: Schema.String, tasks: TaskDictionary.TaskList }))
      const { tasks } = yield* Schema.decode(Campaign)('{ "name": "c", "tasks": [{ "executable": "echo" }] }')
      assert.isTrue(Task.isInstance(tasks[0]))
      const error = yield* Effect.flip(Schema.decode(Campaign)('{ "name": "c", "tasks": [{ "executble": "echo" }] }'))
      const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
      assert.deepStrictEqual(issue?.path, ["tasks", 0, "executble"])
    })
  )

  it.effect("writes what it read, as it was, and no other task", () =>
    Effect.gen(function* () {
      const dictionary = { uid: "t", executable: "echo", arguments: ["x"], env: null, timeout: 30 }
      const task = yield* Schema.decodeUnknown(TaskDictionary.TaskDictionary)(dictionary)
      assert.deepStrictEqual(yield* Schema.encode(TaskDictionary.TaskDictionary)(task), dictionary)
      const Other = Task.executable("Other", { command: () => ({ executable: "echo" }) })
      const error = yield* Effect.flip(Schema.encode(TaskDictionary.TaskDictionary)(Other.make()))
      assert.include(error.message, "was not made from a dictionary")
    })
  )

  it("gives tasks that ask for a backend of both kinds", () => {
    type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
    const same: Equal<
      TaskDictionary.Instance,
      Task.Instance<unknown, never, ExecutionBackend.ExecutionBackend<"executable" | "python">>
    > = true
    assert.isTrue(same)
  })
})
