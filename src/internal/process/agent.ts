/**
 * One launch agent: a process that starts programs, watches them and reports how they ended (agent.py). Callbacks only;
 * the launcher makes Effects of them.
 */
import * as path from "node:path"
import * as Either from "effect/Either"
import type { ChannelLoss, Time } from "../bridge/channel.js"
import { Channel } from "../bridge/channel.js"
import type { Message } from "../bridge/frame.js"
import { killSessions } from "../bridge/remains.js"
import { sourceOf } from "../sources.js"
import { ended } from "./agentEnd.js"
import { launchFailed } from "./exit.js"
import type { Launch } from "./launcher.js"
import { valueOf } from "./launcher.js"
import type { FromAgent } from "./messages.js"
import { isFromAgent } from "./messages.js"
import type { End, ProcessHandle, Stream } from "./processHandle.js"
import { argumentsFor, small } from "./python.js"
import { tooLong, unstarted } from "./unstarted.js"

/** How much of a standard input goes out at a time. */
const inputChunk = 256 * 1024

/** Milliseconds that are as good as for ever: JSON knows no infinity. */
const longest = 1e12

/** Of this process; undefined when it was removed. */
const directory = (): string | undefined => {
  try {
    return process.cwd()
  } catch {
    return undefined
  }
}

const encoder = new TextEncoder()

const beginning = (header: unknown): string => JSON.stringify(header).slice(0, 200)

export interface Options {
  readonly python: string
  readonly env: NodeJS.ProcessEnv
  /** Milliseconds after which a silent agent is taken for dead, and this process by the agent. */
  readonly silence: number
  readonly orchestratorSilence: number
  readonly time?: Time
}

/** In the order of their numbers. */
const files = ["processes", "files", "starting", "output", "ending", "detached", "agent", "keeper"].map(
  (name) => `process/agent/${name}`
)
let source: string | undefined
export const agentSource = (): string => (source ??= sourceOf("bridge/frame", ...files))

/** A program that this process's agent was asked to start. */
export class AgentProgram implements ProcessHandle {
  /** Output reported before its end. */
  readonly chunks: Record<Stream, Array<Uint8Array>> = { stdout: [], stderr: [] }
  input: Uint8Array | undefined
  sent = 0
  /** It was asked to stop. */
  unwanted = false
  end: End | undefined
  /** Its end, once something that was said of it could not be used: it is stopped, and ends with this. */
  garbled: End | undefined
  /** Absolute, once it was asked for. */
  cwd = ""
  paths: Readonly<Record<Stream, string | undefined>> = { stdout: undefined, stderr: undefined }
  /** Of its session as well. */
  pid: number | undefined
  private listener: (() => void) | undefined

  constructor(
    readonly agent: Agent,
    readonly id: number,
    readonly launch: Launch
  ) {}

  /** Throws where this process has no working directory any more, and one is needed. */
  resolve(): void {
    const { capture, cwd } = this.launch.program
    this.cwd = path.resolve(cwd ?? ".")
    const resolved = (file: string | undefined) => (file === undefined ? undefined : path.resolve(this.cwd, file))
    this.paths = { stdout: resolved(capture.stdout), stderr: resolved(capture.stderr) }
  }

  pathOf(file: string): string {
    return path.resolve(this.cwd, file)
  }

  get home(): string | undefined {
    return this.agent.home
  }

  /** Called once, when it has ended. */
  onEnd(listener: () => void): void {
    this.listener = listener
  }

  notify(): void {
    this.listener?.()
  }
}

export class Agent {
  readonly running = new Map<number, AgentProgram>()
  private readonly channel: Channel
  private serial = 0
  readonly home = directory()
  private readonly inherited: NodeJS.ProcessEnv

  /** `opened` is called when it is ready, or with why it never will be; `lost` when it ends after that. */
  constructor(
    { env, orchestratorSilence, python, silence, time }: Options,
    opened: (lost: ChannelLoss | undefined) => void,
    lost: (lost: ChannelLoss) => void
  ) {
    let open = false
    this.inherited = env
    const source = agentSource()
    this.channel = new Channel({
      command: python,
      args: argumentsFor("effect-rhapsody launch agent", source),
      env: small(env),
      source,
      // the environment once more: the interpreter's name may be that of a script that changes it
      hello: { silence: orchestratorSilence, env, pid: process.pid },
      silence,
      ...(time === undefined ? {} : { time }),
      onOpen: () => {
        open = true
        this.channel.ref(false)
        opened(undefined)
      },
      onMessage: (message) => this.receive(message),
      onLost: (why) => {
        this.endAll(why.message, why.stopped)
        if (open) lost(why)
        else opened(why)
      }
    })
  }

