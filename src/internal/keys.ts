/** Where the context holds a backend: once for each kind that it runs, and once for what needs no kind. */
import * as Context from "effect/Context"
import type { Kind } from "../Kind.js"

/** Typed where they are public: `ExecutionBackend.ExecutionBackend` and `Backend.forKind`. */
type Key = Context.Tag<any, any>

export const plain: Key = Context.GenericTag("effect-rhapsody/ExecutionBackend")

const key = (kind: Kind): Key => Context.GenericTag(`effect-rhapsody/ExecutionBackend/${kind}`)

export const keys: { readonly [K in Kind]: Key } = {
  executable: key("executable"),
  function: key("function"),
  worker: key("worker"),
  python: key("python"),
  service: key("service")
}
