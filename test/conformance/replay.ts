/** The driver of Concurrent behind JSON: each attempt is written as text, read again, and run as it was read. */
import { Effect, Schema } from "effect"
import type { Backend } from "effect-rhapsody"
import { Backend as Backends, ConcurrentBackend, Driver } from "effect-rhapsody"

const throughJson = <A, I>(schema: Schema.Schema<A, I>) => {
  const text = Schema.parseJson(schema)
  const [encode, decode] = [Schema.encodeSync(text), Schema.decodeSync(text)]
  return (value: A): A => decode(encode(value))
}

/** `printed` gets the text of each spec. */
export const replaying = <K extends ConcurrentBackend.Kinds>(
  inner: Driver.SlotDriver<K>,
  printed: (text: string) => void = () => {}
): Driver.SlotDriver<K> => {
  const Spec = Schema.parseJson(Driver.specSchema(inner))
  const [encode, decode] = [Schema.encodeSync(Spec), Schema.decodeSync(Spec)]
  const [outcome, secrets] = [throughJson(Driver.Outcome), throughJson(Driver.Secrets)]
  return {
    ...inner,
    type: "replaying",
    run: (spec, hooks) =>
      Effect.suspend(() => {
        const text = encode(spec)
        printed(text)
        // asked for: the program needs them
        return Effect.map(inner.run(decode(text), { ...hooks, secrets: secrets(hooks.secrets) }), outcome)
      })
  }
}

export const layer = (given: ConcurrentBackend.Options, options?: Backend.Options) =>
  Backends.layer(
    Effect.map(ConcurrentBackend.driver(given), (driver) => replaying(driver)),
    options
  )
