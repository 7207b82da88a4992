/** The queue form of a driver, over a bridge. */
import { randomUUID } from "node:crypto"
import * as path from "node:path"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Mailbox from "effect/Mailbox"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type {
  Attempt,
  Executable,
  HonouredOption,
  LocalHooks,
  Python,
  QueueDriver,
  Spec,
  TaskSpec,
  Update
} from "../../Driver.js"
import { programOptions, taskError } from "../../Driver.js"
import { BackendError, ConfigurationError } from "../../Errors.js"
import type { TaskState } from "../../TaskState.js"
import { frameLimit } from "../bridge/frame.js"
import type { Launch } from "../process/launcher.js"
import { checkNames } from "../process/ownPaths.js"
import { instanceDirectory, launchOf } from "../process/run.js"
import { tooLong } from "../process/unstarted.js"
import type { Options as BridgeOptions, Connection, EncodedTask, Failure } from "./bridge.js"
import { Bridge } from "./bridge.js"
import type { Kinds, UpdateBody } from "./inFlight.js"
import { AttemptInFlight, WorkerProgram } from "./inFlight.js"
import * as Live from "./live.js"
import type { Unserved, Worker } from "./messages.js"
import * as Payload from "./payload.js"
import * as Place from "./place.js"

export type { Kinds } from "./inFlight.js"

export interface ResolvedOptions extends Omit<BridgeOptions, "name"> {
  /** Milliseconds between TERM and KILL. */
  readonly forceKillAfter: number
  readonly deaf: "wait" | "abandon" | "restart"
  readonly sandboxes: string
  readonly kinds: ReadonlyArray<Kinds>
}

const type = "dask"

/** Programs are started by a launch agent on the worker; Dask itself knows these resources of workers. */
export const honours: ReadonlyArray<HonouredOption> = [...programOptions, "cores", "gpus", "memory"]

/** What Dask calls the states of a task, on scheduler and workers, and what each is here. */
export const nativeStates: Readonly<Record<string, TaskState>> = {
  released: "READY",
  waiting: "READY",
  queued: "READY",
  "no-worker": "READY",
  processing: "READY",
  constrained: "READY",
  ready: "READY",
  executing: "EXECUTING",
  "long-running": "EXECUTING",
  memory: "COMPLETED",
  erred: "FAILED",
  error: "FAILED",
  cancelled: "CANCELED",
  forgotten: "CANCELED"
}

/** How long what is known of the workers holds, for the check of a submission. */
const fresh = Duration.toMillis("1 second")

