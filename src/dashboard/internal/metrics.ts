import * as Arr from "effect/Array"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricKeyType from "effect/MetricKeyType"
import type * as MetricPair from "effect/MetricPair"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Overview } from "../../operate/Overview.js"
import type { Statistics, Times } from "../../operate/Statistics.js"
import { Defect } from "../DashboardError.js"

type Labels = Readonly<Record<string, string>>
type Sample = readonly [labels: Labels, value: number, suffix?: "_sum" | "_count"]

const read = Schema.decodeUnknown(Overview)

/** How things stand, in the text format of Prometheus. */
export const metricsOf = (value: unknown): Effect.Effect<string, Defect> =>
  Effect.mapBoth(read(value), {
    onFailure: ({ message }) => new Defect({ tag: "ParseError", message }),
    onSuccess: (overview) => textOf(overview) + ofProcess(Metric.unsafeSnapshot())
  })

const own = "effect_recovery_"

/** What the library counts in the program it serves the page of. */
const ofProcess = (pairs: ReadonlyArray<MetricPair.MetricPair.Untyped>): string => {
  const ours = pairs.filter(({ metricKey }) => metricKey.name.startsWith(own))
  return Object.entries(Arr.groupBy(ours, ({ metricKey }) => metricKey.name))
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

const textOf = ({ dashboard, escalations, questions, statistics }: Overview): string => {
  const summary = dashboard.recoverySummary
  return [
    family("effect_recovery_recoveries_on_record", "gauge", "Recoveries on record, by how they stand.", [
      [{ status: "completed" }, summary.successfulRecoveries],
      [{ status: "failed" }, summary.failedRecoveries],
      [{ status: "in_progress" }, summary.inProgressRecoveries]
    ]),
    family("effect_recovery_failures_on_record", "counter", "Failures that were put on record.", [
      [{}, statistics.failures]
    ]),
    family("effect_recovery_failures_open", "gauge", "Failures that are not resolved.", [
      [{}, statistics.openFailures]
    ]),
    family("effect_recovery_questions_open", "gauge", "Questions of suspended runs, the newest 50.", [
      [{}, questions.length]
    ]),
    family("effect_recovery_escalations_open", "gauge", "Escalations that are not resolved, the newest 100.", [
      [{}, escalations.length]
    ]),
    family(
      "effect_recovery_strategy_outcomes",
      "counter",
      "What each strategy came to.",
      strategies(statistics.byStrategy)
    ),
    family("effect_recovery_time_to_recover_seconds", "summary", "From a failure to its good end.", [
      ...Option.match(statistics.timeToRecover, { onNone: () => [], onSome: (times) => quantiles({}, times) })
    ]),
    family(
      "effect_recovery_step_duration_seconds",
      "summary",
      "Of the ten steps that took most of the time.",
      statistics.steps.flatMap(({ step, ...times }) => quantiles({ step }, times))
    )
  ].join("")
}

const family = (name: string, type: string, help: string, samples: ReadonlyArray<Sample>): string =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples
    .map(([labels, value, suffix = ""]) => `${name}${suffix}${labelled(labels)} ${value}\n`)
    .join("")}`

const escaped: Readonly<Record<string, string>> = { "\\": "\\\\", '"': '\\"', "\n": "\\n" }

const labelled = (labels: Labels): string => {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (found) => escaped[found] ?? found)}"`
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
