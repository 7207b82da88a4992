/** The process between this one and a Dask scheduler. Callbacks only; the driver makes Effects of them. */
import type { Lost } from "../bridge/channel.js"
import { Channel } from "../bridge/channel.js"
import type { Message } from "../bridge/frame.js"
import { argumentsFor, rest, small } from "../launch/python.js"
import type { Flight } from "./flight.js"
import type { Hello, Unserved, Worker } from "./messages.js"
import { isHello, isOfBridge, isOfTask } from "./messages.js"
import type { Place } from "./place.js"
import { load } from "./source.js"

/** A cluster that runs already. */
export interface Joined {
  readonly address: string
  /** Files of PEM. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key?: string } | undefined
}

/** A cluster that the bridge starts and closes. */
export interface Own {
  readonly local: {
    /** As `LocalCluster` takes them. */
    readonly options: Readonly<Record<string, unknown>>
    /** What its workers have beside what they have by themselves. */
    readonly resources: Readonly<Record<string, number>>
    readonly insecure: boolean
  }
}

export interface Options {
  readonly python: string
  readonly env: NodeJS.ProcessEnv
  /** Names this backend's side on scheduler and workers: no other has it. */
  readonly name: string
  readonly cluster: Joined | Own
  /** Milliseconds that the scheduler may take to answer. */
  readonly timeout: number
  readonly path: ReadonlyArray<string>
  readonly resultLimit: number
  /** Milliseconds that a task waits while no worker can take it. */
  readonly noWorkersTimeout: number
  /** Milliseconds after which a worker takes a silent launch agent for dead. */
  readonly agentSilence?: number
}

/** Why there is no bridge to a cluster. */
export type Failure =
  | { readonly _tag: "Process"; readonly lost: Lost }
  | { readonly _tag: "Missing"; readonly hello: Hello }
  | { readonly _tag: "Wrong"; readonly key: string; readonly reason: "option" | "engine"; readonly message: string }

export interface Opened {
  readonly hello: Hello
  readonly address: string
  readonly dashboard: string
}

/** A task's way into Dask: its place and what it carries. */
export interface Loaded {
  readonly flight: Flight
  readonly call: "call" | "launch"
  readonly place: Place
  readonly item: Uint8Array
}

const silence = 15_000
/** Bytes of one message at most, but for a task that is longer by itself. */
const message = 4 * 1024 * 1024

export class Bridge {
  readonly flights = new Map<number, Flight>()
  private readonly channel: Channel
  private readonly asking = new Map<number, (workers: ReadonlyArray<Worker> | undefined) => void>()
  private serial = 0
  private hello: Hello | undefined
  private ready = false
  private held = true

  /**
   * `opened` is called once: when there is a cluster, or with why there is none; `lost` when it ends after that;
   * `unserved` when the number of tasks that no worker can take has changed.
   */
  constructor(
    options: Options,
    private readonly opened: (result: Opened | Failure) => void,
    private readonly lost: (message: string) => void,
    private readonly unserved: (found: Unserved) => void
  ) {
    const { agent, agentArguments, bridge, module, remote } = load()
    const { agentSilence = silence, cluster, env, name, path, python, resultLimit, timeout } = options
    this.channel = new Channel({
      command: python,
      // isolated from the current directory and from variables, but for one that says what is written
      args: argumentsFor(
        "effect-rhapsody bridge to Dask",
        bridge,
        env["PYTHONDONTWRITEBYTECODE"] ? ["-I", "-B"] : ["-I"]
      ),
      env: small(env),
      source: bridge,
      hello: {
        rest: rest(env),
        pid: process.pid,
        name,
        module,
        source: remote,
        cluster:
          "local" in cluster ? { local: { ...cluster.local, surroundings: { env, pid: process.pid } } } : cluster,
        certificates: "local" in cluster && !cluster.local.insecure,
        timeout,
        patience: Number.isFinite(options.noWorkersTimeout) ? options.noWorkersTimeout / 1000 : null,
        worker: { path, resultLimit, agent, agentArguments, agentSilence: agentSilence / 1000 }
      },
      silence,
      onOpen: (hello) => {
        if (!isHello(hello)) throw new RangeError("a bridge that is none")
        this.hello = hello
        if (hello.missing !== undefined) this.fail({ _tag: "Missing", hello })
      },
      onMessage: (message) => this.receive(message),
      onLost: (why) => {
        if (this.ready) this.end(why.message)
        else this.fail({ _tag: "Process", lost: why })
      }
    })
  }