export const make = (
  options: ResolvedOptions,
  settings: NonNullable<QueueDriver["settings"]>
): Effect.Effect<QueueDriver<Kinds>, ConfigurationError | BackendError, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const name = `effect-rhapsody-${randomUUID()}`
    const updates = yield* Mailbox.make<Update, BackendError>()
    let unserved: Unserved = { type: "unserved", count: 0, workers: 0 }
    const warnings = yield* Mailbox.make<string>()
    yield* Effect.forkScoped(Stream.runForEach(Mailbox.toStream(warnings), (line) => Effect.logWarning(line)))
    const { bridge, details } = yield* open(
      { ...options, name },
      (message) => {
        updates.unsafeDone(Exit.fail(new BackendError({ backendType: type, reason: "Lost", details: { message } })))
      },
      (found) => {
        const first = unserved.count === 0 && found.count > 0
        unserved = found
        if (first) warnings.unsafeOffer(`Dask: ${waiting(unserved)}; ${remedy(options, found.workers)}`)
      }
    )
    /** Of the tasks that live, by uid: the engine has one attempt of each at a time. */
    const live = new Map<string, AttemptInFlight>()
    const listener = {
      say: (inFlight: AttemptInFlight, said: UpdateBody) => {
        const { attempt, uid } = inFlight.spec
        if (said._tag !== "Native" && live.get(uid) === inFlight) live.delete(uid)
        updates.unsafeOffer({ uid, attempt, ...said } as Update)
      },
      answer: (inFlight: AttemptInFlight, frame: Uint8Array) => {
        if (inFlight.worker !== undefined) bridge.say(inFlight.worker, frame)
      },
      unserved: (workers: number) =>
        `no worker took it within ${Duration.format(Duration.millis(options.noWorkersTimeout))}: ${staff(workers)}; ${remedy(options, workers)}`
    }
    let known: { readonly at: number; readonly workers: ReadonlyArray<Worker> } | undefined
    let serial = 0
    const short = name.slice(-8)

    const fly = ({ hooks, spec }: Attempt<Kinds>): AttemptInFlight => {
      const own = spec.settings as Place.Settings | undefined
      const id = ++serial
      const key = own?.key ?? `${prefix(spec.name)}-${spec.attempt}-${id}-${short}-${spec.uid}`
      return new AttemptInFlight(id, key, spec, hooks, listener)
    }
    const lift = (attempt: Attempt<Kinds>): AttemptInFlight => {
      const inFlight = fly(attempt)
      live.set(attempt.spec.uid, inFlight)
      return inFlight
    }
    const placeOf = (spec: Spec): Place.Place => Place.addressed(Place.placeOf(spec), known?.workers ?? [])
    const sandboxes = instanceDirectory(options.sandboxes)
    /** Uids whose sandboxes are there: a uid may be used again when its task is no longer known. */
    const sandboxed = new Set<string>()
    const launch = (spec: Spec, program: Executable, hooks: LocalHooks): Launch => {
      const sandbox = program.sandbox ? path.posix.join(sandboxes, spec.uid) : undefined
      if (sandbox !== undefined && spec.attempt === 1) {
        if (sandboxed.has(spec.uid)) throw new Error(`its sandbox ${sandbox} is that of an earlier task of this uid`)
        sandboxed.add(spec.uid)
      }
      // not fresh: Dask may run an attempt again
      return {
        ...launchOf(spec, program, hooks, sandbox),
        freshSandbox: false,
        grace: options.forceKillAfter,
        started: () => {}
      }
    }
    const program = (inFlight: AttemptInFlight, launch: Launch): EncodedTask => {
      const place = placeOf(inFlight.spec)
      const { retries } = place
      inFlight.asked = new WorkerProgram(inFlight.id, launch)
      const more = { backend: name, key: inFlight.key, ...(retries === undefined ? {} : { retries }) }
      return { inFlight, call: "launch", place, item: inFlight.asked.item(more) }
    }
    const call = (inFlight: AttemptInFlight, program: Python): EncodedTask => {
      const { call = "kwargs", callable, path } = program
      const { key, id, spec } = inFlight
      const place = placeOf(spec)
      const { retries } = place
      // what is undefined is left out
      const item = JSON.stringify({ backend: name, id, key, callable, call, path, retries })
      return {
        inFlight,
        call: "call",
        place,
        item: Buffer.from(`${item.slice(0, -1)},"payload":${payloadOf(spec, program)}}`)
      }
    }
    const unsent = (inFlight: AttemptInFlight, cause: unknown): void => {
      const { work } = inFlight.spec
      const { details } =
        cause instanceof RangeError && work._tag === "executable"
          ? tooLong(launch(inFlight.spec, work, inFlight.hooks), {}, cause)
          : { details: { message: (cause as Error).message } }
      listener.say(inFlight, { _tag: "Failed", error: taskError(inFlight.spec, "LaunchFailed", { details, cause }) })
    }
    const send = (attempts: ReadonlyArray<Attempt<Kinds>>): void => {
      const all: Array<EncodedTask> = []
      for (const attempt of attempts) {
        const { hooks, spec } = attempt
        const { work } = spec
        const inFlight = lift(attempt)
        try {
          all.push(
            fitting(work._tag === "python" ? call(inFlight, work) : program(inFlight, launch(spec, work, hooks)))
          )
        } catch (cause) {
          unsent(inFlight, cause) // longer than a frame, as no arguments may be
        }
      }
      bridge.submit(all)
    }
    const streamed = Live.make(lift, (inFlight, launch) => fitting(program(inFlight, launch)), bridge)
    const stream = (attempt: Attempt<Kinds>, work: Executable): Effect.Effect<unknown> => {
      try {
        const asked = launch(attempt.spec, work, attempt.hooks)
        return Effect.forkIn(Effect.interruptible(streamed(attempt, asked)), scope)
      } catch (cause) {
        return Effect.sync(() => unsent(lift(attempt), cause))
      }
    }

    const cancel = (attempts: ReadonlyArray<AttemptInFlight>, grace: number) =>
      bridge.cancel(
        attempts.map(({ id }) => id),
        grace,
        options.deaf
      )

    const workers = Effect.suspend(() => {
      const now = performance.now()
      if (known !== undefined && now - known.at < fresh) return Effect.succeed(known.workers)
      return Effect.async<ReadonlyArray<Worker>, BackendError>((resume) => {
        bridge.ask((workers) => {
          if (workers === undefined) {
            const details = { message: "its engine is gone" }
            return resume(Effect.fail(new BackendError({ backendType: type, reason: "Lost", details })))
          }
          known = { at: now, workers }
          resume(Effect.succeed(workers))
        })
      })
    })

    return {
      type,
      kinds: options.kinds,
      settings,
      honours,
      nativeStates,
      details: () => (unserved.count === 0 ? details : { ...details, unserved: waiting(unserved) }),
      // a function that runs in a thread has no end but its own
      cancelable: ({ attempt, uid }) => {
        const inFlight = live.get(uid)
        return inFlight === undefined || inFlight.spec.attempt !== attempt || !inFlight.deaf || options.deaf !== "wait"
      },
      check: (spec) =>
        Effect.zipRight(
          checkProgram(spec),
          Place.check(spec, workers, "address" in options.cluster ? "joined" : "own")
        ),
      submit: (attempts) =>
        Effect.suspend(() => {
          if (!bridge.alive) {
            const details = { message: "its engine is gone" }
            return Effect.fail(new BackendError({ backendType: type, reason: "Lost", details }))
          }
          const quiet: Array<Attempt<Kinds>> = []
          const streaming: Array<Effect.Effect<unknown>> = []
          for (const attempt of attempts) {
            const { hooks, spec } = attempt
            const { work } = spec
            if (work._tag === "python" || hooks.onChunk === undefined) quiet.push(attempt)
            else streaming.push(Effect.suspend(() => stream(attempt, work)))
          }
          send(quiet)
          return Effect.all(streaming, { discard: true })
        }),
      cancel: (attempts) =>
        Effect.sync(() => {
          const known = attempts.flatMap(({ attempt, uid }) => {
            const inFlight = live.get(uid)
            return inFlight?.spec.attempt === attempt ? [inFlight] : []
          })
          cancel(known, options.forceKillAfter)
        }),
      forceStop: Effect.sync(() => cancel([...live.values()], 0)),
      updates: Mailbox.toStream(updates)
    } satisfies QueueDriver<Kinds>
  })

