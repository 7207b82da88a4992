/**
 * A process that speaks in frames over its standard streams: start, handshake, messages both ways, heartbeat, end.
 * Callbacks only; who uses it makes Effects of them.
 *
 * Whoever is silent for too long is taken for dead. That is measured in real time, for it concerns real processes: a
 * `TestClock` does not move it.
 */
import type { ChildProcess } from "node:child_process"
import { spawn } from "node:child_process"
import { untilReleased } from "../launch/startKeeper.js"
import type { Message } from "./frame.js"
import { Decoder, encode, protocol } from "./frame.js"
import type { Identity } from "./remains.js"
import { identityOf, killTree, signal } from "./remains.js"
import { outline } from "./traceback.js"

/** Why a channel ended, or never began. */
export interface Lost {
  readonly reason: "NotStarted" | "Exited" | "Silent" | "Protocol"
  readonly message: string
  /** Whether all that it had started is known to be gone. */
  readonly stopped: boolean
}
type Reason = Omit<Lost, "stopped">

/** The clock and the timer of a channel: a test puts its own here. */
export interface Time {
  readonly now: () => number
  /** Calls again and again, and keeps no process alive; the answer stops it. */
  readonly every: (millis: number, call: () => void) => () => void
}

export const systemTime: Time = {
  now: () => performance.now(),
  every: (millis, call) => {
    const timer = setInterval(call, millis)
    timer.unref()
    return () => clearInterval(timer)
  }
}

export interface Options {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env: NodeJS.ProcessEnv
  /** The program, which its bootstrap reads from standard input. */
  readonly source: string
  /** What this side says first, beside the version of the protocol. */
  readonly hello: Readonly<Record<string, unknown>>
  /** Milliseconds without a word after which the other side is taken for dead. */
  readonly silence: number
  readonly time?: Time
  /** Milliseconds that its process may take to end after its streams were closed; then it is ended with all below it. */
  readonly exitGrace?: number
  /** The other side's own hello. */
  readonly onOpen: (hello: Readonly<Record<string, unknown>>) => void
  readonly onMessage: (message: Message) => void
  /** Once, when what it had started is gone or cannot be ended, unless the channel was closed from here. */
  readonly onLost: (lost: Lost) => void
}

/** How long the other side may take to say its first word: an interpreter on a cold network file system is slow. */
const patience = 30_000
const defaultExitGrace = 12_000
/** The same where it has not even said hello, and so has nothing to end. */
const startGrace = 1_000
/** With this code a keeper ends that could not end everything. */
const unswept = 9

export class Channel {
  private readonly child: ChildProcess
  private readonly decoder = new Decoder()
  private readonly time: Time
  private out: Array<Buffer> = []
  private open = false
  private over = false
  private exited = false
  private ended = false
  private finished = false
  /** It is known that nothing is left of what was started there. */
  private swept = false
  /** The other process of the pair: the child is its keeper. */
  private peer: Identity | undefined
  private reason: Reason | undefined
  private timer: NodeJS.Timeout | undefined
  private tail = ""
  private heardAt: number
  private asked = 0
  private readonly stopTimer: () => void
  /** Until it has said hello, it may not watch for the end of this process itself. */
  private readonly release: () => void
  private readonly closers: Array<() => void> = []

  constructor(private readonly options: Options) {
    this.time = options.time ?? systemTime
    this.heardAt = this.time.now()
    const { args, command, env, source } = options
    // a session of its own: what is typed at this one's terminal is not for it
    const start = () => spawn(command, args, { env, stdio: ["pipe", "pipe", "pipe"], detached: true })
    ;({ child: this.child, release: this.release } = untilReleased(start))
    const { stderr, stdin, stdout } = this.child
    this.stopTimer = this.time.every(options.silence / 4, () => this.beat())
    this.child.once("error", (cause) => {
      this.exited = true
      this.lose({ reason: "NotStarted", message: cause.message })
    })
    if (this.child.pid === undefined) return
    stdin!.on("error", () => {}) // its end is told by the exit
    stdout!.on("error", () => {})
    stdin!.write(source)
    this.send({ type: "hello", protocol, ...options.hello })
    stdout!.on("data", (chunk: Buffer) => this.receive(chunk))
    stdout!.once("end", () => {
      this.ended = true
    })
    stderr!.on("data", (chunk: Buffer) => {
      this.tail = (this.tail + chunk.toString()).slice(-4096)
    })
    this.child.once("close", (code, signal) => {
      const how = signal === null ? `exited with code ${code}` : `was killed by ${signal}`
      // once it has tasks, their values may be in what it prints
      const said = this.open ? outline(this.tail) : this.tail.trimEnd()
      this.lose({
        reason: this.open ? "Exited" : "NotStarted",
        message: `${command} ${how}${said === "" ? "" : `; its stderr ends with:\n${said}`}`
      })
    })
    this.child.once("exit", (code) => {
      this.exited = true
      this.swept ||= code !== null && code !== unswept
      if (this.over) this.finish()
      // killed: its peer ends what is left, unless it was stopped
      else if (!this.swept) signal(this.peer, "SIGCONT")
    })
  }

