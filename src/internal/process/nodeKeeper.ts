/**
 * A keeper beside this process: a small `sh` that kills the groups of running programs when this process is gone,
 * however it ended, or the thread that the programs run for. It reads from a pipe that this thread alone holds open.
 *
 * What it does not cover: a program that was started in the very moment of a SIGKILL, before its group was written to
 * the pipe; and a keeper that was killed as well, which is replaced only when the next program starts. A group is
 * written off when no process is in it any more; its number would have to be given again within that moment, and this
 * process killed in it, for another to be killed. Without a /bin/sh there is no keeper.
 */
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import type { Socket } from "node:net"

// builtins of every sh: it starts no process itself
const script = `trap '' HUP INT QUIT TERM
groups=' '
while read -r line; do
  group=\${line#?}
  case $line in
    +*) groups="$groups$group " ;;
    -*) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -KILL "-$group"; done
`

export class Keeper {
  private readonly groups = new Set<number>()
  private child: ChildProcess | undefined

  /** Called before a program starts, so that its group can be written at once. */
  ready(): void {
    if (this.child !== undefined) return
    let child: ChildProcess
    try {
      // a session of its own: what is typed at this one's terminal is not for it
      child = spawn("/bin/sh", ["-c", script, "effect-rhapsody keeper"], {
        cwd: "/",
        env: {},
        stdio: ["pipe", "ignore", "ignore"],
        detached: true
      })
    } catch {
      return // the program that comes will say what the system lacks
    }
    child.on("error", () => {})
    if (child.pid === undefined) return
    this.child = child
    child.once("exit", () => {
      if (this.child === child) this.child = undefined
    })
    child.stdin?.on("error", () => {})
    // this process does not wait for it
    child.unref()
    ;(child.stdin as Socket).unref()
    for (const group of this.groups) this.write(`+${group}\n`)
  }

  add(group: number): void {
    this.groups.add(group)
    this.write(`+${group}\n`)
  }

  /** No process is in the group any more, or what is may stay. */
  remove(group: number): void {
    this.groups.delete(group)
    this.write(`-${group}\n`)
  }

  /** `closed` is called when its process has ended. What runs is no longer watched. */
  close(closed: () => void): void {
    const { child } = this
    if (child === undefined) {
      closed()
      return
    }
    child.ref()
    child.once("exit", closed)
    child.kill("SIGKILL")
  }

  private write(line: string): void {
    this.child?.stdin?.write(line)
  }
}
