/** What the launch agent says. What is said to it is in agent.ts; agent/agent.py is the other side. */
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"

const Id = Schema.Int
const StreamName = Schema.Literal("stdout", "stderr")

/** Its program really runs. */
const Started = Schema.Struct({ type: Schema.Literal("started"), id: Id, pid: Schema.Int })

/** It could not be started: `what` was tried on `path`. */
export const Failed = Schema.Struct({
  type: Schema.Literal("failed"),
  id: Id,
  what: Schema.String,
  path: Schema.String,
  errno: Schema.String,
  message: Schema.String,
  /** Of the executable: what is there under its name, and which interpreter its first line names. */
  found: Schema.optional(Schema.Literal("directory", "file")),
  interpreter: Schema.optional(Schema.String),
  /** Where arguments and variables are too long: the longest of them, and its bytes. */
  longest: Schema.optional(Schema.String),
  size: Schema.optional(Schema.Number)
})

/** It is to be cancelled, and there is nothing of it: it was handed over early and not started, or its end was reported. */
const Dropped = Schema.Struct({ type: Schema.Literal("dropped"), id: Id })

/** What was asked about it cannot be done; if it runs, it is killed. */
const Garbled = Schema.Struct({ type: Schema.Literal("garbled"), id: Id, message: Schema.String })

/** Output, in the blobs. */
export const Output = Schema.Struct({ type: Schema.Literal("output"), id: Id, stream: StreamName })

/** Its standard input wants more. */
export const Need = Schema.Struct({ type: Schema.Literal("need"), id: Id })

export const Ended = Schema.Struct({
  type: Schema.Literal("ended"),
  id: Id,
  code: Schema.optional(Schema.Int),
  signal: Schema.optional(Schema.String),
  /** Milliseconds. */
  wall: Schema.Number,
  user: Schema.Number,
  system: Schema.Number,
  /** Bytes. */
  rss: Schema.Number,
  /** Places of the last output among the blobs. */
  stdout: Schema.optional(Schema.Int),
  stderr: Schema.optional(Schema.Int),
  overflow: Schema.optional(StreamName),
  /** Places of the ends of what is beyond the limit. */
  lasts: Schema.optional(Schema.Struct({ stdout: Schema.optional(Schema.Int), stderr: Schema.optional(Schema.Int) })),
  dropped: Schema.optional(Schema.Struct({ stdout: Schema.optional(Schema.Int), stderr: Schema.optional(Schema.Int) })),
  /** Some of its processes are still there although they were killed. */
  survivors: Schema.optional(Schema.Boolean),
  /** In its place this one was started, which had been handed over early. */
  next: Schema.optional(Id),
  /** What its shell reported, which did not come to the program (preExec.ts). */
  unreached: Schema.optional(Schema.String),
  /** Of that one. */
  pid: Schema.optional(Schema.Int),
  /** Why the file that its result is decoded from cannot be read. */
  unreadable: Schema.optional(Schema.String)
})

export type Failed = typeof Failed.Type
export type Ended = typeof Ended.Type
export type FromAgent = typeof FromAgent.Type
export const FromAgent = Schema.Union(Started, Failed, Dropped, Garbled, Output, Need, Ended)

/** Fast, because each program costs two of them. */
export const isFromAgent: (u: unknown) => u is FromAgent = ParseResult.is(FromAgent)
