import * as Metric from "effect/Metric"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"
import * as MetricState from "effect/MetricState"

type Tags = Readonly<Record<string, string>>

const labels = (tags: Tags) => Object.entries(tags).map(([key, value]) => MetricLabel.make(key, value))

/**
 * Updates the metric without an effect and with the tags in its key: this takes
 * nanoseconds per call, `Metric.tagged` in an effect takes microseconds.
 */
const counter = (name: string, description: string) => (tags: Tags) => {
  const key = MetricKey.counter(`effect_recovery_${name}`, { description })
  const metric = Metric.fromMetricKey(MetricKey.taggedWithLabels(key, labels(tags)))
  return (by = 1) => metric.unsafeUpdate(by, [])
}

// All metrics of the library: name and description.
const breakerCalls = counter("breaker_calls", "Calls a circuit breaker saw, by result")
const breakerChanges = counter("breaker_changes", "State changes of a circuit breaker, by the new state")
const bulkheadRefused = counter("bulkhead_refused", "Calls refused by a full bulkhead")
const budgetRefused = counter("budget_refused", "Retries refused by an empty retry budget")
const faults = counter("faults", "Failures handled by recoveries, by category")
const decisions = counter("decisions", "Decisions of recoveries, by strategy")
const recoveries = counter("recoveries", "Recoveries that ended, by outcome")
const lockWaits = counter("lock_waits", "Lock acquisitions, by kind and result")
const lockWaited = counter("lock_waited_millis", "Milliseconds waited for locks, by kind")
const runControls = counter("run_controls", "Runs held, released, asked to cancel and continued, by kind")
const breakerState = MetricKey.gauge("effect_recovery_breaker_state", {
  description: "0 closed, 1 half-open, 2 open, 3 isolated"
})

const states = { closed: 0, "half-open": 1, open: 2, isolated: 3 } as const

/** The names of the breakers that are open or isolated. Breakers of keyed groups have no gauge and are missing. */
export const openBreakers = (): ReadonlyArray<string> =>
  Metric.unsafeSnapshot().flatMap(({ metricKey, metricState }) =>
    metricKey.name === breakerState.name && MetricState.isGaugeState(metricState) && metricState.value >= states.open
      ? metricKey.tags.map(({ value }) => value)
      : []
  )

/** Metrics of one breaker, or of a whole keyed group: a tag per key would be unbounded. */
export const breakerMetrics = (breaker: string, isGroup: boolean) => {
  const gauge = isGroup
    ? undefined
    : Metric.fromMetricKey(MetricKey.taggedWithLabels(breakerState, labels({ breaker })))
  const state = (to: keyof typeof states) => gauge?.unsafeUpdate(states[to], [])
  state("closed")
  return {
    state,
    success: breakerCalls({ breaker, result: "success" }),
    failure: breakerCalls({ breaker, result: "failure" }),
    refused: breakerCalls({ breaker, result: "refused" }),
    changed: (to: keyof typeof states) => {
      breakerChanges({ breaker, to })()
      state(to)
    }
  }
}

export const bulkheadMetrics = (bulkhead: string) => ({ refused: bulkheadRefused({ bulkhead }) })

export const budgetMetrics = (budget: string) => ({ refused: budgetRefused({ budget }) })

/** Counts what this process did to a run from outside, or how it continued one. */
export const countRunControl = (kind: "held" | "released" | "cancel_requested" | "continued"): void =>
  runControls({ kind })()

type LockMetrics = (result: "acquired" | "timeout", millis: number) => void

/** Cached, since programs have few kinds of locks and acquire them often. */
const locks = new Map<string, LockMetrics>()

/** Metrics of one kind of lock: a tag per lock name would be unbounded. */
export const lockMetrics = (kind: string): LockMetrics => {
  const known = locks.get(kind)
  if (known !== undefined) return known
  const waited = lockWaited({ kind })
  const waits = { acquired: lockWaits({ kind, result: "acquired" }), timeout: lockWaits({ kind, result: "timeout" }) }
  const metrics: LockMetrics = (result, millis) => {
    waits[result]()
    waited(millis)
  }
  locks.set(kind, metrics)
  return metrics
}

/** Metrics of one recovery. All recoveries without a name share the name "unnamed". */
export const recoveryMetrics = (recovery = "unnamed") => ({
  fault: (category: string) => faults({ recovery, category })(),
  decision: (strategy: string, decision: string) => decisions({ recovery, strategy, decision })(),
  ended: (outcome: string) => recoveries({ recovery, outcome })()
})