  /** Asks the agent to start a program; one that cannot be asked for has its end at once, with the reason. */
  start(launch: Launch): AgentProgram {
    const running = new AgentProgram(this, ++this.serial, launch)
    if (!this.channel.alive) {
      running.end = Either.left({ reason: "Lost", details: { message: "its launch agent has just ended" } })
      return running
    }
    try {
      const { blobs, header } = request(running)
      this.channel.send(header, blobs)
    } catch (cause) {
      // longer than a frame, as no arguments may be; or this process has no working directory any more
      running.end = Either.left(
        cause instanceof RangeError
          ? tooLong(launch, this.inherited, cause)
          : launchFailed((cause as Error).message, { errno: (cause as NodeJS.ErrnoException).code, cause })
      )
      return running
    }
    if (this.running.size === 0) this.channel.ref(true)
    this.running.set(running.id, running)
    launch.early?.listen((type) => {
      this.channel.send({ type, id: running.id })
      // a program that comes before it may free, in this very turn, the slot that it would take
      if (type === "hold") this.channel.flush()
    })
    return running
  }

  /** TERM, KILL after `grace` milliseconds; its end reports that it is gone. */
  cancel(running: AgentProgram, grace: number): void {
    running.unwanted = true
    this.channel.send({ type: "cancel", id: running.id, grace: Math.min(grace, longest) })
  }

  get alive(): boolean {
    return this.channel.alive
  }

  killAll(): void {
    for (const running of this.running.values()) this.cancel(running, 0)
  }

  close(closed: () => void): void {
    this.channel.close(() => {
      this.endAll("its launch agent was closed", true)
      closed()
    })
  }

  // ---------------------------------------------------------------------------------------------------------- private

  private endAll(message: string, stopped: boolean): void {
    const details = { message, ...(stopped ? {} : { stopped: false }) }
    if (!stopped) killSessions(new Map([...this.running.values()].map(({ launch, pid }) => [pid, launch.uid])))
    for (const running of this.running.values()) this.end(running, Either.left({ reason: "Lost", details }))
  }

  private end(running: AgentProgram, end: End): void {
    running.end = end
    this.running.delete(running.id)
    if (this.running.size === 0) this.channel.ref(false)
    running.notify()
  }

  /** What is wrong about one program ends that one; a message about none of them may have been the end of any. */
  private receive({ blobs, header }: Message): void {
    const { id } = header as { readonly id?: unknown }
    if (typeof id !== "number") throw new RangeError(`a message that names no program: ${beginning(header)}`)
    const running = this.running.get(id)
    if (running === undefined) return // it has ended
    try {
      if (!isFromAgent(header)) throw new RangeError(`it is not understood: ${beginning(header)}`)
      this.hear(running, header, blobs)
    } catch (cause) {
      this.garble(running, cause as Error)
    }
  }

  /** Its agent answers with its end, or that it knows of none: the program is gone then. */
  private garble(running: AgentProgram, cause: Error): void {
    const message = `a message of its launch agent cannot be used: ${cause.message}`
    running.garbled ??= Either.left({ reason: "Lost", details: { message }, cause })
    this.cancel(running, 0)
  }

  private hear(running: AgentProgram, message: FromAgent, blobs: ReadonlyArray<Uint8Array>): void {
    switch (message.type) {
      case "started":
        this.started(running, message.pid)
        break
      case "dropped":
        this.end(
          running,
          running.garbled ?? Either.left({ reason: "Lost", details: { message: "it was not started" } })
        )
        break
      case "failed":
        this.end(running, running.garbled ?? Either.left(unstarted(message)))
        break
      case "garbled":
        throw new RangeError(message.message)
      case "output":
        this.output(running, message.stream, blobs)
        break
      case "need":
        this.channel.send({ type: "input", id: running.id, ...feed(running) }, [next(running)])
        break
      case "ended":
        // before: it has the slot of the one that ended
        if (message.next !== undefined) this.started(this.running.get(message.next), message.pid)
        this.end(running, running.garbled ?? ended(running, message, blobs))
    }
  }

