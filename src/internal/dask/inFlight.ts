/** An attempt on its way through Dask: what its task is made of there, and what is done with what the bridge reports of it. */
import * as path from "node:path"
import * as Either from "effect/Either"
import type { AttemptKey, LocalHooks, ProcessExit, Spec, Update } from "../../Driver.js"
import { Outcome, taskError } from "../../Driver.js"
import { BackendError } from "../../Errors.js"
import { encode } from "../bridge/frame.js"
import { feed, next, request } from "../process/agent.js"
import { ended } from "../process/agentEnd.js"
import type { Chunk, Launch, LaunchFailure } from "../process/launcher.js"
import type { ProcessHandle } from "../process/processHandle.js"
import { unstarted } from "../process/unstarted.js"
import type { Ended, OfTask } from "./messages.js"

/** An update of one attempt, without its name. */
export type UpdateBody = Update extends infer U ? (U extends AttemptKey ? Omit<U, keyof AttemptKey> : never) : never

type Stream = Chunk["stream"]
export type End = Either.Either<ProcessExit, LaunchFailure>

/** What of it is said to whom. */
export interface Listener {
  /** To the engine of this library. */
  readonly say: (inFlight: AttemptInFlight, said: UpdateBody) => void
  /** To the worker that it runs on. */
  readonly answer: (inFlight: AttemptInFlight, frame: Uint8Array) => void
  /** Why a task ends that no worker could take for too long. */
  readonly unserved: (workers: number) => string
}

const type = "dask"

export type Kinds = "executable" | "python"

export class AttemptInFlight {
  /** The worker that it runs on, once it does. */
  worker: string | undefined
  /** It runs, and nothing can end it but its own end. */
  deaf = false
  asked: WorkerProgram | undefined

  constructor(
    readonly id: number,
    readonly key: string,
    readonly spec: Spec<Kinds>,
    readonly hooks: LocalHooks,
    private readonly listener: Listener
  ) {}

  /** True when that was its last word. */
  hear(message: OfTask, blobs: ReadonlyArray<Uint8Array>): boolean {
    switch (message.type) {
      case "started":
        // Dask runs it again when its worker died, or as often as `retries` says
        this.asked?.again()
        this.worker = message.worker ?? this.worker
        this.deaf = message.stoppable === false
        this.say({ _tag: "Native", state: "executing" })
        return false
      case "output":
        this.asked?.output(message.stream, blobs, (size) => this.taken(message.stream, size))
        return false
      case "need":
        if (this.asked !== undefined) this.feed(this.asked)
        return false
      case "returned":
        return this.end({ _tag: "Ended", outcome: Outcome.success(message.value) })
      case "raised":
        return this.end({ _tag: "Ended", outcome: Outcome.raised(message.exception) })
      case "refused":
        return this.end(this.refused(message))
      case "canceled":
        return this.end({ _tag: "Canceled", stopped: message.stopped, exit: lastWords(message, blobs) })
      case "erred":
        return this.end(this.erred(message))
      case "lost":
        return this.exit(Either.left({ reason: "Lost", details: { message: message.message, ...unstopped(message) } }))
      case "failed":
        return this.exit(Either.left(unstarted(message)))
      case "ended":
        return this.exit(this.asked!.ended(message, blobs))
    }
  }

  /** Its end has been reported. */
  ended = false
  /** Gets its end instead of the engine: undefined when the engine gets it nevertheless. `quiet`: the engine does not. */
  live: { readonly exit: (end: End | undefined) => void; readonly quiet?: true } | undefined

  say(said: UpdateBody): void {
    this.listener.say(this, said)
  }

  private end(said: UpdateBody): true {
    this.ended = true
    this.live?.exit(undefined)
    if (this.live?.quiet !== true) this.say(said)
    return true
  }

  private exit(end: End): true {
    this.ended = true
    if (this.live !== undefined) this.live.exit(end)
    else this.say(outcomeOf(this.spec, end))
    return true
  }

  /** What came about it is not understood; no other task is concerned. */
  garbled(message: string): void {
    const error = taskError(this.spec, "Defect", { details: { message } })
    this.end({ _tag: "Failed", error })
  }

  private feed(program: ProcessHandle): void {
    const header = { type: "input", id: this.id, at: program.sent, ...feed(program) }
    this.listener.answer(this, encode(header, [next(program)]))
  }

  private taken(stream: Stream, size: number): void {
    this.listener.answer(this, encode({ type: "taken", id: this.id, stream, size }))
  }

  private refused(message: Extract<OfTask, { readonly type: "refused" }>): UpdateBody {
    const { exception, limit, reason, size, stream } = message
    const details = {
      ...(message.message === "" ? {} : { message: message.message }),
      ...(limit === undefined ? {} : { limit, size, stream }),
      ...(exception === undefined ? {} : { type: exception.type, traceback: exception.traceback })
    }
    return { _tag: "Failed", error: taskError(this.spec, reason, { details }) }
  }

