/** The error of an attempt. */

import type { TaskErrorReason } from "../Errors.js"
import { TaskError } from "../Errors.js"
import type { ProcessExit } from "../Outcome.js"
import type { Secrets, Spec } from "../Spec.js"
import { detailsOf } from "./failureDetails.js"

const noSecrets: Secrets = new Map()

/**
 * The `TaskError` of an attempt, for drivers; its details say what its program is, too. The library removes the values of
 * secret variables from it.
 */
export const taskError = (
  spec: Spec,
  reason: TaskErrorReason,
  fields: {
    readonly exitCode?: number | undefined
    readonly signal?: string | undefined
    readonly details?: Readonly<Record<string, unknown>> | undefined
    readonly cause?: unknown
    /** How its program ended. */
    readonly exit?: ProcessExit | undefined
  } = {}
): TaskError =>
  new TaskError({
    taskUid: spec.uid,
    task: spec.name,
    reason,
    ...(fields.exitCode === undefined ? {} : { exitCode: fields.exitCode }),
    ...(fields.signal === undefined ? {} : { signal: fields.signal }),
    details: detailsOf(spec.work, noSecrets, fields.details, fields.exit),
    ...(fields.cause === undefined ? {} : { cause: fields.cause })
  })
