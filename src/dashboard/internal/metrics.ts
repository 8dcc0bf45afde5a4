import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricKeyType from "effect/MetricKeyType"
import type * as MetricPair from "effect/MetricPair"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Value } from "../../operate/OperatorRequests.js"
import { Overview } from "../../operate/Reports.js"
import type { Statistics, Times } from "../../operate/Statistics.js"
import { Defect } from "../DashboardError.js"

type Labels = Readonly<Record<string, string>>
type Sample = readonly [labels: Labels, value: number, suffix?: "_sum" | "_count"]

const decode = Schema.decode(Overview)

/** The overview and the process's own counters, in the text format of Prometheus. */
export const metricsOf = (value: Value<"Overview">): Effect.Effect<string, Defect> =>
  Effect.mapBoth(decode(value), {
    onFailure: ({ message }) => new Defect({ tag: "ParseError", message }),
    onSuccess: (overview) => overviewMetrics(overview) + processMetrics(Metric.unsafeSnapshot())
  })

const prefix = "effect_recovery_"

/** The library's metrics in the serving process. */
const processMetrics = (pairs: ReadonlyArray<MetricPair.MetricPair.Untyped>): string => {
  const own = pairs.filter(({ metricKey }) => metricKey.name.startsWith(prefix))
  return Object.entries(Arr.groupBy(own, ({ metricKey }) => metricKey.name))
    .map(([name, of]) => {
      const key = of[0].metricKey
      const help = Option.getOrElse(key.description, () => name)
      return family(name, MetricKeyType.isGaugeKey(key.keyType) ? "gauge" : "counter", help, of.flatMap(sampleOf))
    })
    .join("")
}

const sampleOf = ({ metricKey, metricState }: MetricPair.MetricPair.Untyped): ReadonlyArray<Sample> => {
  const value = MetricState.isCounterState(metricState)
    ? metricState.count
    : MetricState.isGaugeState(metricState)
      ? metricState.value
      : undefined
  if (value === undefined) return []
  return [[Object.fromEntries(metricKey.tags.map(({ key, value }) => [key, value])), Number(value)]]
}

const overviewMetrics = ({ dashboard, escalations, questions, statistics }: Overview): string => {
  const summary = dashboard.recoverySummary
  return [
    family("effect_recovery_recoveries_on_record", "gauge", "Recoveries on record, by status.", [
      [{ status: "completed" }, summary.successfulRecoveries],
      [{ status: "failed" }, summary.failedRecoveries],
      [{ status: "in_progress" }, summary.inProgressRecoveries]
    ]),
    family("effect_recovery_failures_on_record", "counter", "Failures on record.", [[{}, statistics.failures]]),
    family("effect_recovery_failures_open", "gauge", "Open failures.", [[{}, statistics.openFailures]]),
    family("effect_recovery_questions_open", "gauge", "Open questions of suspended runs, at most 50.", [
      [{}, questions.length]
    ]),
    family("effect_recovery_escalations_open", "gauge", "Unresolved escalations, at most 100.", [
      [{}, escalations.length]
    ]),
    family(
      "effect_recovery_strategy_outcomes",
      "counter",
      "Outcomes of each strategy.",
      strategies(statistics.byStrategy)
    ),
    family("effect_recovery_time_to_recover_seconds", "summary", "Time from a failure to its recovery.", [
      ...Option.match(statistics.timeToRecover, { onNone: () => [], onSome: (times) => quantiles({}, times) })
    ]),
    family(
      "effect_recovery_step_duration_seconds",
      "summary",
      "Durations of the ten steps with the longest total time.",
      statistics.steps.flatMap(({ step, ...times }) => quantiles({ step }, times))
    )
  ].join("")
}

const family = (name: string, type: string, help: string, samples: ReadonlyArray<Sample>): string =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples
    .map(([labels, value, suffix = ""]) => `${name}${suffix}${labelled(labels)} ${value}\n`)
    .join("")}`

const escapes: Readonly<Record<string, string>> = { "\\": "\\\\", '"': '\\"', "\n": "\\n" }

const labelled = (labels: Labels): string => {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (found) => escapes[found] ?? found)}"`
  )
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`
}

const strategies = (all: Statistics["byStrategy"]): ReadonlyArray<Sample> =>
  Object.entries(all).flatMap(
    ([strategy, { successful, total }]): ReadonlyArray<Sample> => [
      [{ strategy, outcome: "recovered" }, successful],
      [{ strategy, outcome: "unrecovered" }, total - successful]
    ]
  )

const quantiles = (labels: Labels, { count, mean, p50, p95, p99 }: Times): ReadonlyArray<Sample> => [
  [{ ...labels, quantile: "0.5" }, Duration.toSeconds(p50)],
  [{ ...labels, quantile: "0.95" }, Duration.toSeconds(p95)],
  [{ ...labels, quantile: "0.99" }, Duration.toSeconds(p99)],
  [labels, Duration.toSeconds(mean) * count, "_sum"],
  [labels, count, "_count"]
]