  private erred(erred: Extract<OfTask, { readonly type: "erred" }>): UpdateBody {
    const { exception, message, reason, workers } = erred
    if (reason === "NoWorker") {
      const details = { message: this.listener.unserved(workers ?? 0) }
      return { _tag: "Failed", error: new BackendError({ backendType: type, reason: "Unavailable", details }) }
    }
    const details = { message, ...(exception === undefined ? {} : { type: exception }), ...unstopped(erred) }
    return {
      _tag: "Failed",
      error:
        reason === "Lost"
          ? taskError(this.spec, "Lost", { details })
          : new BackendError({ backendType: type, reason, details })
    }
  }
}

export const outcomeOf = (spec: Spec, end: End): UpdateBody =>
  Either.isRight(end)
    ? { _tag: "Ended", outcome: Outcome.exited(end.right) }
    : { _tag: "Failed", error: taskError(spec, end.left.reason, { details: end.left.details, cause: end.left.cause }) }

const unstopped = ({ stopped }: { readonly stopped?: boolean | undefined }) => (stopped === false ? { stopped } : {})

const nothing = new Uint8Array()

/** How a program ended that was stopped; undefined where none ran. */
const lastWords = (
  { code, cwd, signal, stderr, stdout, wall }: Extract<OfTask, { readonly type: "canceled" }>,
  blobs: ReadonlyArray<Uint8Array>
): ProcessExit | undefined =>
  wall === undefined
    ? undefined
    : {
        exitCode: code,
        ...(signal === undefined ? {} : { signal }),
        stdout: blobs[stdout ?? -1] ?? nothing,
        stderr: blobs[stderr ?? -1] ?? nothing,
        ...(cwd === undefined ? {} : { cwd }),
        wallMillis: wall
      }

/** A program, for a launch agent on a worker. Its paths stay as they are: the worker knows what they are relative to. */
export class WorkerProgram implements ProcessHandle {
  readonly chunks: Record<Stream, Array<Uint8Array>> = { stdout: [], stderr: [] }
  readonly home = "."
  input: Uint8Array | undefined
  sent = 0
  readonly unwanted = false
  /** What its launch has of the input. */
  private first = 0
  /** Bytes of output that were reported while it ran, and those of them that runs before this one printed. */
  private readonly given: Record<Stream, number> = { stdout: 0, stderr: 0 }
  before: Readonly<Record<Stream, number>> = { stdout: 0, stderr: 0 }
  cwd = "."
  paths: Readonly<Record<Stream, string | undefined>> = { stdout: undefined, stderr: undefined }

  constructor(
    readonly id: number,
    readonly launch: Launch
  ) {}

  resolve(): void {
    const { capture, cwd } = this.launch.program
    this.cwd = cwd ?? "."
    const resolved = (file: string | undefined) => (file === undefined ? undefined : this.pathOf(file))
    this.paths = { stdout: resolved(capture.stdout), stderr: resolved(capture.stderr) }
  }

  pathOf(file: string): string {
    return path.posix.isAbsolute(file) ? file : path.posix.join(this.cwd, file)
  }

  /** What the worker is given. */
  item(more: object): Uint8Array {
    const { blobs, header } = request(this)
    this.first = this.sent
    const spill = this.launch.program.capture.overflow === "spill" ? { spill: true } : {}
    return encode({ ...header, ...more, ...spill }, blobs)
  }

  /** It starts, perhaps not for the first time: its input comes from the start. */
  again(): void {
    this.sent = this.first
    this.before = { ...this.given }
  }

  output(stream: Stream, blobs: ReadonlyArray<Uint8Array>, taken: (size: number) => void): void {
    const { live } = this.launch
    if (live === undefined || this.paths[stream] !== undefined) {
      for (const bytes of blobs) this.chunks[stream].push(bytes)
      return
    }
    for (const bytes of blobs) {
      this.given[stream] += bytes.length
      live.give({ stream, bytes }, () => taken(bytes.length))
    }
  }

  ended(message: Ended, blobs: ReadonlyArray<Uint8Array>): End {
    const { cwd, sandboxPath, stderrPath, stderrTail, stdoutPath, stdoutTail } = message
    const { capture } = this.launch.program
    this.paths = { stdout: stdoutPath, stderr: stderrPath }
    // it stayed in its file because it is too long to be decoded
    const long =
      capture.overflow === "spill" && capture.stdout === undefined && stdoutPath !== undefined && capture.wanted
    return Either.map(ended(this, message, blobs), ({ cwd: _, ...exit }) => ({
      ...exit,
      ...(cwd === undefined ? {} : { cwd }),
      ...(sandboxPath === undefined ? {} : { sandboxPath }),
      ...(long ? { overflow: "stdout" } : {}),
      ...(stdoutTail === undefined ? {} : { stdoutTail: blobs[stdoutTail] ?? nothing }),
      ...(stderrTail === undefined ? {} : { stderrTail: blobs[stderrTail] ?? nothing })
    }))
  }
}
