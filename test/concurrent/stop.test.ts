/** I2 and I5: when the end of a task is reported, its programs are gone, those that will not go included. */
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Option, Scope } from "effect"
import { Backend, ConcurrentBackend, ExecutionBackend } from "effect-rhapsody"
import { TaskError } from "effect-rhapsody/Errors"
import { statesOf } from "../support.js"
import type { Launcher } from "./support.js"
import { directory, eventually, failureOf, gate, inbox, marked, overBoth, quote, sh, taskError } from "./support.js"

// A process that holds the output open is waited for anyway, so the processes of these tests do not.
const aside = "> /dev/null 2>&1 &"

/** Children and grandchildren, in the background and not; `own` is what each of them does first. */
const tree = (ready: string, own = ":") => {
  const leaf = `${own}; echo ready > '${ready}'; while :; do sleep 100; done`
  const node = `${own}; sh -c ${quote(leaf)} ${aside} sh -c ${quote(leaf)} & wait; wait; sleep 100`
  return `${own}; sh -c ${quote(node)} & sh -c ${quote(node)} ${aside} wait; wait; sleep 100`
}
const leaves = 4
/** Limit of Node: a process that left the group is not found. */
const left: Record<Launcher, number> = { agent: 0, node: 1 }
const deaf = "trap '' TERM"

const reasonOf = <A, E>(exit: Exit.Exit<A, E>) => {
  const error = failureOf(exit)
  return error instanceof TaskError ? error.reason : error
}

overBoth("the whole tree is gone", ({ provide }) => {
  it.scopedLive("when a task was cancelled by its uid", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, takeN }] = [yield* marked, yield* inbox]
      const fiber = yield* ExecutionBackend.submit(sh(tree(path), { uid: "tree", env }))
      yield* takeN(leaves)
      assert.isAtLeast((yield* alive).length, 2 * leaves)
      assert.isTrue(yield* ExecutionBackend.cancel("tree"))
      assert.deepStrictEqual(yield* alive, [])
      assert.strictEqual(reasonOf(yield* Fiber.await(fiber)), "Canceled")
      assert.isFalse(yield* ExecutionBackend.cancel("tree"))
    }).pipe(provide())
  )

  it.scopedLive("when one fiber waits for the task that another one cancels", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, takeN }] = [yield* marked, yield* inbox]
      const fiber = yield* ExecutionBackend.submit(sh(tree(path), { env }))
      const seen = yield* Effect.fork(Effect.zip(Effect.exit(Fiber.join(fiber)), alive))
      yield* takeN(leaves)
      yield* Effect.fork(ExecutionBackend.cancel(fiber))
      const [exit, left] = yield* Fiber.join(seen)
      assert.deepStrictEqual([reasonOf(exit), left], ["Canceled", []])
    }).pipe(provide())
  )

  it.scopedLive("when its fiber was interrupted, or its caller", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, takeN }] = [yield* marked, yield* inbox]
      for (const start of [
        ExecutionBackend.submit(sh(tree(path), { env })),
        Effect.fork(ExecutionBackend.execute(sh(tree(path), { env })))
      ]) {
        const fiber: Fiber.RuntimeFiber<unknown, unknown> = yield* start
        yield* takeN(leaves)
        assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(fiber)))
        assert.deepStrictEqual(yield* alive, [])
      }
    }).pipe(provide())
  )

  it.scopedLive("when its time was over", () =>
    Effect.gen(function* () {
      const { alive, env } = yield* marked
      const cwd = yield* directory
      const task = sh(tree("ready"), { cwd, env, timeout: "300 millis" })
      const error = yield* taskError(task)
      assert.deepStrictEqual(yield* alive, [])
      assert.strictEqual(error.reason, "Timeout")
      assert.notProperty(error.details, "stopped")
      assert.include(error.message, "did not end within its timeout of 300ms")
    }).pipe(provide())
  )

  it.scopedLive("when its backend was closed, with all others, each with that reason", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, takeN }] = [yield* marked, yield* inbox]
      const scope = yield* Scope.make()
      const service = yield* Effect.flatMap(ConcurrentBackend.driver({ maxWorkers: 3 }), Backend.make).pipe(
        Scope.extend(scope)
      )
      const fibers = yield* Effect.replicateEffect(service.submit(sh(tree(path), { env })), 4)
      yield* takeN(3 * leaves)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* alive, [])
      const reasons = yield* Effect.forEach(fibers, (fiber) => Effect.map(Fiber.await(fiber), reasonOf))
      assert.deepStrictEqual(reasons, ["Canceled", "Canceled", "Canceled", "Canceled"])
    }).pipe(provide())
  )

  it.scopedLive("when its backend was terminated, although a grace of ten minutes was promised", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, takeN }] = [yield* marked, yield* inbox]
      const stubborn = yield* ExecutionBackend.submit(sh(tree(path, deaf), { env }))
      yield* takeN(leaves)
      // this one is being stopped already, and has its ten minutes
      const stopping = yield* ExecutionBackend.submit(sh(tree(path, deaf), { env }))
      yield* takeN(leaves)
      yield* Effect.fork(ExecutionBackend.cancel(stopping))
      yield* Effect.yieldNow()
      yield* ExecutionBackend.terminate
      assert.deepStrictEqual(yield* alive, [])
      for (const fiber of [stubborn, stopping]) assert.strictEqual(reasonOf(yield* Fiber.await(fiber)), "Canceled")
    }).pipe(provide({ forceKillAfter: "10 minutes" }))
  )

  it.scopedLive("when the program ended by itself and left them", () =>
    Effect.gen(function* () {
      const { alive, env } = yield* marked
      const cwd = yield* directory
      const script = `for i in 1 2 3 4 5 6 7 8 9; do sleep 100 ${aside} done
        sh -c ${quote(`${deaf}; echo > ready; while :; do sleep 100; done`)} ${aside}
        while ! [ -e ready ]; do sleep 0.01; done; echo done`
      assert.strictEqual((yield* ExecutionBackend.execute(sh(script, { cwd, env }))).stdout, "done\n")
      assert.deepStrictEqual(yield* alive, [])
      fs.rmSync(join(cwd, "ready"))
      assert.strictEqual((yield* taskError(sh(`${script}; exit 3`, { cwd, env }))).exitCode, 3)
      assert.deepStrictEqual(yield* alive, [])
      fs.rmSync(join(cwd, "ready"))
      assert.strictEqual((yield* taskError(sh(`${script}; kill -9 $$`, { cwd, env }))).signal, "SIGKILL")
      assert.deepStrictEqual(yield* alive, [])
    }).pipe(provide())
  )

  it.scopedLive("however soon it was interrupted", () =>
    Effect.gen(function* () {
      const { alive, env } = yield* marked
      for (let i = 0; i < 40; i++) {
        const fiber = yield* ExecutionBackend.submit(sh("sleep 100 & sleep 100", { uid: `${i}`, env }))
        // one step later each time: before the start, in the middle of it, after it
        for (let step = 0; step < i; step++) yield* Effect.yieldNow()
        if (i % 2 === 0) yield* Fiber.interrupt(fiber)
        else yield* ExecutionBackend.cancel(fiber)
        assert.deepStrictEqual(yield* alive, [], `after ${i} steps`)
      }
      assert.strictEqual((yield* ExecutionBackend.state).active, 0)
    }).pipe(provide({ maxWorkers: 1 }))
  )
})