const staff = (workers: number) =>
  workers === 0 ? "there are no workers" : `none of the ${workers} workers has what it asks for`

const waiting = ({ count, workers }: Unserved) =>
  `${count} ${count === 1 ? "task waits" : "tasks wait"} for a worker: ${staff(workers)}`

const remedy = ({ cluster }: ResolvedOptions, workers: number) =>
  "address" in cluster
    ? `start workers${workers === 0 ? "" : " that have it"}, or raise noWorkersTimeout`
    : "its worker may be starting anew; see what it ended of, or raise noWorkersTimeout"

const invalid = (configKey: string, reason: "InvalidOption" | "InvalidPayload", message: string) =>
  new ConfigurationError({ configKey, reason, details: { message } })

/** Payloads as they were when they were checked: what is changed after that reaches no task. */
const payloads = new WeakMap<object, string>()

/** Refuses what would not reach the worker as it is meant. */
const checkProgram = ({ payload, work }: TaskSpec<Kinds>): Effect.Effect<void, ConfigurationError> => {
  if (work._tag === "executable") return checkNames(work)
  const text = Payload.encode(work, payload)
  if (typeof text !== "string") {
    return Effect.fail(invalid(text.path === "" ? "payload" : text.path, "InvalidPayload", text.message))
  }
  payloads.set(payload as object, text)
  return Effect.void
}
/** A spec that was read from somewhere has a payload that was never checked here. */
const payloadOf = ({ payload }: Spec, program: Python): string => {
  const text = payloads.get(payload as object) ?? Payload.encode(program, payload)
  if (typeof text === "string") return text
  throw new Error(`its payload${text.path === "" ? "" : `, at ${text.path},`} ${text.message}`)
}

