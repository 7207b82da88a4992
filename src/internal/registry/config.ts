/** Options from `Config`: what is read, by which name it was asked for, and which error a failure becomes. */
import type * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import { ConfigurationError } from "../../Errors.js"
import type { Configs } from "./types.js"

/** What was read, and the name by which each value was found; a default has none. */
export interface Read {
  readonly values: Readonly<Record<string, unknown>>
  readonly origins: ReadonlyMap<string, string>
}

const nameOf = (path: ReadonlyArray<string>): string => path.join(".")

/** Each single failure of one that may be put together. */
const failures = (error: ConfigError.ConfigError): ReadonlyArray<{ readonly key: string; readonly message: string }> =>
  error._op === "And" || error._op === "Or"
    ? [...failures(error.left), ...failures(error.right)]
    : [{ key: nameOf(error.path), message: error.message }]

/** The first failing key is the `configKey`; the message has all of them, and the cause is the error itself. */
export const refusal = (error: ConfigError.ConfigError, remedy = ""): ConfigurationError => {
  const [first, ...rest] = failures(error)
  const others = rest.map(({ key, message }) => `; ${key}: ${message}`).join("")
  return new ConfigurationError({
    ...(first!.key === "" ? {} : { configKey: first!.key }),
    reason: "InvalidOption",
    details: { message: `${first!.message}${others}${remedy}` },
    cause: error
  })
}

/** A `Config` cannot be asked for its name, so it is taken from what the provider is asked for. */
const overheard = (
  { flattened }: ConfigProvider.ConfigProvider,
  hear: (path: ReadonlyArray<string>) => void
): ConfigProvider.ConfigProvider =>
  ConfigProvider.fromFlat(
    ConfigProvider.makeFlat({
      load: (path, primitive, split) =>
        Effect.tap(flattened.load(path, primitive, split), () => Effect.sync(() => hear(path))),
      enumerateChildren: flattened.enumerateChildren,
      patch: flattened.patch
    })
  )

/**
 * Reads those that are not given: what is given needs no `Config`, and one that is wrong there does not matter.
 * `remedy` ends the message of a failure, of which it gets the keys.
 */
export const read = (
  configs: Configs<any>,
  given: Readonly<Record<string, unknown>>,
  remedy: (keys: ReadonlyArray<string>) => string
): Effect.Effect<Read, ConfigurationError> => {
  const all: Readonly<Record<string, Config.Config<unknown> | undefined>> = configs
  const wanted = Object.keys(all).filter((key) => all[key] !== undefined && given[key] === undefined)
  return Effect.configProviderWith((provider) =>
    Effect.validateAll(wanted, (key) => {
      let origin: string | undefined
      const asked = overheard(provider, (path) => {
        origin = nameOf(path)
      })
      return Effect.mapBoth(asked.load(all[key]!), {
        onSuccess: (value) => ({ key, origin, value }),
        onFailure: (error) => ({ key, error })
      })
    })
  ).pipe(
    Effect.mapBoth({
      onSuccess: (found) => {
        const said = found.filter(({ value }) => value !== undefined)
        return {
          values: Object.fromEntries(said.map(({ key, value }) => [key, value])),
          origins: new Map(said.flatMap(({ key, origin }) => (origin === undefined ? [] : [[key, origin] as const])))
        }
      },
      onFailure: (failed) =>
        refusal(
          failed.map(({ error }) => error).reduce((left, right) => ConfigError.And(left, right)),
          remedy(failed.map(({ key }) => key))
        )
    })
  )
}
