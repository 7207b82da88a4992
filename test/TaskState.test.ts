import { assert, describe, it } from "@effect/vitest"
import type { Next } from "effect-rhapsody/TaskState"
import { canFollow, isTerminal, TaskState, transitions } from "effect-rhapsody/TaskState"

describe("states", () => {
  it("are those of the original", () => {
    assert.deepStrictEqual([...TaskState.literals].sort(), [
      "CANCELED",
      "COMPLETED",
      "EXECUTING",
      "FAILED",
      "NEW",
      "READY",
      "RETRYING",
      "WAITING"
    ])
  })

  it("three are terminal: nothing follows", () => {
    assert.deepStrictEqual([...TaskState.literals].filter(isTerminal).sort(), ["CANCELED", "COMPLETED", "FAILED"])
  })

  it("every other can end as cancelled, and every one can be reached from NEW", () => {
    const reached = new Set<TaskState>(["NEW"])
    for (const state of reached) for (const next of transitions[state]) reached.add(next)
    assert.strictEqual(reached.size, TaskState.literals.length)
    for (const state of TaskState.literals) assert.strictEqual(canFollow(state, "CANCELED"), !isTerminal(state))
  })

  it("a step that is not legal does not compile", () => {
    const legal: Next<"EXECUTING"> = "COMPLETED"
    // @ts-expect-error a task that has ended goes nowhere
    const illegal: Next<"COMPLETED"> = "READY"
    // @ts-expect-error nothing completes that has not run
    const skipped: Next<"NEW"> = "COMPLETED"
    assert.deepStrictEqual(
      [canFollow("EXECUTING", legal), canFollow("COMPLETED", illegal), canFollow("NEW", skipped)],
      [true, false, false]
    )
  })
})