  get alive(): boolean {
    return this.ready && this.channel.alive
  }

  /** Tasks of the same place go together. */
  submit(all: ReadonlyArray<Loaded>): void {
    const groups = new Map<string, Array<Loaded>>()
    for (const one of all) {
      this.flights.set(one.flight.id, one.flight)
      const group = `${one.call}${JSON.stringify(one.place)}`
      const members = groups.get(group)
      if (members === undefined) groups.set(group, [one])
      else members.push(one)
    }
    this.hold()
    for (const members of groups.values()) {
      let from = 0
      let size = 0
      for (let i = 0; i < members.length; i++) {
        const { length } = members[i]!.item
        if (i > from && size + length > message) {
          this.sendTasks(members.slice(from, i))
          from = i
          size = 0
        }
        size += length
      }
      this.sendTasks(members.slice(from))
    }
  }

  private sendTasks(members: ReadonlyArray<Loaded>): void {
    const { call, place } = members[0]!
    this.channel.send(
      {
        type: "submit",
        call,
        settings: place,
        ids: members.map(({ flight }) => flight.id),
        keys: members.map(({ flight }) => flight.key)
      },
      members.map(({ item }) => item)
    )
  }

  /** `grace` in milliseconds; of `abandon` are those that cannot be stopped and shall not be waited for. */
  cancel(ids: ReadonlyArray<number>, grace: number, deaf: "wait" | "abandon" | "restart"): void {
    if (ids.length > 0) this.channel.send({ type: "cancel", ids, grace: Math.min(grace, 1e12), deaf })
  }

  /** To the launch agent that runs a program. */
  say(worker: string, frame: Uint8Array): void {
    this.channel.send({ type: "say", worker }, [frame])
  }

  /** The workers of now; undefined when the bridge ended before. */
  ask(answered: (workers: ReadonlyArray<Worker> | undefined) => void): void {
    if (!this.alive) {
      answered(undefined)
      return
    }
    const ask = ++this.serial
    this.asking.set(ask, answered)
    this.hold()
    this.channel.send({ type: "ask", ask })
  }

  close(closed: () => void): void {
    this.ready = false
    this.forget()
    this.channel.close(closed)
  }

  // ---------------------------------------------------------------------------------------------------------- private

  private receive({ blobs, header }: Message): void {
    const { id } = header as { readonly id?: unknown }
    if (typeof id === "number") {
      // one that ended, or was given up, may still be spoken of
      const flight = this.flights.get(id)
      if (flight === undefined || !this.hear(flight, header, blobs)) return
      this.flights.delete(id)
      this.hold()
      return
    }
    if (!isOfBridge(header)) throw new RangeError(`a message that is none: ${JSON.stringify(header).slice(0, 200)}`)
    switch (header.type) {
      case "ready": {
        this.ready = true
        this.hold()
        const { address, dashboard } = header
        this.opened({ hello: this.hello!, address, dashboard })
        break
      }
      case "wrong":
        this.fail({ _tag: "Wrong", key: header.key, reason: header.reason, message: header.message })
        break
      case "answer":
        this.asking.get(header.ask)?.(header.workers)
        this.asking.delete(header.ask)
        this.hold()
        break
      case "unserved":
        this.unserved(header)
        break
      case "lost":
        this.end(header.message)
    }
  }

  /** This process goes on as long as somebody waits for an answer of the bridge. */
  private hold(): void {
    const wanted = this.flights.size > 0 || this.asking.size > 0
    if (wanted === this.held) return
    this.held = wanted
    this.channel.ref(wanted)
  }

  /** True when that was its last word. What is wrong about one task ends that one. */
  private hear(flight: Flight, header: unknown, blobs: ReadonlyArray<Uint8Array>): boolean {
    try {
      if (isOfTask(header)) return flight.hear(header, blobs)
      flight.garbled(`its worker sent a message that is not understood: ${JSON.stringify(header).slice(0, 200)}`)
    } catch (cause) {
      flight.garbled(`what its worker sent cannot be used: ${(cause as Error).message}`)
    }
    this.cancel([flight.id], 0, "abandon")
    return true
  }

  private fail(failure: Failure): void {
    this.opened(failure)
  }

  private end(message: string): void {
    if (!this.ready) return
    this.ready = false
    this.forget()
    this.lost(message)
  }

  private forget(): void {
    for (const { live } of this.flights.values()) live?.exit(undefined)
    this.flights.clear()
    for (const answered of this.asking.values()) answered(undefined)
    this.asking.clear()
  }
}
