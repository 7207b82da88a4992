/** What a registry does with one entry: builds its layer, or finds out whether it could. */
import * as Cause from "effect/Cause"
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

const wrong = (name: string, key: string, message: string) =>
  new ConfigurationError({
    configKey: key === "" ? name : `${name}${key.startsWith("[") ? "" : "."}${key}`,
    reason: "InvalidOption",
    details: { message }
  })

const none = Schema.Struct({})

// A struct without fields accepts every object, and no parse option tells it otherwise.
const isEmpty = ({ ast }: Schema.Schema.All) => {
  const from = AST.encodedAST(ast)
  return AST.isTypeLiteral(from) && from.propertySignatures.length === 0 && from.indexSignatures.length === 0
}

const decode = (name: string, schema: Schema.Schema<any, any>, options: unknown) => {
  const [key] = isEmpty(schema) && typeof options === "object" && options !== null ? Object.keys(options) : []
  if (key !== undefined) return Effect.fail(wrong(name, key, "is unexpected: this backend takes no options"))
  return Effect.mapError(ParseResult.decodeUnknown(schema, { onExcessProperty: "error" })(options), (issue) => {
    const { key, message } = firstIssue(issue)
    return wrong(name, key, message)
  })
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
  (name: string) =>
  (error: Refusal): Refusal =>
    error._tag === "BackendError" || error.configKey === undefined
      ? error
      : new ConfigurationError({
          configKey: `${name}.${error.configKey}`,
          reason: error.reason,
          details: error.details,
          ...(error.cause === undefined ? {} : { cause: error.cause })
        })

/** Fresh, so that an entry that always answers with the same layer value is another backend each time too. */
export const build = (entry: Entry, options: unknown): Layer.Layer<Chosen, Refusal> =>
  Layer.unwrapEffect(
    Effect.gen(function* () {
      // first, for it is cheap, and a wrong option should not load anything
      const decoded = yield* decode(entry.name, entry.options ?? none, options ?? {})
      // the claim that every kind is run is kept by the engine, which refuses those that are not
      const layer = (yield* loaded(entry, decoded)) as Layer.Layer<Chosen, Refusal>
      return Layer.fresh(layer).pipe(Layer.mapError(named(entry.name)))
    })
  )

/** Never fails. A probe that does not listen to its interruption is left behind when its time is over. */
export const probe = (entry: Entry, timeout: Duration.DurationInput): Effect.Effect<Availability> => {
  const { name } = entry
  const unavailable = (reason: string): Availability => ({ name, available: false, reason })
  const look: Effect.Effect<unknown, Refusal> = entry.probe ?? Effect.scoped(Layer.build(build(entry, undefined)))
  return look.pipe(
    Effect.matchCause({
      onSuccess: (): Availability => ({ name, available: true }),
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
