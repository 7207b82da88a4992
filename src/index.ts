/**
 * Heterogeneous HPC and AI tasks as typed values, run by interchangeable backends.
 */

import "./internal/needsEffect3.js"

export * as BackendRegistry from "./BackendRegistry.js"
export * as ConcurrentBackend from "./ConcurrentBackend.js"
export * as Conformance from "./Conformance.js"
export * as DaskBackend from "./DaskBackend.js"
export * as Defaults from "./Defaults.js"
export * from "./Errors.js"
export * as ExecutionBackend from "./ExecutionBackend.js"
export * as NoopBackend from "./NoopBackend.js"
export * as Task from "./Task.js"
export * as TaskDictionary from "./TaskDictionary.js"
export * as TaskFiber from "./TaskFiber.js"
export * from "./TaskState.js"
export * as TestBackend from "./TestBackend.js"