overBoth("the grace between TERM and KILL", ({ provide }) => {
  // A minute would be too long for a test: what ends in time was killed after the other grace.
  const short = { forceKillAfter: Duration.millis(100) }

  it.scopedLive("is the layer's; then those that ignore TERM are killed", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, takeN }] = [yield* marked, yield* inbox]
      // counts hundredths of a second: on a busy machine slower, as the kill comes later
      const counter = `(${deaf}; while sleep 0.01; do echo >> ${path}.count; done) &`
      const counted = () => fs.readFileSync(`${path}.count`).length
      const fiber = yield* ExecutionBackend.submit(sh(`${counter} ${tree(path, deaf)}`, { env }))
      yield* takeN(leaves)
      yield* eventually(
        Effect.sync(() => fs.existsSync(`${path}.count`)),
        (counts) => counts
      )
      const before = counted()
      const [took] = yield* Effect.timed(ExecutionBackend.cancel(fiber))
      assert.deepStrictEqual(yield* alive, [])
      // neither at once, nor after the default of 5 seconds
      assert.isAtLeast(Duration.toMillis(took), 95)
      assert.isBelow(counted() - before, 250)
    }).pipe(provide(short))
  )

  it.scopedLive("is for those that were stopped, too: they go on to hear TERM", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, take }] = [yield* marked, yield* inbox]
      const script = `trap 'echo saved > ${path}; exit' TERM; echo $$ > ${path}; kill -STOP $$; sleep 100`
      const fiber = yield* ExecutionBackend.submit(sh(script, { env }))
      const pid = yield* take
      const stat = Effect.sync(() => fs.readFileSync(`/proc/${pid}/stat`, "utf8"))
      yield* eventually(stat, (stat) => stat.includes(") T "))
      yield* ExecutionBackend.cancel(fiber)
      assert.deepStrictEqual(yield* alive, [])
      assert.strictEqual(yield* take, "saved")
    }).pipe(provide({ forceKillAfter: "10 minutes" }))
  )

  it.scopedLive("is the task's own before the layer's, for cancel, timeout and interruption", () =>
    Effect.gen(function* () {
      const [{ alive, env }, { path, takeN }] = [yield* marked, yield* inbox]
      const options = { env, settings: ConcurrentBackend.settings(short) }
      const first = yield* ExecutionBackend.submit(sh(tree(path, deaf), options))
      yield* takeN(leaves)
      yield* ExecutionBackend.cancel(first)
      assert.deepStrictEqual(yield* alive, [])
      const second = yield* ExecutionBackend.submit(sh(tree(path, deaf), options))
      yield* takeN(leaves)
      yield* Fiber.interrupt(second)
      assert.deepStrictEqual(yield* alive, [])
      const error = yield* taskError(sh(tree(path, deaf), { ...options, timeout: "500 millis" }))
      assert.strictEqual(error.reason, "Timeout")
      assert.deepStrictEqual(yield* alive, [])
    }).pipe(provide({ forceKillAfter: "10 minutes" }))
  )

  it.scopedLive("holds for a timeout too, whatever the grace for handlers is", () =>
    Effect.gen(function* () {
      const { alive, env } = yield* marked
      const cwd = yield* directory
      const script = `trap 'sleep 0.3; echo saved > result; exit' TERM; while :; do sleep 0.02; done`
      const error = yield* taskError(sh(script, { cwd, env, timeout: "700 millis" }))
      assert.deepStrictEqual(yield* alive, [])
      assert.strictEqual(error.reason, "Timeout")
      assert.notProperty(error.details, "stopped")
      assert.strictEqual(fs.readFileSync(join(cwd, "result"), "utf8"), "saved\n")
    }).pipe(provide({ forceKillAfter: "1 minute", stopTimeout: "50 millis" }))
  )

  it.scopedLive("may be without end", () =>
    Effect.gen(function* () {
      const { path, take } = yield* inbox
      const script = `trap 'sleep 0.2; echo saved > ${path}; exit' TERM; echo ready > ${path}; while :; do sleep 0.02; done`
      const settings = ConcurrentBackend.settings({ forceKillAfter: Duration.infinity })
      const fiber = yield* ExecutionBackend.submit(sh(script, { settings }))
      assert.strictEqual(yield* take, "ready")
      yield* ExecutionBackend.cancel(fiber)
      assert.strictEqual(yield* take, "saved")
    }).pipe(provide(short))
  )

  // The programs wait here for the test, so that nothing depends on how long anything takes.
  const careful = (inbox: string, gate: string) =>
    `trap 'echo cleaning > ${inbox}; read x < ${gate}; echo saved > result; echo saved > ${inbox}; exit 0' TERM
    echo ready > ${inbox}; while :; do sleep 0.02; done`

  for (const [who, script] of [
    ["a program", careful],
    [
      "what a shell that dies at once had started",
      (i: string, g: string) => `sh -c ${quote(careful(i, g))} ${aside} wait`
    ],
    [
      "what a shell waits for",
      (i: string, g: string) => `sh -c ${quote(careful(i, g))} > /dev/null 2>&1; echo not reached`
    ]
  ] as const) {
    it.scopedLive(`is for ${who}`, () =>
      Effect.gen(function* () {
        const [{ alive, env }, letters, door] = [yield* marked, yield* inbox, yield* gate]
        const cwd = yield* directory
        const follow = yield* statesOf
        const fiber = yield* ExecutionBackend.submit(sh(script(letters.path, door.path), { cwd, env }))
        assert.strictEqual(yield* letters.take, "ready")
        const canceling = yield* Effect.fork(ExecutionBackend.cancel(fiber))
        assert.strictEqual(yield* letters.take, "cleaning")
        // not reported while it cleans up, though there is time for more than that
        yield* Effect.replicateEffect(ExecutionBackend.execute(sh("true")), 10)
        assert.isTrue(Option.isNone(yield* Fiber.poll(canceling)))
        assert.isTrue(Option.isNone(yield* Fiber.poll(fiber)))
        yield* door.open()
        assert.strictEqual(yield* letters.take, "saved")
        assert.isTrue(yield* Fiber.join(canceling))
        assert.deepStrictEqual(yield* alive, [])
        assert.strictEqual(fs.readFileSync(join(cwd, "result"), "utf8"), "saved\n")
        assert.strictEqual((yield* follow(fiber.uid)).at(-1)!.state, "CANCELED")
      }).pipe(provide({ forceKillAfter: "10 minutes" }))
    )
  }
})

