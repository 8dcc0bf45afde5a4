import * as Metric from "effect/Metric"
import * as Option from "effect/Option"

// Test files share a process. Its health counts open circuit breakers: those of earlier files are closed here.
for (const { metricKey } of Metric.unsafeSnapshot()) {
  if (metricKey.name !== "effect_recovery_breaker_state") continue
  const gauge = Metric.gauge(metricKey.name, { description: Option.getOrElse(metricKey.description, () => "") })
  Metric.taggedWithLabels(gauge, metricKey.tags).unsafeUpdate(0, [])
}
