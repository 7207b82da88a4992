/** Errors of a backend that was given a name have it, so that two backends of one type can be distinguished. */
import { BackendError, isBackendError } from "../../Errors.js"

/** Adds the name to an error of this type of backend, unless the error has one. A backend without a name adds none. */
export const named =
  (type: string | undefined, name: string | undefined) =>
  <E>(error: E): E | BackendError => {
    if (name === undefined || name === type || !isBackendError(error) || error.backendName !== undefined) return error
    if (type !== undefined && error.backendType !== type) return error
    const { backendType, cause, details, reason, stack } = error
    const more = cause === undefined ? {} : { cause }
    return Object.assign(new BackendError({ backendType, backendName: name, reason, details, ...more }), { stack })
  }
