/** What a registry holds, and what it reports of that. */
import type * as Config from "effect/Config"
import type { ConfigError } from "effect/ConfigError"
import type * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Schema from "effect/Schema"
import type { BackendError, ConfigurationError } from "../../Errors.js"
import type * as ExecutionBackend from "../../ExecutionBackend.js"
import type { Kind } from "../../Kind.js"

/** Why a backend could not be chosen or built. */
export type Refusal = BackendError | ConfigurationError

/**
 * A backend chosen by name. Which one is known at run time only, so it claims every kind to the compiler; a task of a
 * kind that it does not run is refused when it is submitted: `ConfigurationError` UnsupportedKind.
 */
export type Chosen = ExecutionBackend.ExecutionBackend<Kind>

/** Any layer of a backend, a `layerConfig` too: what its `Config` fails with becomes a `ConfigurationError`. */
export type BackendLayer = Layer.Layer<ExecutionBackend.Any, Refusal | ConfigError>

/** For some options the `Config` that says them where `get` is not given them. */
export type Configs<I> = { readonly [K in keyof I]?: Config.Config<I[K]> }

/** A backend that can be chosen by name. `A` are its options, `I` what a user writes for them. */
export interface Entry<in out A = any, in out I = any> {
  /** What users call it. */
  readonly name: string
  /** One line for people: see `entries`. */
  readonly description?: string | undefined
  /**
   * Decodes what `get` is given as options; nothing given is `{}`. Unknown keys are refused by name, whatever the
   * schema's own parse options say. Default: no options but those of `config`, as they are there.
   */
  readonly options?: Schema.Schema<A, I> | undefined
  /**
   * Read for the options that `get` is not given, and then decoded as those are. One that answers `undefined`, as with
   * `Config.withDefault(undefined)`, says nothing. One that fails refuses the backend and names its key.
   */
  readonly config?: Configs<I> | undefined
  /**
   * Makes the layer from the decoded options; a promise of one is for what should load only when it is chosen or
   * probed: `(options) => import("./MyBackend.js").then((_) => _.layer(options))`. A promise that is rejected, as for a
   * package that is not installed, is `BackendError` Unavailable.
   */
  readonly layer: (options: A) => BackendLayer | Promise<BackendLayer>
  /**
   * Looks whether it can run here, by starting what it takes to know, and stops that again. Its failure is the reason
   * for "not available", and text that it gives is a note for people. Default: builds the layer as `Config` has it,
   * without other options, and closes it.
   */
  readonly probe?: Effect.Effect<void | string, BackendError> | undefined
}

/** What `discover` found out about one backend. `note`: what is not as good as it could be here, and why. */
export type Availability =
  | { readonly name: string; readonly available: true; readonly note?: string }
  | { readonly name: string; readonly available: false; readonly reason: string }
