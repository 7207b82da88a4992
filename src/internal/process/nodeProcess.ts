/** One child process and its group: start, capture, stop. Callbacks only; the launcher makes Effects of them. */

import type { ChildProcess as NodeChild } from "node:child_process"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { performance } from "node:perf_hooks"
import type { Readable } from "node:stream"
import * as Either from "effect/Either"
import type { Executable, ProcessExit } from "../../Driver.js"
import type { Text } from "../../TaskOptions.js"
import { launchFailed, tailSize } from "./exit.js"
import { groupLeft, signalGroup } from "./group.js"
import { beyond, Kept } from "./kept.js"
import type { Launch, LaunchFailure } from "./launcher.js"
import { makeSandbox, openNameless, openOutput, readFrom, standardInput } from "./nodeFiles.js"
import type { Keeper } from "./nodeKeeper.js"
import { notReached } from "./preExec.js"
import { notSpawned } from "./unstarted.js"

/** How long pipes may stay open after the program ended: a process that left its group may hold them for ever. */
const pipeGrace = 1000
/** How long a killed program and its group may take to be gone: after that they count as survivors. */
const groupGrace = 1000
/** How often at least it is asked whether the group is gone. */
const groupInterval = 50
/** How often the size of a file that stands in for memory is looked at. */
const sizeInterval = 20
/** Bytes of output that may be reported and not taken before the program waits. */
const window = 1024 * 1024
/** The longest that a timer of Node can wait: 24 days. Beyond it a timer fires at once. */
const longest = 2 ** 31 - 1

type Stream = "stdout" | "stderr"
type End = Either.Either<ProcessExit, LaunchFailure>

const facts = (cause: unknown, path: string | undefined) => ({
  errno: (cause as NodeJS.ErrnoException).code,
  path,
  cause
})

interface Status {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}
const exitOf = ({ code, signal }: Status) => (code === null ? { signal: signal! } : { exitCode: code })

export class ChildProcess {
  private child: NodeChild | undefined
  private readonly startedAt = performance.now()
  private readonly kept: Readonly<Record<Stream, Kept>>
  private readonly paths: Partial<Record<Stream, string>> = {}
  private opening: "input" | "output" = "input"
  /** The file that standard output is read from at the end. */
  private file: number | undefined
  /** Bytes that were in it before. */
  private before = 0
  /** Of streams that are kept in that file: how much is left out of the result, and the last bytes. */
  private cut: Pick<ProcessExit, "dropped" | "stdoutTail"> = {}
  private sizeTimer: NodeJS.Timeout | undefined
  /** Bytes reported and not taken, of a program whose output is reported while it runs. */
  private readonly untaken: Record<Stream, number> = { stdout: 0, stderr: 0 }
  private overflow: Stream | undefined
  /** It did not end by itself: then nothing of it is left on purpose. */
  private unwanted = false
  private status: Status | undefined
  /** It was asked to stop and has its grace period. */
  private stopping = false
  private groupGone = false
  /** The wait after KILL, which may not end the program. */
  private givingUp: NodeJS.Timeout | undefined
  private survivors = false
  private end: End | undefined
  /** By the shell that runs the lines before the program (preExec.ts). */
  private reported = ""
  private readonly listeners: Array<(end: End) => void> = []

