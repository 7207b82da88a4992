/** Who is silent is declared dead in time; who only could not be heard for a while is not. */
import { spawn } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { ExecutionBackend } from "effect-rhapsody"
import type { ChannelLoss } from "../../src/internal/bridge/channel.js"
import { Channel } from "../../src/internal/bridge/channel.js"
import { argumentsFor } from "../../src/internal/process/python.js"
import { sourceOf } from "../../src/internal/sources.js"
import { eventually, failureOf, gate, inbox, sh } from "../concurrent/support.js"
import {
  allShapes,
  bash,
  block,
  caught,
  fault,
  forest,
  gone,
  leftAtLast,
  limit,
  over,
  overOneAgent,
  python,
  reasons
} from "./support.js"
import type { AgentPids } from "./system.js"
import { agentsOf, kill } from "./system.js"

// ------------------------------------------------------------------------------------------------------------ processes

/** Stops processes for that long, this one as well. */
const stopped = (millis: number, ...all: ReadonlyArray<number>) =>
  Effect.promise(async () => {
    const pids = all.join(" ")
    const script = `kill -STOP ${pids}; sleep ${millis / 1000}; kill -CONT ${pids}`
    const child = spawn("sh", ["-c", script], { detached: true, stdio: "ignore" })
    await new Promise((resolve) => child.once("exit", resolve))
  })

const blocked = (millis: number) => Effect.sync(() => block(millis))

const trees = Object.fromEntries(allShapes.map((shape) => [shape, 1]))

/** Trees stand, `silence` befalls whom they hang on: they are Lost and gone, and the next task finds another agent. */
const dies = (why: string, silence: (pids: AgentPids) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const { alive, env, script, stand } = yield* forest
    const fibers = yield* Effect.forEach(allShapes, (shape) => ExecutionBackend.submit(bash(script(shape), { env })))
    yield* stand(trees)
    const [pids] = agentsOf()
    yield* silence(pids!)
    assert.deepStrictEqual(
      yield* reasons(fibers),
      allShapes.map(() => "Lost")
    )
    assert.include((failureOf(yield* Fiber.await(fibers[0]!)) as Error).message, why)
    assert.deepStrictEqual(yield* leftAtLast(alive), [])
    yield* gone([pids!.agent, pids!.keeper])
    assert.strictEqual((yield* ExecutionBackend.execute(sh("echo again"))).stdout, "again\n")
  })

const noAgent = Effect.gen(function* () {
  yield* ExecutionBackend.execute(sh("true"))
  assert.deepStrictEqual(agentsOf(), [])
}).pipe(over("node"))

const stop = (...pids: ReadonlyArray<number>) =>
  Effect.sync(() => {
    for (const pid of pids) kill(pid, "SIGSTOP")
  })
const dead = (pid: number) => Effect.sync(() => kill(pid))

fault("SIGSTOP of the agent", {
  agent: [
    caught(
      "after the bounded silence it is declared dead, killed with all it started, and replaced",
      dies("said nothing for", ({ agent }) => Effect.sync(() => kill(agent, "SIGSTOP"))).pipe(
        overOneAgent({ silence: 600 })
      )
    ),
    caught(
      "and of its keeper, too: it is reported Lost when its programs are gone",
      dies("said nothing for", (pids) => stop(pids.agent, pids.keeper)).pipe(overOneAgent({ silence: 600 }))
    ),
    caught(
      "after its keeper was killed: it goes on to kill what it started",
      dies("was killed by SIGKILL", (pids) => Effect.zipRight(stop(pids.agent), dead(pids.keeper))).pipe(
        overOneAgent({})
      )
    ),
    caught(
      "of the keeper alone, when its agent was killed: it goes on to kill what is left",
      dies("said nothing for", (pids) => Effect.zipRight(stop(pids.keeper), dead(pids.agent))).pipe(
        overOneAgent({ silence: 600 })
      )
    )
  ],
  node: limit("there is none", noAgent)
})

