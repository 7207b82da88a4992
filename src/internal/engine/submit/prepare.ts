/**
 * From an instance to what a driver takes: everything that can be wrong with a request is found here, before the task
 * exists, and told with the field and the remedy.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import type * as Schema from "effect/Schema"
import type { Values } from "../../../Defaults.js"
import type { AnyDriver, Executable, Work } from "../../../Driver.js"
import type { BackendError, ConfigurationError } from "../../../Errors.js"
import { isConfigurationError } from "../../../Errors.js"
import * as Task from "../../../Task.js"
import type { Issue } from "../../codec.js"
import { describe } from "../../describe.js"
import { keyOf } from "../../issue.js"
import { copyData, copyEnv, copyInput, copyText } from "../../options/copies.js"
import { losesAny } from "../../options/lost.js"
import { isRecord, millisOf, mustBe, refuse } from "../../options/values.js"
import { backendError } from "../run/outcome.js"
import { policy } from "../run/retry.js"
import type { Prepared } from "../run/taskRecord.js"
import { checkHonoured, checkKind } from "./honours.js"
import { thrown } from "./thrown.js"
import { checkCommand, checkOptions } from "./validate.js"

export const duplicate = (uid: string): ConfigurationError =>
  refuse(
    "uid",
    "DuplicateUid",
    `a task with uid ${uid} is live or ended recently in this backend; choose another or leave it out`
  )

const noEnv: Task.Env = {}
const noArgs: ReadonlyArray<Task.Text> = []
const noLines: ReadonlyArray<string> = []
const noResources: Task.Resources = {}
const none: ReadonlyArray<never> = []

/** The command of an executable or a service. */
const command = (
  task: Task.Any,
  make: (payload: any) => Task.Command,
  payload: unknown,
  { capture, cwd, env, orphans, rlimits, nice, preExec, sandbox }: Task.Options<any>
): Either.Either<Omit<Executable, "_tag">, ConfigurationError> => {
  let own: Pick<Executable, "executable" | "args" | "stdin" | "env" | "cwd">
  try {
    const command = make(payload)
    const wrong = checkCommand(command, task.name)
    if (wrong !== undefined) return Either.left(wrong)
    own = {
      executable: copyText(command.executable),
      args: command.args?.map(copyText) ?? noArgs,
      stdin: copyInput(command.stdin),
      env: command.env === undefined && env === undefined ? noEnv : copyEnv(command.env, env),
      cwd: cwd ?? command.cwd
    }
  } catch (cause) {
    return Either.left(
      refuse("command", "InvalidPayload", `the command function of task ${task.name} threw: ${describe(cause)}`, cause)
    )
  }
  return Either.right({
    executable: own.executable,
    args: own.args,
    stdin: own.stdin,
    env: own.env,
    cwd: own.cwd,
    capture: {
      limit: capture?.limit ?? Task.defaultCaptureLimit,
      overflow: capture?.overflow ?? "fail",
      stdout: capture?.stdout,
      stderr: capture?.stderr,
      append: capture?.append ?? false,
      makeDirectories: capture?.makeDirectories ?? false,
      mergeStderr: capture?.mergeStderr ?? false,
      onChunk: capture?.onChunk,
      wanted: task.codec.result !== "output"
    },
    preExec: preExec?.slice() ?? noLines,
    sandbox: sandbox ?? false,
    rlimits: rlimits && { ...rlimits },
    nice,
    orphans: orphans ?? "kill"
  })
}

const program = (
  { options, task }: Task.Submittable,
  payload: unknown,
  context: Context.Context<never>,
  standIn: AnyDriver["handler"]
): Either.Either<Work, ConfigurationError> => {
  const { implementation } = task
  switch (implementation._tag) {
    case "executable":
      return Either.map(command(task, implementation.command, payload, options), (_) => ({ _tag: "executable", ..._ }))
    case "service":
      return Either.map(command(task, implementation.command, payload, options), (_) => ({
        ..._,
        _tag: "service",
        ready: implementation.ready
      }))
    case "function": {
      const provided = Context.getOption(context, task.handler!)
      const handler = Option.orElse(provided, () => Option.fromNullable(standIn?.(task)))
      if (Option.isSome(handler) && handler.value.task === task)
        return Either.right({ _tag: "function", handler: handler.value })
      return Either.left(
        refuse(
          "handler",
          "WrongHandler",
          Option.isNone(handler)
            ? `task ${task.name} has no handler here; provide the layer that its toLayer makes`
            : `the handler provided for ${task.name} belongs to another definition of that name; rename one of them`
        )
      )
    }
    case "python": {
      const { failure: _, ...program } = implementation
      return Either.right(implementation.call === "args" ? { ...program, fields: task.codec.fields } : program)
    }
    case "worker":
      return Either.right(implementation)
  }
}

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

