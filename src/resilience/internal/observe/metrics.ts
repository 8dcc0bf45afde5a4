import * as Metric from "effect/Metric"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"
import * as MetricState from "effect/MetricState"

type Tags = Readonly<Record<string, string>>

const labels = (tags: Tags) => Object.entries(tags).map(([key, value]) => MetricLabel.make(key, value))

/**
 * Counted without an effect, and with the tags in the key: a few nanoseconds,
 * where `Metric.tagged` and an effect would be microseconds on each call.
 */
const counter = (name: string, description: string) => (tags: Tags) => {
  const key = MetricKey.counter(`effect_recovery_${name}`, { description })
  const metric = Metric.fromMetricKey(MetricKey.taggedWithLabels(key, labels(tags)))
  return (by = 1) => metric.unsafeUpdate(by, [])
}

// Every metric of the library: its name and what it counts.
const breakerCalls = counter("breaker_calls", "Calls a circuit breaker saw, by result")
const breakerChanges = counter("breaker_changes", "Changes of state of a circuit breaker, by the new state")
const bulkheadRefused = counter("bulkhead_refused", "Calls a bulkhead had no place for")
const budgetRefused = counter("budget_refused", "Retries not made because their budget was used up")
const faults = counter("faults", "Failures a recovery was asked about, by category")
const decisions = counter("decisions", "Decisions of recoveries, by strategy")
const recoveries = counter("recoveries", "Recoveries that came to an end, by outcome")
const lockWaits = counter("lock_waits", "Locks that were asked for, by kind and result")
const lockWaited = counter("lock_waited_millis", "Milliseconds waited for locks, by kind")
const breakerState = MetricKey.gauge("effect_recovery_breaker_state", {
  description: "0 closed, 1 half-open, 2 open, 3 isolated"
})

const states = { closed: 0, "half-open": 1, open: 2, isolated: 3 } as const

/** The names of those that refuse calls, as far as they have one of their own. */
export const openBreakers = (): ReadonlyArray<string> =>
  Metric.unsafeSnapshot().flatMap(({ metricKey, metricState }) =>
    metricKey.name === breakerState.name && MetricState.isGaugeState(metricState) && metricState.value >= states.open
      ? metricKey.tags.map(({ value }) => value)
      : []
  )

/** Of one breaker, or of all breakers of a keyed group, whose keys would be too many tags. */
export const forBreaker = (breaker: string, isGroup: boolean) => {
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

export const forBulkhead = (bulkhead: string) => ({ refused: bulkheadRefused({ bulkhead }) })

export const forBudget = (budget: string) => ({ refused: budgetRefused({ budget }) })

type LockMeter = (result: "acquired" | "timeout", millis: number) => void

/** Programs have few kinds of locks, and acquire them often. */
const locks = new Map<string, LockMeter>()

/** Of a kind of lock: the names are too many. */
export const forLock = (kind: string): LockMeter => {
  const known = locks.get(kind)
  if (known !== undefined) return known
  const waited = lockWaited({ kind })
  const waits = { acquired: lockWaits({ kind, result: "acquired" }), timeout: lockWaits({ kind, result: "timeout" }) }
  const meter: LockMeter = (result, millis) => {
    waits[result]()
    waited(millis)
  }
  locks.set(kind, meter)
  return meter
}

/** Of a recovery; all of those without a name are counted as one. */
export const forRecovery = (recovery = "unnamed") => ({
  fault: (category: string) => faults({ recovery, category })(),
  decision: (strategy: string, decision: string) => decisions({ recovery, strategy, decision })(),
  ended: (outcome: string) => recoveries({ recovery, outcome })()
})
