/**
 * Heterogeneous HPC and AI tasks as typed values, run by interchangeable backends.
 */

import "./internal/needsEffect3.js"

export * as Backend from "./Backend.js"
export * as BackendRegistry from "./BackendRegistry.js"
export * as ConcurrentBackend from "./ConcurrentBackend.js"
export * as DaskBackend from "./DaskBackend.js"
export * as Defaults from "./Defaults.js"
export * as Driver from "./Driver.js"
export * as Errors from "./Errors.js"
export * as ExecutionBackend from "./ExecutionBackend.js"
export * as Kind from "./Kind.js"
export * as NoopBackend from "./NoopBackend.js"
export * as Outcome from "./Outcome.js"
export * as Output from "./Output.js"
export * as Task from "./Task.js"
export * as TaskDictionary from "./TaskDictionary.js"
export * as TaskFiber from "./TaskFiber.js"
export * as TaskState from "./TaskState.js"
