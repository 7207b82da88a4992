/**
 * What tests are written with: `TestBackend` answers tasks in a test of a program, and `Conformance` is the suite that
 * every backend passes. Nothing of it is loaded by `effect-rhapsody` itself.
 *
 * @example
 * ```ts
 * import { Effect } from "effect"
 * import { ExecutionBackend, Task } from "effect-rhapsody"
 * import { TestBackend } from "effect-rhapsody/testing"
 *
 * const Hostname = Task.executable("Hostname", { command: () => ({ executable: "hostname" }) })
 *
 * export const test = ExecutionBackend.execute(Hostname.make()).pipe(
 *   Effect.provide(TestBackend.layer(TestBackend.stub(Hostname, () => Effect.succeed("node-1"))))
 * )
 * ```
 */
export * as Conformance from "./Conformance.js"
export * as TestBackend from "./TestBackend.js"
