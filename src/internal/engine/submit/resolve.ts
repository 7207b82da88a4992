/**
 * Resolution: from a task that was found valid to what a driver takes. It needs the payload, and so comes after everything
 * that the payload waits for: without dependencies, that is right after validation, at submission.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type { AnyDriver, Executable, LocalHooks, Resources, Secrets, Variable, Work } from "../../../Driver.js"
import type { BackendError, ConfigurationError } from "../../../Errors.js"
import { isConfigurationError } from "../../../Errors.js"
import * as Task from "../../../Task.js"
import type { Issue } from "../../codec.js"
import { define } from "../../define.js"
import { describe } from "../../describe.js"
import { copyData, copyEnv, copyInput, copyText } from "../../options/copies.js"
import { millisOf, refuse } from "../../options/values.js"
import { backendError } from "../run/outcome.js"
import type { Prepared } from "../run/taskRecord.js"
import { checkHonoured } from "./honours.js"
import { checkCommand } from "./validate.js"

/** A task that was found valid. Its payload is as the definition's own functions see it: with its defaults, not encoded. */
export interface Valid extends Pick<Prepared, "instance" | "payload" | "retry" | "timeout"> {
  readonly settings: unknown
}

const noVariables: Executable["env"] = {}
const noArgs: ReadonlyArray<Task.Text> = []
const noLines: ReadonlyArray<string> = []
const noResources: Resources = {}
const noSecrets: Secrets = new Map()
const none: ReadonlyArray<never> = []

/** Of the task's two halves: what is data, and what lives in this process. */
interface Half {
  readonly work: Work
  readonly hooks: LocalHooks
}

const noHooks: LocalHooks = { handler: undefined, onChunk: undefined, secrets: noSecrets, span: undefined }

/** Variables as a spec has them, and apart the values of those that are secret. */
const variablesOf = (
  own: Task.Env | undefined,
  option: Task.Env | undefined
): Pick<Executable, "env"> & { readonly secrets: Secrets } => {
  if (own === undefined && option === undefined) return { env: noVariables, secrets: noSecrets }
  const env: Record<string, Variable> = {}
  let secrets: Map<string, Redacted.Redacted<string>> | undefined
  for (const [name, value] of Object.entries(copyEnv(own, option))) {
    if (Redacted.isRedacted(value)) {
      secrets ??= new Map()
      secrets.set(name, value)
      define(env, name, secret)
    } else define(env, name, value)
  }
  return { env, secrets: secrets ?? noSecrets }
}
const secret: Variable = { _tag: "Secret" }

/** The command of an executable or a service. */
const command = (
  task: Task.Any,
  make: (payload: any) => Task.Command,
  payload: unknown,
  { capture, cwd, env, orphans, rlimits, nice, preExec, sandbox }: Task.Options<any>
): Either.Either<{ readonly program: Omit<Executable, "_tag">; readonly hooks: LocalHooks }, ConfigurationError> => {
  let own: Pick<Executable, "executable" | "args" | "stdin" | "env" | "cwd"> & { readonly secrets: Secrets }
  try {
    const command = make(payload)
    const wrong = checkCommand(command, task.name)
    if (wrong !== undefined) return Either.left(wrong)
    const { env: variables, secrets } = variablesOf(command.env, env)
    own = {
      executable: copyText(command.executable),
      args: command.args?.map(copyText) ?? noArgs,
      stdin: copyInput(command.stdin),
      env: variables,
      cwd: cwd ?? command.cwd,
      secrets
    }
  } catch (cause) {
    return Either.left(
      refuse("command", "InvalidPayload", `the command function of task ${task.name} threw: ${describe(cause)}`, cause)
    )
  }
  const onChunk = capture?.onChunk
  return Either.right({
    program: {
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
        streaming: onChunk !== undefined,
        wanted: task.codec.result !== "output"
      },
      preExec: preExec?.slice() ?? noLines,
      sandbox: sandbox ?? false,
      rlimits: rlimits && { ...rlimits },
      nice,
      orphans: orphans ?? "kill"
    },
    hooks:
      onChunk === undefined && own.secrets === noSecrets
        ? noHooks
        : { handler: undefined, onChunk, secrets: own.secrets, span: undefined }
  })
}