/** A task goes on, with all it prints meanwhile, and so do its agents. */
const goesOn = (fault: (pids: AgentPids | undefined) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const [letters, door] = [yield* inbox, yield* gate]
    const script = `echo ready > ${letters.path}; head -c 30000 /dev/zero; read x < ${door.path}; echo through`
    const fiber = yield* ExecutionBackend.submit(sh(script))
    const quick = yield* ExecutionBackend.submit(sh("head -c 30000 /dev/zero"))
    yield* letters.take
    const pids = agentsOf()
    yield* fault(pids[0])
    // more than the silence: a side that is in doubt has time to report it
    yield* Effect.sleep("700 millis")
    yield* door.open()
    assert.strictEqual((yield* Fiber.join(fiber)).stdoutBytes.length, 30_000 + "through\n".length)
    assert.strictEqual((yield* Fiber.join(quick)).stdoutBytes.length, 30_000)
    assert.deepStrictEqual(agentsOf(), pids)
  })

fault("this process is blocked for several times the silence", {
  agent: caught("tasks and agent go on", goesOn(() => blocked(2000)).pipe(overOneAgent({ silence: 500 }))),
  node: caught("tasks go on", goesOn(() => blocked(2000)).pipe(over("node")))
})

fault("this process is stopped for several times the silence", {
  agent: [
    caught("tasks and agent go on", goesOn(() => stopped(2000, process.pid)).pipe(overOneAgent({ silence: 500 }))),
    caught(
      "with the agent, for longer than the agent waits for a word: tasks and agent go on",
      goesOn((pids) => stopped(2000, pids!.agent, process.pid)).pipe(
        overOneAgent({ silence: 300, orchestratorSilence: 1000 })
      )
    )
  ],
  node: caught("tasks go on", goesOn(() => stopped(2000, process.pid)).pipe(over("node")))
})

fault("the agent is stopped for longer than it waits for a word", {
  agent: caught(
    "and words wait for it: tasks and agent go on",
    goesOn((pids) => stopped(2500, pids!.agent)).pipe(overOneAgent({ silence: 3000, orchestratorSilence: 1500 }))
  ),
  node: limit("there is none", noAgent)
})

fault("this process says nothing for longer than the agent waits", {
  agent: caught(
    "the agent takes it for dead and kills all; tasks are Lost, the next one starts a new agent",
    dies("was lost", () => blocked(2500)).pipe(overOneAgent({ silence: 500, orchestratorSilence: 1500 }))
  ),
  node: limit("no process waits for it", noAgent)
})

// ---------------------------------------------------------------------------------------------------------------- clock

/** Answers pings until it is asked to be mute, and echoes. */
const peer = `
import os
def say(header):
    os.write(1, encode(header))
say({"type": "hello", "protocol": PROTOCOL})
decoder, mute = Decoder(), False
while True:
    data = os.read(0, 65536)
    if not data:
        break
    for header, _ in decoder.feed(data):
        mute = mute or header["type"] == "mute"
        if header["type"] == "echo":
            say(header)
        elif header["type"] == "ping" and not mute:
            say({"type": "pong"})
`
const source = sourceOf("bridge/frame") + peer

/** A channel whose clock and timer are the test's. */
const meet = (silence: number, source: string) =>
  Effect.gen(function* () {
    let now = 0
    let every = 0
    let beat = () => {}
    const seen = { opened: false, echoes: 0, lost: undefined as ChannelLoss | undefined }
    const open = () =>
      new Channel({
        command: python,
        args: argumentsFor("a peer", source),
        env: {},
        source,
        hello: {},
        silence,
        time: {
          now: () => now,
          every: (millis, call) => {
            every = millis
            beat = call
            return () => {}
          }
        },
        onOpen: () => {
          seen.opened = true
        },
        onMessage: () => {
          seen.echoes++
        },
        onLost: (lost) => {
          seen.lost = lost
        }
      })
    const channel = yield* Effect.acquireRelease(Effect.sync(open), (channel) =>
      Effect.async<void>((resume) => channel.close(() => resume(Effect.void)))
    )
    const until = (good: () => boolean) => eventually(Effect.sync(good), (_) => _)
    return {
      /** Why it ended, if it did. */
      lost: () => seen.lost?.reason,
      /** Whether it was taken for dead, which is reported when its process has ended. */
      dead: () => seen.opened && !channel.alive,
      ended: until(() => seen.lost !== undefined),
      every,
      opened: until(() => seen.opened),
      send: (type: string) => channel.send({ type }),
      /** All that was said has arrived and was answered. */
      heard: Effect.suspend(() => {
        const { echoes } = seen
        channel.send({ type: "echo" })
        return until(() => seen.echoes > echoes)
      }),
      /** Lets so much time pass, then the timer fires: as often, if it was late. */
      pass: (millis: number, beats = 1) => {
        now += millis
        for (let i = 0; i < beats; i++) beat()
      }
    }
  })

