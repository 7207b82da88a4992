/** What a launch agent looks at when it ends many programs at once: counted, in a world made up for it. */
import { execFileSync } from "node:child_process"
import { assert, describe, it } from "@effect/vitest"
import { agentSource } from "../../src/internal/process/agent.js"

/** Programs 1000, 1001, ...; below 1000 is 3000, which left its group, and 5000 came from it to the agent. */
const world = `
import collections, json, sys
agent = {"__name__": "agent"}
exec(compile(sys.stdin.read(), "agent", "exec"), agent)
count, tick = int(sys.argv[1]), float(sys.argv[2])
seen, sent, clock = collections.Counter(), collections.defaultdict(list), [0.0]

def look(pid):
    seen["children"] += 1
    if pid == os_pid:
        return [one for n in range(count) for one in (1000 + n, 5000 + n)]
    return [2000 + pid] if 1000 <= pid < 3000 else []

def now():
    clock[0] += tick
    return clock[0]

def stat(pid):
    seen["stat"] += 1
    return b"S", pid - 4000 if pid >= 5000 else pid  # the session of the one that is here is that of its program

os_pid = 1
agent["os"].getpid = lambda: os_pid  # its real number could be one of those above
agent.update(
    children=look, now=now, stat=stat, group_of=lambda pid: pid,
    send=lambda pid, number: sent[pid].append(int(number)))

class Orphans(dict):
    def items(self):
        seen["walks"] += 1
        return dict.items(self)

class Own:
    """The list of children that the system keeps of the agent."""
    def seek(self, _):
        seen["adoptions"] += 1
        self.left = b"1000 " * 2 * count
    def read(self, size):
        piece, self.left = self.left[:4090], self.left[4090:]
        return piece

class World(agent["Endings"]):
    own, ending, due, spared, young, dead = Own(), set(), {}, {}, [], set()

it = World()
it.launches, it.pids, it.sessions, it.orphans = {}, {}, {}, Orphans()
for n in range(count):
    launch = agent["Launch"]({"id": n, "uid": "task.%d" % n, "limit": 1})
    launch.pid = 1000 + n
    it.launches[n] = it.pids[launch.pid] = it.sessions[launch.pid] = launch
launches = list(it.launches.values())
it.adopt()
seen.clear()
it.adopt()
unchanged = dict(seen)
seen.clear()
for launch in launches:
    it.cancel(launch, GRACE)
asked = dict(seen)
slices = []
while it.due:
    before = len(it.due)
    it.signal_due()
    slices.append(before - len(it.due))
signalled = dict(seen)
seen.clear()
for launch in launches:
    it.forget(launch)
print(json.dumps({
    "unchanged": unchanged, "asked": asked, "slices": slices, "signalled": signalled, "forgotten": dict(seen),
    "orphans": len(it.orphans), "sent": [sent[pid] for pid in (-1000, 3000, 5000)],
}))
`

interface Seen {
  readonly unchanged: Record<string, number>
  readonly asked: Record<string, number>
  readonly slices: ReadonlyArray<number>
  readonly signalled: Record<string, number>
  readonly forgotten: Record<string, number>
  readonly orphans: number
  readonly sent: ReadonlyArray<ReadonlyArray<number>>
}

const run = (count: number, options: { readonly tick: number; readonly grace: number }): Seen => {
  const script = world.replace("GRACE", String(options.grace))
  const args = ["-I", "-S", "-c", script, String(count), String(options.tick)]
  return JSON.parse(execFileSync("python3", args, { encoding: "utf8", input: agentSource() }))
}

describe("an agent that ends many programs", () => {
  for (const [what, grace] of [
    ["killed", 0],
    ["sent TERM", 10]
  ] as const) {
    it(`looks once for orphans when all are ${what}, and as often at each program however many there are`, () => {
      const [few, many] = [run(100, { tick: 0, grace }), run(900, { tick: 0, grace })]
      for (const [count, seen] of [
        [100, few],
        [900, many]
      ] as const) {
        assert.deepStrictEqual(seen.asked, {})
        assert.deepStrictEqual(seen.slices, [count])
        assert.strictEqual(seen.signalled["adoptions"], 1)
      }
      assert.strictEqual(many.signalled["children"]! / 900, few.signalled["children"]! / 100)
    })

    it(`hears the orchestrator in between when all are ${what} and that takes long`, () => {
      const { sent, slices } = run(100, { tick: 0.02, grace })
      assert.isAbove(slices.length, 20)
      assert.strictEqual(
        slices.reduce((all, one) => all + one, 0),
        100
      )
      assert.isTrue(sent.every((numbers) => numbers.includes(grace === 0 ? 9 : 15)))
    })
  }

  it("forgets a program without a look at what the others left", () => {
    const { forgotten, orphans } = run(900, { tick: 0, grace: 0 })
    assert.strictEqual(orphans, 0)
    assert.notProperty(forgotten, "walks")
    assert.notProperty(forgotten, "stat")
  })

  it("knows all its children, however many they are, without a look at each", () => {
    assert.deepStrictEqual(run(900, { tick: 0, grace: 0 }).unchanged, { adoptions: 1 })
  })
})
