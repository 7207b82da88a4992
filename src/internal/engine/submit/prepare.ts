/**
 * From an instance to what a driver takes: everything that can be wrong with a request is found here, before the task
 * exists, and reported with the field and the remedy. In two steps: `validate` needs no value of the payload, `resolve` does.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import type * as Schema from "effect/Schema"
import type { Values } from "../../../Defaults.js"
import type { AnyDriver } from "../../../Driver.js"
import type { BackendError, ConfigurationError } from "../../../Errors.js"
import * as Task from "../../../Task.js"
import { describe } from "../../describe.js"
import { keyOf } from "../../issue.js"
import { copyData } from "../../options/copies.js"
import { losesAny } from "../../options/lost.js"
import { isRecord, millisOf, mustBe, refuse } from "../../options/values.js"
import { policy } from "../run/retry.js"
import type { Prepared } from "../run/taskRecord.js"
import { checkKind } from "./honours.js"
import type { Valid } from "./resolve.js"
import { resolve } from "./resolve.js"
import { thrown } from "./thrown.js"
import { checkOptions } from "./validate.js"

export const duplicate = (uid: string): ConfigurationError =>
  refuse(
    "uid",
    "DuplicateUid",
    `a task with uid ${uid} is live or ended recently in this backend; choose another or leave it out`
  )

const settings = (driver: AnyDriver, { settings }: Task.Options<any>): Either.Either<unknown, ConfigurationError> => {
  if (settings === undefined) return Either.right(undefined)
  if (!isRecord(settings) || !(Task.SettingsTypeId in settings)) {
    return Either.left(
      mustBe("settings", "what the settings of a backend make, e.g. DaskBackend.settings({})", settings)
    )
  }
  if (settings.backend !== driver.settings?.backend) {
    return Either.left(
      refuse(
        "settings",
        "WrongSettings",
        `these settings are for backend ${settings.backend}, and backend ${driver.type} would run the task; leave them out or submit it there`
      )
    )
  }
  const lost = losesAny(settings.values)
  if (lost !== undefined) return Either.left(refuse("settings", "InvalidOption", lost))
  const decode = ParseResult.decodeUnknownEither(driver.settings.schema as Schema.Schema<unknown, unknown>, {
    onExcessProperty: "error"
  })
  return Either.mapBoth(decode(settings.values), {
    onLeft: (error) => {
      const { message, path } = ParseResult.ArrayFormatter.formatIssueSync(error)[0]!
      return refuse(keyOf(["settings", ...path]), "InvalidOption", message)
    },
    onRight: copyData
  })
}

/** Refuses, or answers with everything that the engine needs. What a user's code throws meanwhile is a refusal too. */
export const prepare: typeof find = (driver, defaults, instance, context, service) => {
  try {
    const found = find(driver, defaults, instance, context, service)
    return Either.isEither(found)
      ? found
      : Effect.catchAllDefect(found, (cause) => Effect.fail(thrown(instance, cause)))
  } catch (cause) {
    return Effect.fail(thrown(instance, cause))
  }
}

const find = (
  driver: AnyDriver,
  defaults: Values,
  instance: Task.Submittable,
  context: Context.Context<never>,
  service: boolean
): Effect.Effect<Prepared, ConfigurationError | BackendError> => {
  const valid = validate(driver, defaults, instance, service)
  return Either.isLeft(valid) ? Effect.fail(valid.left) : resolve(driver, valid.right, context)
}

const notTask = (value: unknown): string =>
  typeof value === "object" && value !== null && Task.TypeId in value
    ? `${(value as Task.Any).name} is a definition, and its instances are submitted; did you forget .make()?`
    : "only what a task definition's make returns can be submitted"

/** Validation: all that can be found wrong without the task's own functions and its encoded payload. */
export const validate = (
  driver: AnyDriver,
  defaults: Values,
  instance: Task.Submittable,
  service: boolean
): Either.Either<Valid, ConfigurationError> => {
  if (!Task.isInstance(instance) && !Task.isService(instance)) {
    return Either.left(refuse(undefined, "NotATask", notTask(instance)))
  }
  const { options, task } = instance
  if (!driver.kinds.includes(task.kind)) {
    return Either.left(
      refuse(
        "kind",
        "UnsupportedKind",
        `backend ${driver.type} runs ${driver.kinds.join(", ")}; task ${task.name} is of kind ${task.kind}`
      )
    )
  }
  if (service !== (task.kind === "service")) {
    const message = service
      ? "only services are started; other tasks are submitted"
      : "a service is started, not submitted"
    return Either.left(refuse("kind", "UnsupportedKind", message))
  }
  const wrong = checkOptions(options) ?? checkKind(instance)
  if (wrong !== undefined) return Either.left(wrong)
  const own = settings(driver, options)
  if (Either.isLeft(own)) return Either.left(own.left)

  let payload: unknown
  try {
    payload = task.codec.withDefaults(instance.payload)
    const lost = task.codec.records ? losesAny(instance.payload) : undefined
    if (lost !== undefined) return Either.left(refuse("payload", "InvalidPayload", `payload of ${task.name} ${lost}`))
  } catch (cause) {
    return Either.left(refuse("payload", "InvalidPayload", `payload of ${task.name}: ${describe(cause)}`, cause))
  }
  const timeout = millisOf(options.timeout ?? defaults.timeout)
  return Either.right({
    instance,
    payload,
    settings: own.right,
    retry: policy(options.retry, defaults),
    timeout: timeout === Infinity ? undefined : timeout
  })
}
