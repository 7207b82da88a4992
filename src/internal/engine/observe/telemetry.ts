/**
 * What a task reports besides its events: metrics of bounded cardinality (nothing is labelled with a uid), and
 * one span where a tracer other than Effect's default one is installed.
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DefaultServices from "effect/DefaultServices"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import type * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"

const boundaries = MetricBoundaries.exponential({ start: 0.001, factor: 4, count: 12 })

// Keys that hold their labels find their state once; labels added to a metric would look it up at every update.
const counter = (name: string, description: string, labels: Record<string, string>) =>
  Metric.fromMetricKey(labelled(MetricKey.counter(name, { description }), labels))
const gauge = (name: string, description: string, labels: Record<string, string>) =>
  Metric.fromMetricKey(labelled(MetricKey.gauge(name, { description }), labels))
const histogram = (name: string, description: string, labels: Record<string, string>) =>
  Metric.fromMetricKey(labelled(MetricKey.histogram(name, boundaries, description), labels))
const labelled = <T extends MetricKey.MetricKey.Untyped>(key: T, labels: Record<string, string>): T =>
  Object.entries(labels).reduce((key, [name, value]) => MetricKey.tagged(key, name, value) as T, key)

export interface Metrics {
  readonly ended: (state: string, reason: string) => void
  readonly queued: (count: number) => void
  readonly active: (count: number) => void
  readonly waited: (millis: number) => void
  readonly ran: (millis: number) => void
}

export const metrics = (backend: string): Metrics => {
  const ends = new Map<string, Metric.Metric.Counter<number>>()
  const queued = gauge("effect_rhapsody_queued", "tasks that wait for a slot", { backend })
  const active = gauge("effect_rhapsody_active", "tasks that have one", { backend })
  const waited = histogram("effect_rhapsody_wait_seconds", "from accepted to started", { backend })
  const ran = histogram("effect_rhapsody_run_seconds", "from started to ended", { backend })
  return {
    ended: (state, reason) => {
      const key = `${state} ${reason}`
      const metric = ends.get(key) ?? counter("effect_rhapsody_tasks", "tasks by their end", { backend, state, reason })
      ends.set(key, metric)
      metric.unsafeUpdate(1, [])
    },
    queued: (count) => queued.unsafeUpdate(count as any, []),
    active: (count) => active.unsafeUpdate(count as any, []),
    waited: (millis) => waited.unsafeUpdate((millis / 1000) as any, []),
    ran: (millis) => ran.unsafeUpdate((millis / 1000) as any, [])
  }
}

/** Updates of an engine about attempts that have ended or are unknown, and updates that cannot be read. */
export const ignored = (backend: string): (() => void) => {
  const metric = counter("effect_rhapsody_updates_ignored", "what an engine said to no purpose", { backend })
  return () => metric.unsafeUpdate(1, [])
}

const defaultTracer = Context.get(DefaultServices.liveServices, Tracer.Tracer)

/** The span of a task, child of the submitter's; undefined where there is no tracer. */
export const span = (
  submitter: Fiber.RuntimeFiber<unknown, unknown>,
  { name, uid }: { readonly name: string; readonly uid: string },
  kind: string,
  backend: string,
  clock: Clock.Clock
): Tracer.Span | undefined => {
  const tracer = Context.get(submitter.getFiberRef(DefaultServices.currentServices), Tracer.Tracer)
  if (tracer === defaultTracer || !submitter.getFiberRef(FiberRef.currentTracerEnabled)) return undefined
  const context = submitter.getFiberRef(FiberRef.currentContext) as Context.Context<never>
  const parent = Context.getOption(context, Tracer.ParentSpan) as Option.Option<Tracer.AnySpan>
  const span = tracer.span(`task ${name}`, parent, Context.empty(), [], clock.unsafeCurrentTimeNanos(), "internal")
  span.attribute("task.uid", uid)
  span.attribute("task.name", name)
  span.attribute("task.kind", kind)
  span.attribute("task.backend", backend)
  return span
}
