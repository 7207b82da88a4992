/** What stands behind the constructors of `Task`: definitions, instances, handler layers. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { NodeInspectSymbol } from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { isRhapsodyError, RhapsodyError } from "../Errors.js"
import type { Outcome } from "../Outcome.js"
import type { Any, AttemptInfo, HandlerService, Implementation } from "../TaskDefinition.js"
import { TypeId } from "../TaskDefinition.js"
import type { DefinitionOptions, Options } from "../TaskOptions.js"
import type { Issue } from "./codec.js"
import { makeCodec, refuseReserved, refuseUnreadable } from "./codec.js"
import { merged } from "./options/merged.js"

export const InstanceTypeId = "~effect-rhapsody/Task/Instance" as const
export const ServiceTypeId = "~effect-rhapsody/Task/Service" as const

export const handlerTag = (name: string) => Context.GenericTag<any, HandlerService>(`effect-rhapsody/Handler/${name}`)

// Payloads and options may hold secrets: a printed instance shows its name and uid alone.
class Unit {
  constructor(
    readonly task: Any,
    readonly payload: Readonly<Record<string, unknown>>,
    readonly options: Options<any>
  ) {}
  toJSON() {
    return { _id: "effect-rhapsody/Task/Instance", task: this.task.name, kind: this.task.kind, uid: this.options.uid }
  }
  toString() {
    return `${this.task.kind} task ${this.task.name}${this.options.uid === undefined ? "" : ` (${this.options.uid})`}`
  }
  [NodeInspectSymbol]() {
    return this.toJSON()
  }
}
class Instance extends Unit {
  get [InstanceTypeId](): typeof InstanceTypeId {
    return InstanceTypeId
  }
}
class Service extends Unit {
  get [ServiceTypeId](): typeof ServiceTypeId {
    return ServiceTypeId
  }
}

interface Schemas extends DefinitionOptions<any> {
  readonly payload?: Schema.Struct.Fields | undefined
  readonly success?: Schema.Schema.AnyNoContext | undefined
  readonly error?: Schema.Schema.All | undefined
}

export const define = (
  name: string,
  body: Implementation,
  { error, payload, success, ...options }: Schemas,
  fallback: Schema.Schema.AnyNoContext
): any => {
  const Kind = body._tag === "service" ? Service : Instance
  const errorSchema: Schema.Schema.All = error ?? Schema.Never
  refuseReserved(name, errorSchema)
  if (body._tag === "executable") refuseUnreadable(name, success ?? fallback)
  const payloadSchema = Schema.Struct(payload ?? {}) as any
  const successSchema: Schema.Schema.AnyNoContext = success ?? fallback
  const self: Any & { make: unknown; toLayer?: unknown } = {
    [TypeId]: TypeId,
    name,
    kind: body._tag,
    payloadSchema,
    successSchema,
    errorSchema,
    implementation: body,
    options,
    codec: makeCodec(payloadSchema, successSchema, errorSchema),
    handler: body._tag === "function" ? handlerTag(name) : undefined,
    make: (payload: any, own?: Options<any>) => new Kind(self, payload ?? {}, merged(options, own))
  }
  if (body._tag === "function") self.toLayer = (handler: any) => toLayer(self, handler)
  return self
}

/** An instance of the same payload and options, without its uid. */
export const anotherOf = (instance: any, own?: Options<any>): any => {
  const { uid: _, ...options }: Options<any> = instance.options
  return new instance.constructor(instance.task, instance.payload, merged(options, own))
}

type HandlerFunction = (payload: any, info: AttemptInfo) => Effect.Effect<unknown, unknown, any>

const invalid =
  (reason: "InvalidPayload" | "InvalidResult") =>
  ({ message }: Issue): Outcome => ({ _tag: "Invalid", reason, message })
const succeeded = (value: unknown): Outcome => ({ _tag: "Success", value })
const failed = (error: unknown): Outcome => ({ _tag: "Failure", error })
const encodeOurs = Schema.encode(RhapsodyError)

/** What a handler failed with: the task's own error, or one of this library, which every handler may fail with. */
export const encodeFailure = (task: Any, error: unknown): Effect.Effect<Outcome> =>
  isRhapsodyError(error)
    ? Effect.map(Effect.orDie(encodeOurs(error)), (error) => ({ _tag: "NestedFailure", error }))
    : Effect.match(task.codec.encodeError(error), { onSuccess: failed, onFailure: invalid("InvalidResult") })

const handle = (task: Any, handler: HandlerFunction, payload: unknown, info: AttemptInfo) =>
  Effect.matchEffect(task.codec.decodePayload(payload), {
    onFailure: (issue) => Effect.succeed(invalid("InvalidPayload")(issue)),
    onSuccess: (decoded) =>
      Effect.matchEffect(
        Effect.suspend(() => handler(decoded, info)),
        {
          onSuccess: (value) =>
            Effect.match(task.codec.encodeSuccess(value), {
              onSuccess: succeeded,
              onFailure: invalid("InvalidResult")
            }),
          onFailure: (error) => encodeFailure(task, error)
        }
      )
  })

const toLayer = (task: Any, handler: HandlerFunction) => {
  const tag = task.handler!
  return Layer.effect(
    tag,
    Effect.map(Effect.context<any>(), (context) => {
      const service: HandlerService = {
        task,
        run: (payload, info) => Effect.provide(handle(task, handler, payload, info), own)
      }
      // Without the span that built the layer, which has ended when the handler runs; with the task itself.
      const own = Context.add(Context.omit(Tracer.ParentSpan)(context), tag, service) as Context.Context<any>
      return service
    })
  )
}
