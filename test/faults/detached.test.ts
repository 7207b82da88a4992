/** What a program leaves running on purpose is known by where it is, and by no number, session or variable. */
import { execFileSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { ConcurrentBackend, ExecutionBackend } from "effect-rhapsody"
import { agentSource } from "../../src/internal/process/agent.js"
import { eventually, gate, inbox, marked, quote, sh, taskError } from "../concurrent/support.js"
import { python } from "./support.js"
import { kill } from "./system.js"

const apart = "> /dev/null 2>&1"
const bare = `env -i PATH="$PATH"`

/** How a daemon comes to be, and how many there are of each then. */
const daemons: Readonly<Record<string, readonly [script: (leaf: string) => string, count: number]>> = {
  "by setsid in the background": [(leaf) => `setsid ${leaf} ${apart} &`, 1],
  "without environment": [(leaf) => `${bare} setsid ${leaf} ${apart} &`, 1],
  "by two forks": [(leaf) => `(${bare} setsid sh -c ${quote(`(${leaf} &)`)} ${apart} &)`, 1],
  "that starts helpers later": [
    (leaf) => `(${bare} setsid sh -c ${quote(`sleep 0.1; setsid ${leaf} & ${leaf}; :`)} ${apart} &)`,
    2
  ],
  "that leaves its session late": [(leaf) => `(sleep 0.05; exec ${bare} setsid ${leaf}) ${apart} &`, 1]
}

/** A backend that is closed by hand, with a daemon that says when it is there. */
const stage = Effect.gen(function* () {
  const [letters, door, mine, scope] = [yield* inbox, yield* gate, yield* marked, yield* Scope.make()]
  const context = yield* Layer.buildWithScope(ConcurrentBackend.layer({ launcher: "agent", python }), scope)
  // one process, which has the mark to its end
  const leaf = `sh -c ${quote(`echo $$ > ${letters.path}; read x < ${door.path}`)} ${mine.mark}`
  return { ...letters, leaf, close: Scope.close(scope, Exit.void), provide: Effect.provide(context) }
})

describe("a daemon that its task leaves on purpose", () => {
  for (const [how, [script, count]] of Object.entries(daemons)) {
    it.scopedLive(
      `${how}, is spared when others are cancelled and the backend is closed; what others left is not`,
      () =>
        Effect.gen(function* () {
          const [{ close, leaf, provide, takeN }, others] = [yield* stage, yield* marked]
          yield* Effect.gen(function* () {
            const beside = yield* ExecutionBackend.submit(sh(`setsid sleep 1000 & wait`, { env: others.env }))
            const start = ExecutionBackend.execute(sh(script(leaf), { orphans: "detach" }))
            yield* Effect.replicateEffect(start, 6, { concurrency: 2 })
            yield* ExecutionBackend.execute(sh(`setsid sleep 1000 ${apart} &`, { env: others.env }))
            yield* Fiber.interrupt(beside)
          }).pipe(provide)
          yield* close
          const pids = yield* takeN(6 * count)
          assert.deepStrictEqual(yield* others.alive, [])
          // signal 0 asks whether it is there
          for (const pid of pids) assert.doesNotThrow(() => process.kill(Number(pid), 0))
        })
    )
  }

  it.scopedLive("is held by a process of its own, which ends with it", () =>
    Effect.gen(function* () {
      const [{ close, path, provide, take }, named] = [yield* stage, yield* marked]
      const title = `effect-rhapsody holder of ${named.mark}`
      const holder = Effect.map(named.alive, (alive) => alive.filter((what) => what.startsWith(title)))
      yield* ExecutionBackend.execute(sh("true", { uid: `${named.mark} of nothing`, orphans: "detach" })).pipe(provide)
      yield* eventually(holder, (found) => found.length === 0)
      const daemon = `setsid sh -c ${quote(`echo $$ > ${path}; exec sleep 1000`)}`
      const task = sh(`${daemon} ${apart} &`, { uid: named.mark, orphans: "detach" })
      yield* ExecutionBackend.execute(task).pipe(provide)
      const pid = Number(yield* take)
      yield* close
      assert.lengthOf(yield* holder, 1)
      kill(pid)
      yield* eventually(holder, (found) => found.length === 0)
    })
  )

  it.scopedLive("is stopped, in whichever session, while its program runs", () =>
    Effect.gen(function* () {
      const [{ close, leaf, provide, take }, mine] = [yield* stage, yield* marked]
      const script = `${bare} setsid sh -c ${quote(`(${leaf} ${mine.mark} &)`)} ${apart}; sleep 1000`
      const fiber = yield* ExecutionBackend.submit(sh(script, { orphans: "detach" })).pipe(provide)
      yield* take
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* mine.alive, [])
      yield* close
    })
  )

  it.scopedLive("does not hide why its program did not start", () =>
    Effect.gen(function* () {
      const { close, provide } = yield* stage
      const failed = yield* taskError(sh("true", { cwd: "/nowhere", orphans: "detach" })).pipe(provide)
      assert.strictEqual(failed.reason, "LaunchFailed")
      assert.include(failed.message, "/nowhere")
      yield* close
    })
  )
})

/** What a sweep kills of process 100, which is to be spared if it was born at 5. */
const swept = (born: number, reaped: boolean, said = "+100 5\n") => {
  const world = `
import json, os, sys
agent = {"__name__": "agent"}
exec(compile(sys.stdin.read(), "agent", "exec"), agent)
here, killed, ended = [100, 200], [], [100] if ${reaped ? "True" : "False"} else []
theirs, mine = os.pipe()
os.write(mine, ${JSON.stringify(said)}.encode())
spared = agent["Spared"](theirs)
spared.listen()
os.waitpid = lambda *_: (ended.pop() if ended else 0, 0)
def send(pid, _):
    killed.append(pid)
    here.remove(pid)
agent.update(children=lambda pid: list(here) if pid == os.getpid() else [], birth=lambda pid: ${born}, send=send)
agent["sweep"](spared.births, 1)
print(json.dumps(sorted(killed)))
`
  return JSON.parse(execFileSync(python, ["-I", "-S", "-c", world], { encoding: "utf8", input: agentSource() }))
}

describe("a number that is given again", () => {
  it("spares nothing that was not there before", () => {
    assert.deepStrictEqual(swept(5, false), [200])
    assert.deepStrictEqual(swept(6, false), [100, 200])
  })

  it("is forgotten with the process that had it", () => {
    assert.deepStrictEqual(swept(5, true), [100, 200])
    assert.deepStrictEqual(swept(5, false, "+100 5\n-100\n"), [100, 200])
  })
})
