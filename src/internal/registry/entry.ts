/** What a registry does with one entry: builds its layer, or finds out whether it could. */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import { isConfigError } from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { BackendError, ConfigurationError, isBackendError, isConfigurationError } from "../../Errors.js"
import { describe } from "../describe.js"
import { firstIssue } from "../issue.js"
import type { Checks } from "../options/values.js"
import { callback, fields, isRecord, mustBe, nameOf, safely, schema, text } from "../options/values.js"
import { read, refusal } from "./config.js"
import type { Availability, BackendLayer, Chosen, Entry, Refusal } from "./types.js"

const wrong = (name: string, key: string, message: string) =>
  new ConfigurationError({
    configKey: key === "" ? name : `${name}${key.startsWith("[") ? "" : "."}${key}`,
    reason: "InvalidOption",
    details: { message }
  })

const entryFields: Checks<Entry> = {
  name: text("the name of a backend: text that is not empty", false),
  description: text(),
  options: schema,
  config: (key, value) => {
    if (!isRecord(value)) return mustBe(key, "an object of Configs", value)
    const other = Object.keys(value).find((name) => value[name] !== undefined && !Config.isConfig(value[name]))
    return other === undefined ? undefined : mustBe(`${key}.${other}`, "a Config", value[other])
  },
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

// A struct without fields accepts every object, and no parse option changes that.
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

const unavailable = (entry: Entry, message: string, cause?: unknown) =>
  new BackendError({ backendType: entry.name, reason: "Unavailable", details: { message }, cause })

const loaded = (entry: Entry, options: unknown): Effect.Effect<BackendLayer, BackendError> => {
  const failed = (cause: unknown) => unavailable(entry, `its modules do not load: ${describe(cause)}`, cause)
  return Effect.flatMap(Effect.try({ try: () => entry.layer(options), catch: failed }), (given) =>
    isLayer(given)
      ? Effect.succeed(given)
      : Effect.filterOrFail(Effect.tryPromise({ try: async () => given, catch: failed }), isLayer, (given) =>
          unavailable(entry, `its layer must be a Layer, not ${nameOf(given)}`)
        )
  )
}

const isLayer = safely((value): value is BackendLayer => Layer.isLayer(value))
const isConfigFailure = safely(isConfigError)

// The backend names its options as if it were alone; here they are those of one backend among others.
const named =
  (entry: Entry, origin: (key: string) => string) =>
  (error: unknown): Refusal => {
    if (isConfigFailure(error)) return refusal(error)
    if (isBackendError(error)) return error
    if (!isConfigurationError(error)) return unavailable(entry, `its layer failed with ${describe(error)}`, error)
    if (error.configKey === undefined) return error
    const from = origin(error.configKey)
    const message = `${error.details["message"] ?? error.reason}${from}`
    return new ConfigurationError({
      configKey: `${entry.name}.${error.configKey}`,
      reason: error.reason,
      details: from === "" ? error.details : { ...error.details, message },
      ...(error.cause === undefined ? {} : { cause: error.cause })
    })
  }

/** Fresh, so that an entry that always answers with the same layer value is another backend each time too. */
export const build = (entry: Entry, options: unknown): Layer.Layer<Chosen, Refusal> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      // first, because it is cheap, and a wrong option should not load anything
      const { decoded, origin } = yield* optionsOf(entry, options ?? {})
      // the claim that every kind is run is kept by the engine, which refuses those that are not
      const layer = (yield* loaded(entry, decoded)) as Layer.Layer<Chosen, Refusal | ConfigError>
      return Layer.fresh(layer).pipe(Layer.mapError(named(entry, origin)))
    })
  )

const reasonOf = (error: unknown): string =>
  isBackendError(error) || isConfigurationError(error) ? error.message : `its probe failed with ${describe(error)}`

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
        if (failed._tag === "Some") return unavailable(reasonOf(failed.value))
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