const hour = 3_600_000

describe("a clock that jumps", () => {
  it.scopedLive("forward declares no agent dead that answers, however often, and late timers neither", () =>
    Effect.gen(function* () {
      const { heard, opened, pass, lost } = yield* meet(1000, source)
      yield* opened
      for (const beats of [1, 1, 2, 3, 1, 3]) {
        pass(hour, beats)
        yield* heard
        pass(1)
        yield* heard
      }
      assert.isUndefined(lost())
    })
  )

  it.scopedLive("backward declares no orchestrator dead that answers", () =>
    Effect.gen(function* () {
      const { every, heard, opened, pass, lost } = yield* meet(1000, source)
      yield* opened
      pass(-hour)
      for (let i = 0; i < 10; i++) {
        pass(every)
        yield* heard
      }
      assert.isUndefined(lost())
    })
  )

  it.scopedLive(
    "does not save who is silent: declared dead when the silence is over and several pings had no answer",
    () =>
      Effect.gen(function* () {
        const { dead, ended, every, heard, opened, pass, lost, send } = yield* meet(1000, source)
        yield* opened
        send("mute")
        yield* heard
        pass(hour)
        assert.isFalse(dead(), "after the jump")
        let beats = 0
        while (!dead() && beats++ < 100) pass(every)
        assert.isAtMost(beats, 5)
        yield* ended
        assert.strictEqual(lost(), "Silent")
      })
  )
})

describe("a clock that does not jump", () => {
  it.scopedLive("declares who is silent dead after the silence, not before, and soon after", () =>
    Effect.gen(function* () {
      const { dead, ended, every, heard, opened, pass, lost, send } = yield* meet(1000, source)
      yield* opened
      send("mute")
      yield* heard
      let passed = 0
      for (; passed < 1000; passed += every) {
        assert.isFalse(dead(), `after ${passed} ms`)
        pass(every)
      }
      while (!dead() && passed < 10_000) {
        pass(every)
        passed += every
      }
      assert.isAtMost(passed, 1500)
      yield* ended
      assert.strictEqual(lost(), "Silent")
    })
  )

  it.scopedLive("declares who never said a word not started, after half a minute", () =>
    Effect.gen(function* () {
      const { pass, lost } = yield* meet(1000, "import os\nwhile os.read(0, 65536):\n    pass\n")
      pass(29_000)
      assert.isUndefined(lost())
      pass(2000)
      assert.strictEqual(lost(), "NotStarted")
    })
  )
})

/** Starts a process in a session of its own, and ends of nothing but SIGKILL: neither does what it started. */
const stubborn = `
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setsid()
    while True:
        time.sleep(3600)
os.write(1, encode({"type": "hello", "protocol": PROTOCOL, "pid": os.getpid()}))
os.write(1, encode({"type": "child", "child": child}))
while True:
    time.sleep(3600)
`

describe("a process that does not end when its streams are closed", () => {
  it.scopedLive("is killed after the grace, with what it started in a session of its own", () =>
    Effect.gen(function* () {
      const started = sourceOf("bridge/frame") + stubborn
      const { child, peer, channel } = yield* Effect.async<{ child: number; peer: number; channel: Channel }>(
        (resume) => {
          let peer = 0
          const channel: Channel = new Channel({
            command: python,
            args: argumentsFor("a stubborn peer", started),
            env: {},
            source: started,
            hello: {},
            silence: 600_000,
            exitGrace: 50,
            onOpen: ({ pid }) => {
              peer = Number(pid)
            },
            onMessage: ({ header }) =>
              resume(Effect.succeed({ child: (header as { readonly child: number }).child, peer, channel })),
            onLost: ({ message }) => resume(Effect.dieMessage(message))
          })
        }
      )
      yield* Effect.addFinalizer(() => Effect.sync(() => [child, peer].map((pid) => kill(pid))))
      yield* Effect.async<void>((resume) => channel.close(() => resume(Effect.void)))
      yield* gone([child, peer])
    })
  )
})
