// What one side of an agent's channel says and the other cannot use: the program that it is about ends, and no other.
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { ExecutionBackend } from "effect-rhapsody"
import type { TaskError } from "effect-rhapsody/Errors"
import { directory, failureOf, gate, inbox, marked, program, sh } from "../concurrent/support.js"
import { overOneAgent, python } from "./support.js"
import { agentsOf } from "./system.js"

/**
 * An interpreter that runs the agent with lines of Python before its start: `forge(self, id, header)` is called with
 * what the agent says of the task "victim", and returns what it says instead.
 */
const forged = (forge: string) =>
  Effect.gen(function* () {
    const path = yield* directory
    const patch = `
victims, say, begin = set(), Agent.tell, Agent.start
def start(self, header, blobs):
    if header["uid"] == "victim":
        victims.add(header["id"])
    begin(self, header, blobs)
def tell(self, header, blobs=(), lazy=False):
    id = header.get("id")
    if id in victims:
        header = forge(self, id, header)
    say(self, header, blobs, lazy)
def forge(self, id, header):
    ${forge.split("\n").join("\n    ")}
Agent.start, Agent.tell = start, tell
`
    const script = join(path, "forge.py")
    yield* program(
      script,
      `import os, sys
source, size = b"", int(sys.argv[1])
while len(source) < size:
    source += os.read(0, size - len(source))
head, main, tail = source.decode().rpartition('if __name__ == "__main__":')
exec(compile(head + ${JSON.stringify(patch)} + main + tail, sys.argv[2], "exec"))
`
    )
    // of what it is given: -I -S -c, the bootstrap, and two arguments
    return yield* program(join(path, "python"), `shift 4; exec ${python} -I -S ${script} "$@"`)
  })

/** When the agent says that it has started. */
const atStart = (...lines: ReadonlyArray<string>) =>
  ['if header["type"] == "started":', ...lines.map((line) => `    ${line}`), "return header"].join("\n")
const heard = (message: string, blobs = "[]") => atStart(`self.messages.append((dict(${message}, id=id), ${blobs}))`)
const said = (message: string) => atStart(`say(self, dict(${message}, id=id))`)

const runs = "sleep 1000; :"

/** A program of the same agent goes on while the victim ends with this exit. */
const beside = <A>(forge: string, script: string, check: (exit: Exit.Exit<unknown, unknown>) => A) =>
  Effect.gen(function* () {
    const [letters, door, { alive, env }] = [yield* inbox, yield* gate, yield* marked]
    const test = Effect.gen(function* () {
      const bystander = yield* ExecutionBackend.submit(
        sh(`echo ready > ${letters.path}; read x < ${door.path}; echo through`)
      )
      yield* letters.take
      const before = agentsOf()
      const exit = yield* Effect.exit(ExecutionBackend.execute(sh(script, { uid: "victim", env })))
      assert.deepStrictEqual(yield* alive, [])
      check(exit)
      yield* door.open(1)
      assert.strictEqual((yield* Fiber.join(bystander)).stdout, "through\n")
      assert.deepStrictEqual(agentsOf(), before)
    })
    yield* test.pipe(overOneAgent({ python: yield* forged(forge) }))
  })

const lost = (said: RegExp) => (exit: Exit.Exit<unknown, unknown>) => {
  const error = failureOf(exit) as TaskError
  assert.strictEqual(error.reason, "Lost")
  assert.match(error.message, said)
  assert.isUndefined(error.details["stopped"])
}

describe("a message of an agent", () => {
  for (const [what, forge, script, message] of [
    ["of an unknown type", said('type="nonsense"'), runs, /cannot be used: it is not understood: .*nonsense/],
    ["with a field that is none", said('type="output", stream="x"'), runs, /it is not understood/],
    ["that asks for input where there is none", said('type="need"'), runs, /cannot be used/],
    [
      "that names output which is not there",
      'return dict(header, stdout=7) if header["type"] == "ended" else header',
      "true",
      /cannot be used/
    ],
    [
      "that is no end, in place of the end",
      'return dict(header, type="nonsense") if header["type"] == "ended" else header',
      "true",
      /cannot be used/
    ]
  ] as const) {
    it.scopedLive(`${what} ends the program that it is about, and no other`, () => beside(forge, script, lost(message)))
  }

  it.scopedLive("about a program that is not known is late, and ends nothing", () =>
    beside(atStart('say(self, {"type": "need", "id": 10**6})'), "true", (exit) => assert.isTrue(Exit.isSuccess(exit)))
  )

  it.scopedLive("that names no program ends all of that agent: it may have been the end of any", () =>
    Effect.gen(function* () {
      const letters = yield* inbox
      const forge = atStart('say(self, {"type": "ended"})')
      const test = Effect.gen(function* () {
        const bystander = yield* ExecutionBackend.submit(sh(`echo ready > ${letters.path}; ${runs}`))
        yield* letters.take
        const victim = yield* ExecutionBackend.submit(sh(runs, { uid: "victim" }))
        for (const fiber of [bystander, victim]) lost(/names no program/)(yield* Fiber.await(fiber))
      })
      yield* test.pipe(overOneAgent({ python: yield* forged(forge) }))
    })
  )
})

describe("a message to an agent", () => {
  for (const [what, forge] of [
    ["of an unknown type", heard('type="nonsense"')],
    ["without the bytes that it needs", heard('type="launch"')],
    ["to stop, without the time for that", heard('type="cancel"')],
    ["about output that was taken, without its size", heard('type="taken", stream="stdout"')]
  ] as const) {
    it.scopedLive(`${what} ends the program that it is about, and no other`, () =>
      beside(forge, runs, lost(/cannot be used: (KeyError|ProtocolError): /))
    )
  }
})