/** A name that Dask groups tasks by: up to the first part with something else than letters. */
const prefix = (name: string): string => (/^[A-Za-z]/.test(name) ? name : `task ${name}`)

/** The rest of a message that carries a task is short. */
const longest = frameLimit - 64 * 1024

const fitting = (loaded: EncodedTask): EncodedTask => {
  const { length } = loaded.item
  if (length > longest)
    throw new RangeError(`its payload has ${length} bytes, and ${longest} is the most; pass large data in a file`)
  return loaded
}

const open = (
  options: BridgeOptions,
  lost: (message: string) => void,
  unserved: (found: Unserved) => void
): Effect.Effect<
  { readonly bridge: Bridge; readonly details: Readonly<Record<string, string>> },
  ConfigurationError | BackendError,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const answer = yield* Deferred.make<Connection, Failure>()
    const bridge = yield* Effect.acquireRelease(
      Effect.try({
        try: () =>
          new Bridge(
            options,
            (result) => Deferred.unsafeDone(answer, "_tag" in result ? Effect.fail(result) : Effect.succeed(result)),
            lost,
            unserved
          ),
        // Node throws where the system refuses a process for some reasons, and reports others later
        catch: (cause) =>
          refusal(options, { _tag: "Process", lost: { reason: "NotStarted", message: String(cause), stopped: true } })
      }),
      (bridge) => Effect.async<void>((resume) => bridge.close(() => resume(Effect.void)))
    )
    const opened = yield* Effect.mapError(Deferred.await(answer), (failure) => refusal(options, failure))
    return { bridge, details: yield* announced(options, opened) }
  })

/** Where the cluster is, for the state of the backend; one that anyone can use is logged. */
const announced = ({ cluster }: BridgeOptions, { address, dashboard }: Connection) =>
  Effect.gen(function* () {
    if (address.startsWith("tcp://") && "local" in cluster) {
      yield* Effect.logWarning(
        `Dask: the cluster at ${address} is insecure: every user of this machine can run code as you; leave insecure out`
      )
    }
    return { scheduler: address, ...(dashboard === "" ? {} : { dashboard }) }
  })

const refusal = ({ cluster, env, python }: BridgeOptions, failure: Failure): ConfigurationError | BackendError => {
  const pip = (python: string) =>
    `${python} -m pip install dask distributed${"address" in cluster ? "" : " cryptography"}`
  switch (failure._tag) {
    case "Missing": {
      const { executable, missing, python: version } = failure.hello
      return invalid(
        "python",
        "InvalidOption",
        `Python ${version} (${executable}) cannot run Dask: ${missing}; install what is missing with ${pip(executable)}, or name another interpreter${env["PYTHONPATH"] === undefined ? "" : "; PYTHONPATH is not used"}`
      )
    }
    case "Process":
      return invalid(
        "python",
        "InvalidOption",
        `${python} does not run the bridge to Dask: ${failure.lost.message}; name a Python where ${pip(python)} was run`
      )
    case "Wrong":
      return failure.reason === "option"
        ? invalid(failure.key, "InvalidOption", failure.message)
        : new BackendError({
            backendType: type,
            reason: "Unavailable",
            details: { message: failure.message, ...("address" in cluster ? { address: cluster.address } : {}) }
          })
  }
}