const call: Work<"function"> = { _tag: "function" }

const halves = (
  { options, task }: Task.Submittable,
  payload: unknown,
  context: Context.Context<never>,
  standIn: AnyDriver["handler"]
): Either.Either<Half, ConfigurationError> => {
  const { implementation } = task
  switch (implementation._tag) {
    case "executable":
      return Either.map(command(task, implementation.command, payload, options), ({ hooks, program }) => ({
        work: { _tag: "executable", ...program },
        hooks
      }))
    case "service":
      return Either.map(command(task, implementation.command, payload, options), ({ hooks, program }) => ({
        work: { _tag: "service", ...program, ready: implementation.ready },
        hooks
      }))
    case "function": {
      const provided = Context.getOption(context, task.handler!)
      const handler = Option.orElse(provided, () => Option.fromNullable(standIn?.(task)))
      if (Option.isSome(handler) && handler.value.task === task)
        return Either.right({
          work: call,
          hooks: { handler: handler.value, onChunk: undefined, secrets: noSecrets, span: undefined }
        })
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
      const work = implementation.call === "args" ? { ...program, fields: task.codec.fields } : program
      return Either.right({ work, hooks: noHooks })
    }
    case "worker":
      return Either.right({ work: implementation, hooks: noHooks })
  }
}

/** No limit of time is as good as none given. */
const resourcesOf = (given: Task.Resources | undefined): Resources => {
  if (given === undefined) return noResources
  const { walltime, ...resources } = given
  const millis = millisOf(walltime)
  return millis === undefined || millis === Infinity ? resources : { ...resources, walltime: millis }
}

export const resolve = (
  driver: AnyDriver,
  valid: Valid,
  context: Context.Context<never>
): Effect.Effect<Prepared, ConfigurationError | BackendError> => {
  const { instance, payload } = valid
  const { codec, name } = instance.task
  const encoded = codec.encodePayload(payload)
  // synchronous schemas, which are nearly all, answer with an Either
  if (Either.isEither(encoded)) {
    return Either.isRight(encoded)
      ? assemble(driver, valid, context, encoded.right)
      : Effect.fail(unencodable(name, encoded.left as Issue))
  }
  return Effect.matchEffect(encoded, {
    onSuccess: (encoded) => assemble(driver, valid, context, encoded),
    onFailure: (issue) => Effect.fail(unencodable(name, issue))
  })
}

const unencodable = (name: string, { message, path }: Issue) =>
  refuse(path ?? "payload", "InvalidPayload", `payload of ${name}: ${message}`)

const assemble = (
  driver: AnyDriver,
  { instance, payload, retry, settings, timeout }: Valid,
  context: Context.Context<never>,
  encoded: unknown
): Effect.Effect<Prepared, ConfigurationError | BackendError> => {
  const { options, task } = instance
  const what = halves(instance, payload, context, driver.handler)
  if (Either.isLeft(what)) return Effect.fail(what.left)
  const { hooks, work } = what.right
  const resources = resourcesOf(options.resources)
  const ignored = checkHonoured(driver, task.name, work, resources)
  if (ignored !== undefined) return Effect.fail(ignored)
  const prepared: Prepared = {
    task,
    uid: options.uid,
    instance,
    payload,
    spec: {
      name: task.name,
      payload: task.codec.shares ? copyData(encoded) : encoded,
      work,
      resources,
      priority: options.priority ?? 0,
      settings,
      after: none,
      links: none,
      inputs: none,
      outputs: none
    },
    hooks,
    retry,
    timeout
  }
  return driver.check === undefined ? Either.right(prepared) : checked(driver, prepared)
}

/** Every failure of a driver's check is a refusal. */
const checked = (driver: AnyDriver, prepared: Prepared): Effect.Effect<Prepared, ConfigurationError | BackendError> =>
  Effect.matchCauseEffect(
    Effect.suspend(() => driver.check!(prepared.spec, prepared.hooks)),
    {
      onSuccess: () => Effect.succeed(prepared),
      onFailure: (cause) => {
        if (Cause.isInterruptedOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
        const error = Cause.squash(cause)
        return Effect.fail(isConfigurationError(error) ? error : backendError(driver.type, "Rejected", cause))
      }
    }
  )