  /** `started` is called once, later, with the failure if there is one. */
  constructor(
    private readonly launch: Launch,
    private readonly keeper: Keeper,
    text: (text: Text) => string,
    inherited: NodeJS.ProcessEnv,
    env: () => NodeJS.ProcessEnv,
    started: (failure: LaunchFailure | undefined) => void
  ) {
    const { program } = this
    const { capture, cwd } = program
    this.kept = { stdout: new Kept(capture.limit), stderr: new Kept(capture.limit) }
    const opened: Array<number> = []
    const close = () => {
      for (const fd of opened) fs.closeSync(fd)
    }
    const failed = (failure: LaunchFailure) => {
      close()
      if (this.file !== undefined) fs.closeSync(this.file)
      queueMicrotask(() => started(failure))
    }
    const { sandbox } = launch
    try {
      if (sandbox !== undefined) makeSandbox(sandbox, launch.freshSandbox === true)
    } catch (cause) {
      failed(launchFailed(`its sandbox ${sandbox} cannot be made: ${(cause as Error).message}`, facts(cause, sandbox)))
      return
    }
    let stdio: Array<"ignore" | "pipe" | number>
    try {
      stdio = this.stdio(cwd ?? ".", opened)
    } catch (cause) {
      const where = (cause as NodeJS.ErrnoException).path
      failed(
        launchFailed(
          `its ${this.opening} file ${where} cannot be opened: ${(cause as Error).message}`,
          facts(cause, where)
        )
      )
      return
    }
    keeper.ready()
    try {
      // detached: a session and a process group of its own, so that one signal reaches the whole tree
      const executable = text(program.executable)
      this.child = spawn(executable, program.args.map(text), { cwd, env: env(), stdio, detached: true })
    } catch (cause) {
      failed(notSpawned(launch, inherited, cause as NodeJS.ErrnoException))
      return
    }
    const { child } = this
    child.once("error", (cause) => {
      if (child.pid !== undefined) return // a signal that could not be sent
      failed(notSpawned(launch, inherited, cause))
    })
    if (child.pid === undefined) return
    keeper.add(child.pid)
    close()
    if (child.stdin !== null) {
      child.stdin.on("error", () => {}) // a program may end without reading its input
      child.stdin.end(program.stdin as Text)
    }
    this.keep("stdout", child.stdout)
    this.keep("stderr", child.stderr)
    child.stdio[3]?.on("data", (data: Buffer) => {
      this.reported += data.toString("latin1")
    })
    if (capture.mergeStderr && capture.stdout === undefined && capture.overflow !== "truncate") {
      const fd = this.file!
      this.sizeTimer = setInterval(() => {
        if (fs.fstatSync(fd).size > capture.limit) this.overflowed("stdout")
      }, sizeInterval)
    }
    let open = 2
    let pipes: NodeJS.Timeout | undefined
    const closed = () => {
      if (--open > 0) return
      clearTimeout(pipes)
      this.settle()
    }
    child.once("close", closed)
    child.once("exit", (code, signal) => {
      clearTimeout(this.givingUp)
      if (this.ended) {
        this.kill("SIGKILL")
        this.leaveGroup()
        return
      }
      this.status = { code, signal }
      // what it left running in its group ends with it, at once unless the group has its grace
      const detach = !this.unwanted && program.orphans === "detach"
      if (!detach && !this.stopping) this.kill("SIGKILL")
      const gone = () => {
        // A loop that was blocked for longer than the grace first gets to read what is there. While the
        // consumer of the output holds it up, open pipes are no sign of a process that was left behind.
        const wait = () => {
          pipes = setTimeout(() => setImmediate(() => (this.held ? wait() : this.drop())), pipeGrace)
        }
        wait()
        closed()
      }
      if (detach) {
        this.leaveGroup()
        gone()
      } else this.whenGroupGone(gone)
    })
    queueMicrotask(() => started(undefined))
  }

  onEnd(listener: (end: End) => void): void {
    if (this.end === undefined) this.listeners.push(listener)
    else listener(this.end)
  }

  get ended(): boolean {
    return this.end !== undefined
  }

  /** TERM, KILL after `grace` milliseconds, and back when the group is gone. */
  stop(grace: number, stopped: (end: End) => void): void {
    let timer: NodeJS.Timeout | undefined
    if (this.status === undefined) {
      this.unwanted = true
      this.stopping = true
      this.kill("SIGTERM")
      this.kill("SIGCONT") // who is stopped could not obey
      timer = setTimeout(
        () => {
          this.stopping = false
          this.kill("SIGKILL")
        },
        Math.min(grace, longest)
      )
    }
    this.onEnd((end) => {
      clearTimeout(timer)
      stopped(end)
    })
  }

  /** Signals the group while a process is in it: after that, its number may be that of another group. */
  kill(signal: NodeJS.Signals): void {
    if (this.groupGone) return
    signalGroup(this.child!.pid!, signal)
    if (signal === "SIGKILL" && this.status === undefined) {
      // an event loop that was blocked for longer first handles the exit of the program
      this.givingUp ??= setTimeout(() => setImmediate(() => this.giveUp()), groupGrace)
    }
  }

  // ---------------------------------------------------------------------------------------------------------- private

  private stdio(cwd: string, opened: Array<number>): Array<"ignore" | "pipe" | number> {
    const { capture } = this.program
    const open = (stream: Stream, name: string): number => {
      const file = path.resolve(cwd, name)
      this.paths[stream] = file
      const how = { append: capture.append, exclusive: this.launch.exclusive?.includes(stream) === true }
      if (capture.makeDirectories) fs.mkdirSync(path.dirname(file), { recursive: true })
      return openOutput(file, how)
    }
    const output = (): number | "pipe" => {
      if (capture.stdout === undefined) {
        if (capture.mergeStderr) this.file = openNameless()
        return this.file ?? "pipe"
      }
      const fd = open("stdout", capture.stdout)
      if (capture.wanted) {
        this.file = fd
        if (capture.append) this.before = fs.fstatSync(fd).size
      } else opened.push(fd)
      return fd
    }
    const error = (out: number | "pipe"): number | "pipe" => {
      if (capture.mergeStderr) return out
      if (capture.stderr === undefined) return "pipe"
      if (this.paths.stdout === path.resolve(cwd, capture.stderr)) {
        // opened twice, one stream would overwrite the other
        this.paths.stderr = this.paths.stdout
        return out
      }
      const fd = open("stderr", capture.stderr)
      opened.push(fd)
      return fd
    }
    const input = standardInput(this.program.stdin, cwd, opened)
    this.opening = "output"
    const out = output()
    return [input, out, error(out), ...(this.program.preExec.length > 0 ? (["pipe"] as const) : [])]
  }

