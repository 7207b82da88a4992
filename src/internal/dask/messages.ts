/** What the bridge to Dask says, and what workers say through it: bridge/*.py and remote/*.py are the other side. */
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as agent from "../process/messages.js"

const Id = Schema.Int

/** Its first word. */
export const Hello = Schema.Struct({
  role: Schema.Literal("dask bridge"),
  python: Schema.String,
  executable: Schema.String,
  dask: Schema.optional(Schema.String),
  distributed: Schema.optional(Schema.String),
  /** Why Dask cannot be imported. */
  missing: Schema.optional(Schema.String)
})
export type Hello = typeof Hello.Type

/** There is a cluster. */
const Ready = Schema.Struct({ type: Schema.Literal("ready"), address: Schema.String, dashboard: Schema.String })
/** There is none: by the option that is wrong, or that the engine did not answer. */
const OpenFailure = Schema.Struct({
  type: Schema.Literal("wrong"),
  key: Schema.String,
  reason: Schema.Literal("option", "engine"),
  message: Schema.String
})
/** The scheduler is gone. */
const SchedulerLost = Schema.Struct({
  type: Schema.Literal("lost"),
  id: Schema.optional(Schema.Undefined),
  message: Schema.String
})

/** So many tasks wait, because no worker can take them now. */
const Unserved = Schema.Struct({ type: Schema.Literal("unserved"), count: Schema.Int, workers: Schema.Int })
export type Unserved = typeof Unserved.Type

/** A worker, as its scheduler sees it. */
export const Worker = Schema.Struct({
  address: Schema.String,
  name: Schema.String,
  host: Schema.String,
  threads: Schema.Int,
  /** Bytes; 0: without limit. */
  memory: Schema.Number,
  resources: Schema.Record({ key: Schema.String, value: Schema.Number }),
  nanny: Schema.String
})
export type Worker = typeof Worker.Type
const Answer = Schema.Struct({ type: Schema.Literal("answer"), ask: Schema.Int, workers: Schema.Array(Worker) })

/** An exception of Python's, as data. */
const Exception = Schema.Struct({
  type: Schema.String,
  module: Schema.String,
  message: Schema.String,
  traceback: Schema.String,
  args: Schema.optional(Schema.Array(Schema.Unknown))
})

/** False: it may still run. */
const Stopped = Schema.optional(Schema.Boolean)

/** It really runs; `stoppable` false: nothing can end it but its own end. */
const Started = Schema.Struct({
  type: Schema.Literal("started"),
  id: Id,
  stoppable: Schema.optional(Schema.Boolean),
  worker: Schema.optional(Schema.String)
})
const Returned = Schema.Struct({ type: Schema.Literal("returned"), id: Id, value: Schema.Unknown })
const Raised = Schema.Struct({ type: Schema.Literal("raised"), id: Id, exception: Exception })
const Refused = Schema.Struct({
  type: Schema.Literal("refused"),
  id: Id,
  reason: Schema.Literal("InvalidPayload", "InvalidResult", "LaunchFailed", "OutputLimit"),
  message: Schema.String,
  limit: Schema.optional(Schema.Number),
  size: Schema.optional(Schema.Number),
  stream: Schema.optional(Schema.String),
  exception: Schema.optional(Exception)
})
const Canceled = Schema.Struct({
  type: Schema.Literal("canceled"),
  id: Id,
  stopped: Stopped,
  message: Schema.optional(Schema.String),
  /** Of a program that ran: how it ended, and the places of the ends of its output. */
  code: Schema.optional(Schema.Int),
  signal: Schema.optional(Schema.String),
  wall: Schema.optional(Schema.Number),
  cwd: Schema.optional(Schema.String),
  stdout: Schema.optional(Schema.Int),
  stderr: Schema.optional(Schema.Int)
})
/** Dask gave it up. */
const Erred = Schema.Struct({
  type: Schema.Literal("erred"),
  id: Id,
  /** NoWorker: none could take it for too long. */
  reason: Schema.Literal("Lost", "Rejected", "NoWorker"),
  message: Schema.String,
  /** How many workers there are. */
  workers: Schema.optional(Schema.Int),
  exception: Schema.optional(Schema.String),
  stopped: Stopped
})
/** The agent that ran it is gone. */
const AgentLost = Schema.Struct({ type: Schema.Literal("lost"), id: Id, message: Schema.String, stopped: Stopped })

/** Of a program: where its output went on the worker, and the places of the ends of it. */
const Ended = Schema.extend(
  agent.Ended,
  Schema.Struct({
    stdoutPath: Schema.optional(Schema.String),
    stderrPath: Schema.optional(Schema.String),
    sandboxPath: Schema.optional(Schema.String),
    /** Where it ran, if it did not end with code 0. */
    cwd: Schema.optional(Schema.String),
    stdoutTail: Schema.optional(Schema.Int),
    stderrTail: Schema.optional(Schema.Int)
  })
)
export type Ended = typeof Ended.Type

export const OfTask = Schema.Union(
  Started,
  Returned,
  Raised,
  Refused,
  Canceled,
  Erred,
  Ended,
  agent.Failed,
  agent.Output,
  agent.Need,
  AgentLost
)
export type OfTask = typeof OfTask.Type
export const OfBridge = Schema.Union(Ready, OpenFailure, SchedulerLost, Answer, Unserved)
export type OfBridge = typeof OfBridge.Type

/** Fast, because each task costs two of them. */
export const isOfTask: (u: unknown) => u is OfTask = ParseResult.is(OfTask)
export const isOfBridge: (u: unknown) => u is OfBridge = ParseResult.is(OfBridge)
export const isHello: (u: unknown) => u is Hello = ParseResult.is(Hello)