  private started(running: AgentProgram | undefined, pid: number | undefined): void {
    if (running === undefined) return
    running.pid = pid
    running.launch.started()
  }

  private output(running: AgentProgram, stream: Stream, blobs: ReadonlyArray<Uint8Array>): void {
    const { live } = running.launch
    // of a stream with a path comes what is read back at the end
    if (live === undefined || running.paths[stream] !== undefined) {
      for (const bytes of blobs) running.chunks[stream].push(bytes)
      return
    }
    for (const bytes of blobs) {
      live.give({ stream, bytes }, () => {
        this.channel.send({ type: "taken", id: running.id, stream, size: bytes.length })
      })
    }
  }
}

// ---------------------------------------------------------------------------------------------------- what it is asked

const nothing = new Uint8Array()

/** The next piece of a standard input. */
export const next = (running: ProcessHandle): Uint8Array => {
  const from = running.sent
  running.sent = Math.min(from + inputChunk, running.input!.length)
  return running.input!.subarray(from, running.sent)
}

/** Whether that was the last; called before `next`. */
export const feed = (running: ProcessHandle) => ({ last: running.sent + inputChunk >= running.input!.length })

export const request = (running: ProcessHandle): { readonly header: object; readonly blobs: Array<Uint8Array> } => {
  running.resolve()
  const { env, program } = running.launch
  const { capture, rlimits, nice, stdin } = program
  const blobs: Array<Uint8Array> = []
  const part = (text: string | Uint8Array) => (typeof text === "string" ? text : blobs.push(text) - 1)
  const variables: Array<readonly [string, string | number | null]> = Object.entries(env)
  for (const name in program.env) {
    const value = valueOf(running.launch, name, program.env[name])
    variables.push([name, value === undefined ? null : part(value)])
  }
  const header: Record<string, unknown> = {
    type: "launch",
    id: running.id,
    uid: running.launch.uid,
    argv: [part(program.executable), ...program.args.map(part)],
    env: variables,
    limit: capture.limit
  }
  // the agent is where this process was, and can be there even where no process may enter any more
  if (running.cwd !== running.home) header["cwd"] = running.cwd
  if (stdin !== undefined) {
    if (typeof stdin === "string" || stdin instanceof Uint8Array) {
      running.input = typeof stdin === "string" ? encoder.encode(stdin) : stdin
      header["last"] = feed(running).last
      header["stdin"] = blobs.push(running.input.length === 0 ? nothing : next(running)) - 1
    } else {
      header["stdinFile"] = running.pathOf(stdin.file)
    }
  }
  const word = running.launch.early?.permission ?? "go"
  if (word !== "go") header["early"] = word
  const setup: Record<string, unknown> = {}
  if (rlimits !== undefined) setup["limits"] = rlimits
  if (nice !== undefined) setup["nice"] = nice
  if (Object.keys(setup).length > 0) header["setup"] = setup
  if (running.launch.sandbox !== undefined) {
    header["sandbox"] = running.launch.sandbox
    if (running.launch.freshSandbox === true) header["freshSandbox"] = true
  }
  if (program.orphans === "detach") header["detach"] = true
  if (running.launch.live !== undefined) header["live"] = true
  if (program.preExec.length > 0) header["prepared"] = true
  if (capture.overflow === "truncate") header["truncate"] = true
  const { stderr, stdout } = running.paths
  if (stdout !== undefined || stderr !== undefined) {
    if (running.launch.exclusive !== undefined) header["exclusive"] = running.launch.exclusive
    if (capture.append) header["append"] = true
    if (capture.makeDirectories) header["makeDirectories"] = true
  }
  if (stdout !== undefined) {
    header["stdout"] = stdout
    if (capture.wanted) header["readBack"] = true
  }
  // opened twice, one stream would overwrite the other
  if (capture.mergeStderr || (stderr !== undefined && stderr === stdout)) header["merged"] = true
  else if (stderr !== undefined) header["stderr"] = stderr
  return { header, blobs }
}
