/** Programs that change their user: the orchestrator, which is not root, cannot kill them. */
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { directory, marked } from "../concurrent/support.js"
import { readableBy, unprivileged } from "./readable.js"
import { launchers, orchestrate } from "./support.js"

/** Becomes root, makes a file to say so, and sleeps; before that it may print. */
const source = `
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char text[5000];
  if (setresuid(0, 0, 0) != 0) return 9;
  if (argc > 1 && open(argv[1], O_CREAT | O_WRONLY, 0644) < 0) return 8;
  if (argc == 1) return 0;
  memset(text, 'x', sizeof text);
  if (argc > 2 && write(1, text, sizeof text) < 0) return 7;
  for (;;) pause();
}
`

/** Compiled, owned by root, setuid. */
const compile = (path: string) => {
  const { error } = spawnSync("gcc", ["-x", "c", "-o", path, "-"], { input: source })
  if (error === undefined) fs.chmodSync(path, 0o4755)
  return spawnSync(path, [], { uid: unprivileged, gid: unprivileged, cwd: "/" }).status === 0
}
const open = Effect.tap(directory, (path) => Effect.sync(() => fs.chmodSync(path, 0o755)))

const missing =
  process.getuid!() !== 0
    ? "only root can prepare a program that changes its user"
    : spawnSync("gcc", ["--version"]).status !== 0
      ? "gcc is missing"
      : undefined
if (missing !== undefined) console.warn(`SKIPPED: programs that cannot be killed: ${missing}`)

describe.skipIf(missing !== undefined)("a program that cannot be killed, as it changed its user", () => {
  for (const launcher of launchers) {
    it.scopedLive(`${launcher} - is given up after SIGKILL, and the error says stopped: false`, (context) =>
      Effect.gen(function* () {
        const place = yield* open
        const sleeper = join(place, "sleeper")
        if (!compile(sleeper)) context.skip("a setuid program has no effect in the temporary directory")
        const { alive, env } = yield* marked
        const from = yield* readableBy(unprivileged)
        const plan = { launcher, place, sleeper }
        const program = yield* orchestrate({ program: "unkillable", plan, root: from, uid: unprivileged, env })
        const canceled = { reason: "Canceled", stopped: false }
        assert.deepStrictEqual(yield* program.said, {
          "a program": canceled,
          "a child of a program": canceled,
          "a program that prints too much": { reason: "OutputLimit", stopped: false },
          "a program that the backend closes over": canceled
        })
        const left = yield* alive
        assert.deepStrictEqual(
          left.map((what) => what.trim().split(" ")[1]).sort(),
          ["child", "left", "prints", "single"].map((name) => join(place, name))
        )
      })
    )
  }
})
