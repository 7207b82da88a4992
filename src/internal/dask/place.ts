/** Where and how a task runs, as Dask expects it, from the resources that every backend knows and the settings of its own. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Spec } from "../../Driver.js"
import { ConfigurationError } from "../../Errors.js"
import type { Resources } from "../../TaskOptions.js"
import type { Worker } from "./messages.js"

/** Of text that is no Unicode, Dask's own messages cannot be made: it would lose its connection. */
const Text = Schema.NonEmptyString.pipe(Schema.filter((text) => !/\p{Surrogate}/u.test(text) || "is no Unicode text"))
const Positive = Schema.Number.pipe(Schema.positive(), Schema.finite())

export const Settings = Schema.Struct({
  resources: Schema.optional(Schema.Record({ key: Text, value: Positive })),
  // Dask names the workers of its own clusters by number
  workers: Schema.optional(Schema.NonEmptyArray(Schema.Union(Text, Schema.NonNegativeInt))),
  allowOtherWorkers: Schema.optional(Schema.Boolean),
  priority: Schema.optional(Schema.Number.pipe(Schema.finite())),
  retries: Schema.optional(Schema.Int.pipe(Schema.nonNegative())),
  key: Schema.optional(Text.pipe(Schema.maxLength(500)))
})
export type Settings = typeof Settings.Type

/** As `Client.map` takes it. */
export interface Place {
  readonly resources?: Readonly<Record<string, number>>
  readonly workers?: ReadonlyArray<string>
  readonly allow_other_workers?: boolean
  readonly priority?: number
  readonly retries?: number
}

const invalid = (configKey: string, message: string) =>
  new ConfigurationError({ configKey, reason: "InvalidOption", details: { message } })

/** Common resources by the names that Dask's own documentation gives them. */
const common = ({ cores, gpus, memory }: Resources): Readonly<Record<string, number>> => ({
  ...(cores === undefined || cores <= 1 ? {} : { CPU: cores }),
  ...(gpus === undefined || gpus === 0 ? {} : { GPU: gpus }),
  ...(memory === undefined || memory === 0 ? {} : { MEMORY: memory })
})

const empty: Place = {}

export const placeOf = ({
  priority,
  resources,
  settings
}: Pick<Spec, "priority" | "resources" | "settings">): Place => {
  const own = settings as Settings | undefined
  if (own === undefined && priority === 0 && Object.keys(resources).length === 0) return empty
  const all = { ...common(resources), ...own?.resources }
  const wanted = own?.priority ?? priority
  return {
    ...(Object.keys(all).length === 0 ? {} : { resources: all }),
    ...(own?.workers === undefined ? {} : { workers: own.workers.map(String) }),
    ...(own?.allowOtherWorkers === undefined || own.workers === undefined
      ? {}
      : { allow_other_workers: own.allowOtherWorkers }),
    ...(wanted === 0 ? {} : { priority: wanted }),
    ...(own?.retries === undefined || own.retries === 0 ? {} : { retries: own.retries })
  }
}

/** Dask knows a worker whose name is a number by that number alone, and not as text: it is called by its address. */
export const addressed = (place: Place, workers: ReadonlyArray<Worker>): Place =>
  place.workers?.some((one) => /^\d+$/.test(one)) !== true
    ? place
    : {
        ...place,
        workers: place.workers.map((one) =>
          /^\d+$/.test(one) ? (workers.find(({ name }) => name === one)?.address ?? one) : one
        )
      }

/** What gives a worker more, by whose cluster it is. */
const remedies = {
  own: "give each worker more with threadsPerWorker, memoryLimit or workerResources, or have fewer workers",
  joined: "start workers with matching --resources"
}

/** Refuses what no worker has. `workers` is asked only about a task that needs something of one. */
export const check = <E>(
  spec: Pick<Spec, "priority" | "resources" | "settings">,
  workers: Effect.Effect<ReadonlyArray<Worker>, E>,
  whose: keyof typeof remedies
): Effect.Effect<void, ConfigurationError | E> => {
  const place = placeOf(spec)
  const other = (spec.settings as Settings | undefined)?.allowOtherWorkers
  if (other !== undefined && place.workers === undefined) {
    return Effect.fail(invalid("settings.allowOtherWorkers", "means nothing without workers"))
  }
  if (place.resources === undefined && place.workers === undefined) return Effect.void
  return Effect.flatMap(workers, (all) => {
    const named =
      place.workers === undefined || place.allow_other_workers === true ? all : all.filter(is(place.workers))
    if (named.length === 0 && place.workers !== undefined) {
      return Effect.fail(
        invalid("settings.workers", `no worker is called ${place.workers.join(" or ")}; there are ${list(all, name)}`)
      )
    }
    const { resources } = place
    if (resources === undefined || named.some((worker) => has(worker, resources))) return Effect.void
    const own = (spec.settings as Settings | undefined)?.resources
    return Effect.fail(
      invalid(
        own === undefined ? "resources" : "settings.resources",
        `no worker can satisfy ${show(resources)}; there are ${list(named, ({ resources }) => show(resources))}; ${remedies[whose]}`
      )
    )
  })
}

const is = (wanted: ReadonlyArray<string>) => (worker: Worker) =>
  wanted.some((one) => one === worker.address || one === worker.name || one === worker.host)
const has = (worker: Worker, wanted: Readonly<Record<string, number>>) =>
  Object.entries(wanted).every(([key, value]) => (worker.resources[key] ?? 0) >= value)
const name = ({ address, name }: Worker) => `${name} (${address})`
const show = (resources: Readonly<Record<string, number>>) =>
  `{${Object.entries(resources)
    .map(([key, value]) => `${key}: ${value}`)
    .join(", ")}}`
/** Each once, and not more than a message can hold. */
const list = (workers: ReadonlyArray<Worker>, show: (worker: Worker) => string) => {
  const shown = [...new Set(workers.map(show))].sort()
  if (shown.length === 0) return "none"
  return shown.length <= 10 ? shown.join(", ") : `${shown.slice(0, 10).join(", ")} and ${shown.length - 10} more`
}
