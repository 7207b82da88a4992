/** What a registry does with one entry: builds its layer, or finds out whether it could. */
import * as Cause from "effect/Cause"
import type { ConfigError } from "effect/ConfigError"
import { isConfigError } from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import type { Availability, BackendLayer, Chosen, Entry, Refusal } from "../../BackendRegistry.js"
import { BackendError, ConfigurationError } from "../../Errors.js"
import { describe } from "../engine/outcome.js"
import { firstIssue } from "../issue.js"
import type { Checks } from "../options/values.js"
import { callback, fields, isRecord, mustBe, text } from "../options/values.js"
import { read, refusal } from "./config.js"

const wrong = (name: string, key: string, message: string) =>
  new ConfigurationError({
    configKey: key === "" ? name : `${name}${key.startsWith("[") ? "" : "."}${key}`,
    reason: "InvalidOption",
    details: { message }
  })

const entryFields: Checks<Entry> = {
  name: text("the name of a backend: text that is not empty", false),
  description: text(),
  options: (key, value) => (Schema.isSchema(value) ? undefined : mustBe(key, "a Schema", value)),
  config: (key, value) => (isRecord(value) ? undefined : mustBe(key, "an object of Configs", value)),
  layer: callback,
  probe: (key, value) => (Effect.isEffect(value) ? undefined : mustBe(key, "an Effect", value))
}
const checkFields = fields(entryFields, "a field of an entry")

/** The name is that of a backend, as everywhere in a registry. */
export const checkEntry = (entry: Entry): ConfigurationError | undefined => {
  const wrong = checkFields("entry", entry)
  if (wrong === undefined && entry.layer !== undefined && entry.name !== undefined) return undefined
  const { configKey, details } =
    wrong ?? mustBe(entry.name === undefined ? "entry.name" : "entry.layer", "there", undefined)
  return new ConfigurationError({
    configKey: configKey === "entry.name" ? "backend" : configKey,
    reason: "InvalidOption",
    details
  })
}

const none = Schema.Struct({})

// A struct without fields accepts every object, and no parse option tells it otherwise.
const isEmpty = ({ ast }: Schema.Schema.All) => {
  const from = AST.encodedAST(ast)
  return AST.isTypeLiteral(from) && from.propertySignatures.length === 0 && from.indexSignatures.length === 0
}

/** What is undefined says nothing: `Config` may. */
const said = (options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  Object.values(options).includes(undefined)
    ? Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
    : options

/** What was given and what `Config` adds to it, decoded; and of an option by its key, where it comes from. */
const optionsOf = ({ config, name, options: schema = none }: Entry, options: unknown) =>
  Effect.gen(function* () {
    const given = isRecord(options) ? said(options) : {}
    const byConfigAlone = config !== undefined && isEmpty(schema)
    const [key] = isEmpty(schema) ? Object.keys(given) : []
    if (key !== undefined) {
      const source = byConfigAlone ? "its options from Config alone" : "no options"
      return yield* wrong(name, key, `is unexpected: this backend takes ${source}`)
    }
    const decode = ParseResult.decodeUnknown(schema as Schema.Schema<any, any>, { onExcessProperty: "error" })
    const { origins, values } = yield* read(config ?? {}, given, (keys) =>
      byConfigAlone ? "" : `; or give ${keys.join(", ")} as an option`
    ).pipe(
      // a misspelled option is why another one seems to be missing
      Effect.tapError(() => Effect.catchAll(decode(options), misspelled(name)))
    )
    const origin = (key: string) => {
      const from = origins.get(key.replace(/[.[].*/s, ""))
      return from === undefined ? "" : `; it comes from ${from}`
    }
    const all = isRecord(options) ? { ...values, ...given } : options
    if (byConfigAlone) return { decoded: all, origin }
    const decoded = yield* Effect.mapError(decode(all), (issue) => {
      const { key, message } = firstIssue(issue)
      return wrong(name, key, `${message}${origin(key)}`)
    })
    return { decoded, origin }
  })

const misspelled = (name: string) => (issue: ParseResult.ParseIssue) => {
  const { key, message, unexpected } = firstIssue(issue)
  return unexpected || key === "" ? Effect.fail(wrong(name, key, message)) : Effect.void
}

const loaded = (entry: Entry, options: unknown): Effect.Effect<BackendLayer, BackendError> =>
  Effect.suspend(() => {
    const layer = entry.layer(options)
    if (Layer.isLayer(layer)) return Effect.succeed<BackendLayer>(layer as BackendLayer)
    return Effect.tryPromise({
      try: async () => layer,
      catch: (cause) =>
        new BackendError({
          backendType: entry.name,
          reason: "Unavailable",
          details: { message: `its modules do not load: ${describe(cause)}` },
          cause
        })
    })
  })

// The backend names its options as if it were alone; here they are those of one backend among others.
const named =
  (name: string, origin: (key: string) => string) =>
  (error: Refusal | ConfigError): Refusal => {
    if (isConfigError(error)) return refusal(error)
    if (error._tag === "BackendError" || error.configKey === undefined) return error
    const from = origin(error.configKey)
    const message = `${error.details["message"] ?? error.reason}${from}`
    return new ConfigurationError({
      configKey: `${name}.${error.configKey}`,
      reason: error.reason,
      details: from === "" ? error.details : { ...error.details, message },
      ...(error.cause === undefined ? {} : { cause: error.cause })
    })
  }

/** Fresh, so that an entry that always answers with the same layer value is another backend each time too. */
export const build = (entry: Entry, options: unknown): Layer.Layer<Chosen, Refusal> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      // first, for it is cheap, and a wrong option should not load anything
      const { decoded, origin } = yield* optionsOf(entry, options ?? {})
      // the claim that every kind is run is kept by the engine, which refuses those that are not
      const layer = (yield* loaded(entry, decoded)) as Layer.Layer<Chosen, Refusal | ConfigError>
      return Layer.fresh(layer).pipe(Layer.mapError(named(entry.name, origin)))
    })
  )

/** Never fails. A probe that does not listen to its interruption is left behind when its time is over. */
export const probe = (entry: Entry, timeout: Duration.DurationInput): Effect.Effect<Availability> => {
  const { name } = entry
  const unavailable = (reason: string): Availability => ({ name, available: false, reason })
  const look: Effect.Effect<unknown, Refusal> = entry.probe ?? Effect.scoped(Layer.build(build(entry, undefined)))
  return look.pipe(
    Effect.matchCause({
      onSuccess: (note): Availability => ({ name, available: true, ...(typeof note === "string" ? { note } : {}) }),
      onFailure: (cause) => {
        const failed = Cause.failureOption(cause)
        if (failed._tag === "Some") return unavailable(failed.value.message)
        return unavailable(
          Cause.isInterruptedOnly(cause)
            ? "its probe was interrupted"
            : `its probe died: ${describe(Cause.squash(cause))}`
        )
      }
    }),
    Effect.disconnect,
    Effect.timeoutTo({
      duration: timeout,
      onSuccess: (found) => found,
      onTimeout: () => unavailable(`its probe did not answer within ${Duration.format(timeout)}`)
    })
  )
}
