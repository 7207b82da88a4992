/**
 * Launches through agents: processes that start programs, watch them exactly and leave nothing behind, whether this
 * process or an agent crashes. Two share the work, because the process that starts a program waits until the system has
 * started it.
 *
 * Limits, by design: a process that forks twice, leaves its session, clears its environment and closes its output while
 * other programs run beside its own lives until the last of those has ended; peak memory is never reported
 * below that of the agent, about 11 MB, because the system counts it in.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import type { ProcessExit } from "../../Driver.js"
import type { ChannelLoss, Time } from "../bridge/channel.js"
import type { Options as AgentOptions, AgentProgram } from "./agent.js"
import { Agent } from "./agent.js"
import type { Launcher, LaunchFailure } from "./launcher.js"

export interface Options {
  readonly python: string
  readonly env: NodeJS.ProcessEnv
  /** How many agents share the work. */
  readonly agents: number
  readonly silence?: number
  readonly orchestratorSilence?: number
  readonly time?: Time
}

const defaultSilence = 15_000
/** Long, because a program that computes for minutes without pause, or stands in a debugger, is not dead. */
const defaultOrchestratorSilence = 600_000

/** Fails with why no agent could be started: then nothing is left of it. */
export const make = ({
  agents: count,
  env,
  orchestratorSilence = defaultOrchestratorSilence,
  python,
  silence = defaultSilence,
  time
}: Options): Effect.Effect<Launcher, ChannelLoss, Scope.Scope> =>
  Effect.gen(function* () {
    const pool = new Pool(count, { env, orchestratorSilence, python, silence, ...(time === undefined ? {} : { time }) })
    yield* Effect.addFinalizer(() => Effect.async<void>((resume) => pool.close(() => resume(Effect.void))))
    yield* pick(pool)
    let killed = false
    return {
      check: () => Effect.void,
      launch: (launch) =>
        Effect.flatMap(
          Effect.mapError(pick(pool), ({ message }): LaunchFailure => ({ reason: "Lost", details: { message } })),
          (agent) =>
            Effect.acquireUseRelease(
              Effect.sync(() => agent.start(launch)),
              ended,
              (running) => (running.end === undefined ? stop(running, killed ? 0 : launch.grace) : Effect.void)
            )
        ),
      kill: Effect.sync(() => {
        killed = true
        pool.kill()
      })
    } satisfies Launcher
  })

const pick = (pool: Pool): Effect.Effect<Agent, ChannelLoss> =>
  Effect.suspend(() => {
    const agent = pool.idlest()
    return agent === undefined
      ? Effect.async((resume) =>
          pool.wait((answer) => resume("reason" in answer ? Effect.fail(answer) : Effect.succeed(answer)))
        )
      : Effect.succeed(agent)
  })

const ended = (running: AgentProgram): Effect.Effect<ProcessExit, LaunchFailure> =>
  Effect.async((resume) => {
    if (running.end === undefined) running.onEnd(() => resume(running.end!))
    else resume(running.end)
  })

const stop = (running: AgentProgram, grace: number): Effect.Effect<void> =>
  Effect.async((resume) => {
    running.onEnd(() => {
      const { end } = running
      if (end !== undefined && Either.isRight(end)) running.launch.stopped?.(end.right)
      resume(Effect.void)
    })
    running.agent.cancel(running, grace)
  })

/** The agents: the first when it is asked for, the next when there is more than one program; a lost one is replaced. */
class Pool {
  /** Those that answer, and all whose processes may be there. */
  private readonly agents = new Set<Agent>()
  private readonly all = new Set<Agent>()
  private opening = 0
  private readonly waiting: Array<(answer: Agent | ChannelLoss) => void> = []

  constructor(
    private count: number,
    private readonly options: AgentOptions
  ) {}

  /** The one with the least to do; undefined when there is none yet. */
  idlest(): Agent | undefined {
    let best: Agent | undefined
    for (const agent of this.agents) {
      if (agent.alive && (best === undefined || agent.running.size < best.running.size)) best = agent
    }
    if (best !== undefined && best.running.size > 0 && this.agents.size + this.opening < this.count) this.open()
    return best
  }

  wait(answered: (answer: Agent | ChannelLoss) => void): void {
    this.waiting.push(answered)
    if (this.opening === 0) this.open()
  }

  kill(): void {
    for (const agent of this.agents) agent.killAll()
  }

  close(closed: () => void): void {
    let left = this.all.size
    if (left === 0) closed()
    for (const agent of this.all) {
      agent.close(() => {
        left--
        if (left === 0) closed()
      })
    }
  }

  private open(): void {
    this.opening++
    let agent: Agent
    try {
      agent = new Agent(
        this.options,
        (lost) => this.opened(agent, lost),
        () => {
          this.agents.delete(agent)
          agent.close(() => this.all.delete(agent))
          if (this.waiting.length > 0 && this.opening === 0 && this.living() === 0) this.open()
        }
      )
    } catch (cause) {
      // Node throws where the system refuses a process for some reasons, and reports others later
      queueMicrotask(() =>
        this.opened(undefined, { reason: "NotStarted", message: (cause as Error).message, stopped: true })
      )
      return
    }
    this.all.add(agent)
  }

  private living(): number {
    let living = 0
    for (const agent of this.agents) if (agent.alive) living++
    return living
  }

  private opened(agent: Agent | undefined, lost: ChannelLoss | undefined): void {
    this.opening--
    if (agent !== undefined && lost === undefined) this.agents.add(agent)
    else {
      if (agent !== undefined) this.all.delete(agent)
      // fewer are enough where the system has no room for more
      const living = this.living()
      if (living > 0) this.count = living
    }
    if (lost === undefined || (this.opening === 0 && this.living() === 0)) {
      for (const answered of this.waiting.splice(0)) answered(lost ?? agent!)
    }
  }
}