overBoth("dead processes that are not reaped", ({ launcher, provide }) => {
  it.scopedLive("are no reason to wait", () =>
    Effect.gen(function* () {
      const { path, take } = yield* inbox
      const { alive, env } = yield* marked
      // its child stays in the group and dies; itself it leaves the group and never asks for the child
      const parent = `use POSIX; if (!fork) { exit } POSIX::setsid(); open F, ">", "${path}"; print F "ready\\n"; close F; sleep 1000`
      const fiber = yield* ExecutionBackend.submit(sh(`perl -e ${quote(parent)} ${aside} wait`, { env }))
      assert.strictEqual(yield* take, "ready")
      yield* ExecutionBackend.cancel(fiber)
      assert.lengthOf(yield* alive, left[launcher])
    }).pipe(provide({ forceKillAfter: "10 minutes" }))
  )
})

overBoth("a process that left the group", ({ launcher, provide }) => {
  it.scopedLive(
    `${launcher === "agent" ? "is killed" : "is not found"}, and holds no task up with the open output`,
    () =>
      Effect.gen(function* () {
        const { alive, env } = yield* marked
        const cwd = yield* directory
        const script = `setsid sh -c 'echo from there; echo > ready; exec sleep 1000' &
        while ! [ -e ready ]; do sleep 0.01; done; echo from here`
        const output = yield* ExecutionBackend.execute(sh(script, { cwd, env }))
        assert.strictEqual(output.stdout, "from there\nfrom here\n")
        assert.lengthOf(yield* alive, left[launcher])
        // nor one that is cancelled
        fs.rmSync(join(cwd, "ready"))
        const fiber = yield* ExecutionBackend.submit(sh(`${script}; sleep 100`, { cwd, env }))
        yield* eventually(
          Effect.sync(() => fs.existsSync(join(cwd, "ready"))),
          (_) => _
        )
        yield* ExecutionBackend.cancel(fiber)
        assert.lengthOf(yield* alive, 2 * left[launcher])
      }).pipe(provide())
  )

  for (const [how, start] of [
    ["by setsid, forked twice", (leaf: string) => `(setsid sh -c ${quote(`(setsid ${leaf} &)`)} &)`],
    ["by setsid, without environment", (leaf: string) => `(setsid env -i ${leaf} &)`],
    ["by job control", (leaf: string) => `bash -c ${quote(`set -m; ${leaf} & wait`)} &`],
    ["by timeout", (leaf: string) => `timeout 1000 ${leaf} &`]
  ] as const) {
    it.scopedLive(`${launcher === "agent" ? "is killed" : "is not found"} if that was ${how}`, () =>
      Effect.gen(function* () {
        const [{ alive, mark }, { path, take }] = [yield* marked, yield* inbox]
        const leaf = `sh -c ${quote(`${deaf}; echo ready > ${path}; while :; do sleep 100; done; : ${mark}`)}`
        const script = `exec > /dev/null 2>&1; ${start(leaf)}\nwait; sleep 100`
        const fiber = yield* ExecutionBackend.submit(sh(script))
        assert.strictEqual(yield* take, "ready")
        yield* ExecutionBackend.cancel(fiber)
        if (launcher === "agent") assert.deepStrictEqual(yield* alive, [])
        else assert.isNotEmpty(yield* alive)
      }).pipe(provide({ forceKillAfter: "100 millis" }))
    )
  }

  // Limit of the agent: of an orphan without session, environment and output no one can say whose it was.
  if (launcher === "agent") {
    it.scopedLive("and hides altogether lives until those have ended that run beside it", () =>
      Effect.gen(function* () {
        const [{ alive, mark }, { path, take }] = [yield* marked, yield* inbox]
        const parent = "/proc/$(cut -d ' ' -f 4 /proc/$$/stat)/comm"
        const leaf = `until grep -q python ${parent}; do :; done; echo ready > ${path}; while :; do sleep 100; done; : ${mark}`
        const script = `(setsid env -i sh -c ${quote(leaf)} > /dev/null 2>&1 &); exec sleep 100`
        // both are given to the first agent, for the second starts with them
        const hides = yield* ExecutionBackend.submit(sh(script))
        const beside = yield* ExecutionBackend.submit(sh("exec sleep 100"))
        assert.strictEqual(yield* take, "ready")
        yield* ExecutionBackend.cancel(hides)
        assert.isNotEmpty(yield* alive)
        yield* ExecutionBackend.cancel(beside)
        yield* eventually(alive, (alive) => alive.length === 0)
      }).pipe(provide())
    )
  }
})