  private keep(stream: Stream, source: Readable | null): void {
    const { overflow } = this.program.capture
    const { untaken, kept, launch } = this
    source?.on("data", (chunk: Buffer) => {
      if (launch.live !== undefined) {
        untaken[stream] += chunk.length
        if (untaken[stream] > window) source.pause()
        launch.live.give({ stream, bytes: chunk }, () => {
          untaken[stream] -= chunk.length
          if (untaken[stream] <= window) source.resume()
        })
      } else if (!kept[stream].add(chunk) && overflow !== "truncate") this.overflowed(stream)
    })
  }

  private get held(): boolean {
    return this.end === undefined && (this.untaken.stdout > window || this.untaken.stderr > window)
  }

  private get program(): Executable {
    return this.launch.program
  }

  private overflowed(stream: Stream): void {
    this.overflow ??= stream
    this.unwanted = true
    this.kill("SIGKILL")
  }

  /** Gives up on pipes that others hold. */
  private drop(): void {
    for (const stream of this.child!.stdio) stream?.destroy()
  }

  /** KILL has not ended it: it runs as another user, or hangs in the system. */
  private giveUp(): void {
    if (this.status !== undefined) return
    this.status = { code: null, signal: "SIGKILL" }
    this.survivors = true
    this.drop()
    this.child!.unref()
    this.settle()
  }

  private leaveGroup(): void {
    this.groupGone = true
    this.keeper.remove(this.child!.pid!)
  }

  /** Bounded once the group was killed: the system has to reap it. */
  private whenGroupGone(gone: () => void, graceful = this.stopping, waited = 0, next = 1): void {
    if (graceful && !this.stopping) {
      this.whenGroupGone(gone)
      return
    }
    const lives = groupLeft(this.child!.pid!, waited)
    if (lives && (graceful || waited < groupGrace)) {
      setTimeout(() => this.whenGroupGone(gone, graceful, waited + next, Math.min(2 * next, groupInterval)), next)
    } else {
      this.survivors = lives
      this.leaveGroup()
      gone()
    }
  }

  private settle(): void {
    clearInterval(this.sizeTimer)
    this.end = this.result()
    if (this.file !== undefined) fs.closeSync(this.file)
    for (const listener of this.listeners) listener(this.end)
    this.listeners.length = 0
  }

  private result(): End {
    const { capture, cwd } = this.program
    const status = this.status!
    let stdout: Uint8Array | undefined
    let unreadable: string | undefined
    try {
      stdout = this.read()
    } catch (cause) {
      unreadable = (cause as Error).message
    }
    const { kept, overflow, unwanted } = this
    return Either.right({
      ...exitOf(status),
      ...(stdout === undefined ? {} : { stdout }),
      // of what is not wanted any more the end is enough
      stderr: unwanted ? kept.stderr.tail() : kept.stderr.whole(),
      stdoutPath: this.paths.stdout,
      stderrPath: this.paths.stderr ?? (capture.mergeStderr ? this.paths.stdout : undefined),
      ...(capture.overflow === "truncate" ? beyond(kept) : {}),
      ...this.cut,
      ...(overflow === undefined ? {} : { overflow }),
      ...(this.survivors ? { survivors: true } : {}),
      ...(unreadable === undefined ? {} : { unreadable }),
      cwd: path.resolve(cwd ?? "."),
      ...(this.program.preExec.length === 0 ? {} : notReached(this.program, this.reported, exitOf(status))),
      wallMillis: performance.now() - this.startedAt
    })
  }

  /** Standard output from where it was kept; undefined when it is in a file and was not asked for. */
  private read(): Uint8Array | undefined {
    const { before, file: fd, kept, paths, unwanted } = this
    if (fd === undefined) {
      if (paths.stdout !== undefined) return undefined
      return unwanted ? kept.stdout.tail() : kept.stdout.whole()
    }
    const { limit, overflow } = this.program.capture
    const size = fs.fstatSync(fd).size - before
    if (size > limit) {
      if (overflow !== "truncate" || paths.stdout !== undefined) this.overflow = "stdout"
      if (paths.stdout !== undefined) return undefined
      const tail = readFrom(fd, before + Math.max(0, size - tailSize), before + size)
      if (unwanted || this.overflow !== undefined) return tail
      this.cut = { dropped: { stdout: size - limit }, stdoutTail: tail }
    }
    return readFrom(fd, before + (unwanted ? Math.max(0, size - tailSize) : 0), before + Math.min(size, limit))
  }
}