  /** What was sent goes out now, and not at the end of this turn. */
  flush(): void {
    const { out } = this
    if (out.length === 0) return
    this.out = []
    if (this.over) return
    this.child.stdin!.write(out.length === 1 ? out[0]! : Buffer.concat(out))
  }

  /** Frames of one turn go out together. Throws a RangeError at a message that is too long for a frame. */
  send(header: object, blobs?: ReadonlyArray<Uint8Array>): void {
    if (this.over) return
    this.out.push(encode(header, blobs))
    if (this.out.length === 1) queueMicrotask(() => this.flush())
  }

  /** Whether it answers. Its loss is told a little later, with what it said last. */
  get alive(): boolean {
    return this.open && !this.over && !this.exited && !this.ended
  }

  /** Whether this process waits for it. */
  ref(wanted: boolean): void {
    const { stderr, stdin, stdout } = this.child
    const handles = [this.child, stdin, stdout, stderr] as unknown as ReadonlyArray<{
      readonly destroyed?: boolean
      ref(): void
      unref(): void
    } | null>
    for (const handle of handles) {
      // of one that has ended Node would wait for a connection, with a listener for each call
      if (handle === null || handle.destroyed === true) continue
      if (wanted) handle.ref()
      else handle.unref()
    }
  }

  /** Hangs up. The other side ends what it has; `closed` is called when its process has ended. */
  close(closed: () => void): void {
    if (this.finished) {
      closed()
      return
    }
    this.closers.push(closed)
    if (this.over) return
    this.over = true
    this.hangUp()
  }

  // ---------------------------------------------------------------------------------------------------------- private

  private receive(chunk: Buffer): void {
    if (this.over) return
    this.heardAt = this.time.now()
    this.asked = 0
    try {
      this.decoder.feed(chunk, (message) => {
        if (this.over) return
        if (this.open) {
          const { type } = message.header as { readonly type?: unknown }
          if (type === "swept") this.swept = true
          else if (type !== "pong") this.options.onMessage(message)
          return
        }
        const hello = message.header as Readonly<Record<string, unknown>>
        if (hello["type"] !== "hello" || hello["protocol"] !== protocol) {
          throw new RangeError(`protocol ${String(hello["protocol"])}, and ${protocol} is spoken here`)
        }
        this.open = true
        this.release()
        if (typeof hello["pid"] === "number") this.peer = identityOf(hello["pid"])
        this.options.onOpen(hello)
      })
    } catch (cause) {
      this.lose({ reason: "Protocol", message: `${this.options.command}: ${(cause as Error).message}` })
    }
  }

  private beat(): void {
    if (this.over) return
    const silent = this.time.now() - this.heardAt
    if (!this.open) {
      if (silent > patience) this.lose({ reason: "NotStarted", message: `${this.options.command} did not answer` })
      return
    }
    // asked several times: when this process itself was stopped or busy, its own silence is not the other's
    if (silent > this.options.silence && this.asked >= 3) {
      const message = `${this.options.command} said nothing for ${Math.round(silent)} ms`
      this.lose({ reason: "Silent", message })
      return
    }
    this.asked++
    this.send({ type: "ping" })
  }

  private lose(reason: Reason): void {
    if (this.over) return
    this.over = true
    this.reason = reason
    this.hangUp()
  }

  /** Both are continued, for who is stopped ends nothing; what they do not end in time is ended from here. */
  private hangUp(): void {
    this.stopTimer()
    this.out = []
    this.child.stdin?.destroy()
    this.child.stdout?.destroy()
    this.signal("SIGCONT")
    const keeper = this.exited ? undefined : identityOf(this.child.pid!)
    const { exitGrace = defaultExitGrace } = this.options
    this.timer = setTimeout(() => this.force(keeper), this.open ? exitGrace : startGrace)
    const ended = () => {
      if (this.signal(0)) return
      clearTimeout(this.timer)
      this.release()
    }
    if (this.exited) {
      ended()
      this.finish()
    } else this.child.once("exit", ended)
    if (!this.open) this.report()
  }

  private force(keeper: Identity | undefined): void {
    const pair = [keeper, this.peer].flatMap((one) => one ?? [])
    killTree(pair, (clean) => {
      this.swept ||= clean
      // with all that it has started in its group: an interpreter may be a script that starts another
      this.signal("SIGKILL")
      this.release()
    })
  }

  /** To its group; false when no process is in it. */
  private signal(signal: NodeJS.Signals | 0): boolean {
    try {
      process.kill(-this.child.pid!, signal)
      return true
    } catch (cause) {
      return (cause as NodeJS.ErrnoException).code === "EPERM"
    }
  }

  /** The keeper is gone; what it did not end, because it was killed itself, is ended from here. */
  private finish(): void {
    if (!this.open || this.swept || this.peer === undefined) this.gone()
    else {
      killTree([this.peer], (clean) => {
        this.swept = clean
        this.gone()
      })
    }
  }

  private gone(): void {
    if (this.finished) return
    this.finished = true
    if (this.open) clearTimeout(this.timer) // its number may be another's by then
    this.report()
    for (const closed of this.closers.splice(0)) closed()
  }

  private report(): void {
    const { reason } = this
    this.reason = undefined
    if (reason !== undefined) this.options.onLost({ ...reason, stopped: this.swept || !this.open })
  }
}