const notTask = (value: unknown): string =>
  typeof value === "object" && value !== null && Task.TypeId in value
    ? `${(value as Task.Any).name} is a definition, and its instances are submitted; did you forget .make()?`
    : "only what a task definition's make returns can be submitted"

const find = (
  driver: AnyDriver,
  defaults: Values,
  instance: Task.Submittable,
  context: Context.Context<never>,
  service: boolean
): Effect.Effect<Prepared, ConfigurationError | BackendError> => {
  if (!Task.isInstance(instance) && !Task.isService(instance)) {
    return Effect.fail(refuse(undefined, "NotATask", notTask(instance)))
  }
  const { options, task } = instance
  if (!driver.kinds.includes(task.kind)) {
    return Effect.fail(
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
    return Effect.fail(refuse("kind", "UnsupportedKind", message))
  }
  const wrong = checkOptions(options) ?? checkKind(instance)
  if (wrong !== undefined) return Effect.fail(wrong)
  const own = settings(driver, options)
  if (Either.isLeft(own)) return Effect.fail(own.left)

  let payload: unknown
  try {
    payload = task.codec.withDefaults(instance.payload)
    const lost = task.codec.records ? losesAny(instance.payload) : undefined
    if (lost !== undefined) return Effect.fail(refuse("payload", "InvalidPayload", `payload of ${task.name} ${lost}`))
  } catch (cause) {
    return Effect.fail(refuse("payload", "InvalidPayload", `payload of ${task.name}: ${describe(cause)}`, cause))
  }
  const encoded = task.codec.encodePayload(payload)
  // synchronous schemas, which are nearly all, answer with an Either
  if (Either.isEither(encoded)) {
    return Either.isRight(encoded)
      ? assemble(driver, defaults, instance, context, payload, encoded.right, own.right)
      : Effect.fail(unencodable(task, encoded.left as Issue))
  }
  return Effect.matchEffect(encoded, {
    onSuccess: (encoded) => assemble(driver, defaults, instance, context, payload, encoded, own.right),
    onFailure: (issue) => Effect.fail(unencodable(task, issue))
  })
}

const unencodable = ({ name }: Task.Any, { message, path }: Issue) =>
  refuse(path ?? "payload", "InvalidPayload", `payload of ${name}: ${message}`)

const assemble = (
  driver: AnyDriver,
  defaults: Values,
  instance: Task.Submittable,
  context: Context.Context<never>,
  payload: unknown,
  encoded: unknown,
  settings: unknown
): Effect.Effect<Prepared, ConfigurationError | BackendError> => {
  const { options, task } = instance
  const what = program(instance, payload, context, driver.handler)
  if (Either.isLeft(what)) return Effect.fail(what.left)
  const resources = options.resources === undefined ? noResources : { ...options.resources }
  const ignored = checkHonoured(driver, task.name, what.right, resources)
  if (ignored !== undefined) return Effect.fail(ignored)
  const spec: Prepared["spec"] = {
    name: task.name,
    payload: task.codec.shares ? copyData(encoded) : encoded,
    work: what.right,
    resources,
    priority: options.priority ?? 0,
    settings,
    after: none,
    links: none,
    inputs: none,
    outputs: none
  }
  const timeout = millisOf(options.timeout ?? defaults.timeout)
  const prepared: Prepared = {
    task,
    uid: options.uid,
    instance,
    payload,
    spec,
    retry: policy(options.retry, defaults),
    timeout: timeout === Infinity ? undefined : timeout
  }
  return driver.check === undefined ? Either.right(prepared) : checked(driver, prepared)
}

/** What a driver's check fails with is a refusal, whatever it is. */
const checked = (driver: AnyDriver, prepared: Prepared): Effect.Effect<Prepared, ConfigurationError | BackendError> =>
  Effect.matchCauseEffect(
    Effect.suspend(() => driver.check!(prepared.spec)),
    {
      onSuccess: () => Effect.succeed(prepared),
      onFailure: (cause) => {
        if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
        const error = Cause.squash(cause)
        return Effect.fail(isConfigurationError(error) ? error : backendError(driver.type, "Rejected", cause))
      }
    }
  )
