/** Options as text, from `Config`: what cannot be honoured is a `ConfigError` that names the variable. */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import type { Check } from "./values.js"
import { millisOf } from "./values.js"

const read = <A>(name: string, parse: (text: string) => A, check: Check): Config.Config<A> =>
  Config.mapOrFail(Config.string(name), (text) => {
    const value = parse(text)
    const wrong = check(name, value)
    if (wrong === undefined) return Either.right(value)
    // NaN is what became of text that is no number; the text says more
    const message = String(wrong.details["message"]).replace(/not NaN$/, `not ${JSON.stringify(text.slice(0, 40))}`)
    return Either.left(ConfigError.InvalidData([], message))
  })

/** Unlike `Config.integer`, no text is not 0. */
export const integer = (name: string, check: Check): Config.Config<number> =>
  read(name, (text) => (text.trim() === "" ? Number.NaN : Number(text)), check)

/** Unlike `Config.duration`, a negative one is not 0. */
export const span = (name: string, check: Check): Config.Config<Duration.Duration> =>
  Config.map(
    read<unknown>(name, (text) => text.trim(), check),
    (text) => Duration.millis(millisOf(text)!)
  )

export const string = (name: string, check: Check): Config.Config<string> => read(name, (text) => text, check)
