/**
 * What the dashboard's API answers with.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Waiting } from "../durable/RunError.js"
import { EscalationRecord } from "../operate/EscalationRecord.js"
import { FailureRecord } from "../operate/FailureRecord.js"
import { RecoveryRecord } from "../operate/RecoveryRecord.js"

const Labels = Schema.Record({ key: Schema.String, value: Schema.String })
const MaybeDate = Schema.OptionFromNullOr(Schema.Date)
const MaybeText = Schema.OptionFromNullOr(Schema.String)
const byName = <A, I>(value: Schema.Schema<A, I>) => Schema.Record({ key: Schema.String, value })

/**
 * As `Insights.Rate`.
 *
 * @since 0.1.0
 * @category models
 */
export const Rate = Schema.Struct({
  successful: Schema.Number,
  total: Schema.Number,
  successRate: Schema.OptionFromNullOr(Schema.Number)
})

/**
 * As `Insights.Times`, in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export const Times = Schema.Struct({
  count: Schema.Number,
  mean: Schema.DurationFromMillis,
  p50: Schema.DurationFromMillis,
  p95: Schema.DurationFromMillis,
  p99: Schema.DurationFromMillis
})

const Frequent = Schema.Array(Schema.Struct({ name: Schema.String, count: Schema.Number }))

/**
 * As `Insights.Statistics`.
 *
 * @since 0.1.0
 * @category models
 */
export const Statistics = Schema.Struct({
  recoveries: Rate,
  failures: Schema.Number,
  openFailures: Schema.Number,
  byType: byName(Rate),
  byStrategy: byName(Rate),
  byCategory: byName(byName(Rate)),
  byStep: byName(byName(Rate)),
  frequentCategories: Frequent,
  frequentErrors: Frequent,
  timeToRecover: Schema.OptionFromNullOr(Times),
  mostRetried: Schema.Array(
    Schema.Struct({
      step: Schema.String,
      retries: Schema.Number,
      successful: Schema.Number,
      meanDelay: Schema.DurationFromMillis
    })
  ),
  steps: Schema.Array(Schema.Struct({ step: Schema.String, ...Times.fields })),
  days: Schema.Array(
    Schema.Struct({
      day: Schema.String,
      failures: Schema.Number,
      recovered: Schema.Number,
      unrecovered: Schema.Number
    })
  ),
  trend: Schema.Literal("better", "steady", "worse"),
  health: Schema.Literal("excellent", "good", "fair", "poor")
})

/**
 * As `Checkpoint.Info`.
 *
 * @since 0.1.0
 * @category models
 */
export const CheckpointInfo = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  kind: Schema.String,
  version: Schema.Number,
  run: Schema.optional(Schema.String),
  step: Schema.String,
  at: Schema.Date,
  size: Schema.Number,
  digest: Schema.String,
  labels: Labels,
  environment: Labels,
  dependencies: Schema.Array(Schema.String),
  artifacts: Schema.Array(
    Schema.Struct({
      path: Schema.String,
      size: Schema.optional(Schema.Number),
      digest: Schema.optional(Schema.String)
    })
  ),
  metadata: Schema.Record({ key: Schema.String, value: Schema.Unknown }),
  rewound: Schema.Boolean
})

/**
 * As `RecoveryManager.Dashboard`.
 *
 * @since 0.1.0
 * @category models
 */
export const Summary = Schema.Struct({
  recovery_summary: Schema.Struct({
    total_recoveries: Schema.Number,
    successful_recoveries: Schema.Number,
    failed_recoveries: Schema.Number,
    in_progress_recoveries: Schema.Number,
    success_rate: Schema.Number
  }),
  recovery_by_type: byName(Schema.Struct({ total: Schema.Number, successful: Schema.Number })),
  recent_recoveries: Schema.Array(RecoveryRecord),
  checkpoint_status: Schema.Array(CheckpointInfo)
})

/**
 * As `Workflow.RunSummary`.
 *
 * @since 0.1.0
 * @category models
 */
export const RunSummary = Schema.Struct({
  id: Schema.String,
  workflow: Schema.String,
  version: Schema.String,
  status: Schema.Literal("running", "suspended", "stopped", "completed", "failed"),
  labels: Labels,
  createdAt: Schema.Date,
  finishedAt: MaybeDate,
  owner: MaybeText,
  executions: Schema.Number,
  waiting: Schema.Array(Waiting),
  dueAt: MaybeDate
})

const Rewind = Schema.Struct({ at: Schema.Date, by: Schema.String, point: Schema.String, reason: Schema.String })

/**
 * As `Workflow.RunStatus`.
 *
 * @since 0.1.0
 * @category models
 */
export const RunStatus = Schema.Struct({
  ...RunSummary.fields,
  steps: Schema.Array(
    Schema.Struct({
      key: Schema.String,
      status: Schema.Literal("started", "waiting", "asked", "completed", "failed"),
      attempts: Schema.Number,
      compensation: Schema.OptionFromNullOr(Schema.Literal("registered", "started", "completed", "failed")),
      startedAt: Schema.Date,
      updatedAt: Schema.Date,
      nextAttemptAt: MaybeDate,
      ambiguous: Schema.Array(Schema.Number)
    })
  ),
  waits: Schema.Array(
    Schema.Struct({
      id: Schema.String,
      kind: Schema.Literal("sleep", "signal", "question"),
      about: Schema.String,
      to: MaybeText,
      startedAt: Schema.Date,
      until: MaybeDate,
      endedAt: MaybeDate,
      answered: Schema.Boolean
    })
  ),
  rollbacks: Schema.Array(
    Schema.Struct({
      transaction: Schema.String,
      status: Schema.Literal("started", "completed", "failed"),
      reason: Schema.String,
      updatedAt: Schema.Date
    })
  ),
  rewinds: Schema.Array(Rewind),
  rewinding: Schema.OptionFromNullOr(Rewind)
})

/**
 * As `Overview.Question`.
 *
 * @since 0.1.0
 * @category models
 */
export const Question = Schema.Struct({ ...Waiting.fields, run: Schema.String, workflow: Schema.String })

/**
 * As `Overview.Overview`.
 *
 * @since 0.1.0
 * @category models
 */
export const Overview = Schema.Struct({
  dashboard: Summary,
  statistics: Statistics,
  runs: Schema.Array(RunSummary),
  questions: Schema.Array(Question),
  failures: Schema.Array(FailureRecord),
  escalations: Schema.Array(EscalationRecord)
})

/**
 * As `Insights.Suggestion`.
 *
 * @since 0.1.0
 * @category models
 */
export const Suggestion = Schema.Struct({
  strategy: Schema.String,
  reason: Schema.String,
  parameters: byName(Schema.Union(Schema.String, Schema.Number, Schema.Boolean)),
  confidence: Schema.Number,
  estimatedSuccess: Schema.Number,
  cases: Schema.Number
})

/**
 * As `Insights.Pattern`.
 *
 * @since 0.1.0
 * @category models
 */
export const Pattern = Schema.Struct({
  category: Schema.String,
  words: Schema.Array(Schema.String),
  count: Schema.Number,
  example: Schema.String,
  failures: Schema.Array(Schema.String),
  resolutions: Schema.Array(Schema.String)
})

/**
 * As `Insights.Tuning`, with the description of the policy.
 *
 * @since 0.1.0
 * @category models
 */
export const Tuning = Schema.Struct({
  step: Schema.String,
  cases: Schema.Number,
  successRate: Schema.OptionFromNullOr(Schema.Number),
  retries: Schema.Array(
    Schema.Struct({
      retry: Schema.Number,
      successful: Schema.Number,
      total: Schema.Number,
      delay: Schema.DurationFromMillis
    })
  ),
  attemptTimeout: Schema.OptionFromNullOr(Schema.DurationFromMillis),
  proposal: Schema.OptionFromNullOr(
    Schema.Struct({
      policy: Schema.Record({ key: Schema.String, value: Schema.Unknown }),
      reason: Schema.String,
      estimatedSuccess: Schema.Number
    })
  )
})

const HealthStatus = Schema.Literal("ok", "warning", "failing")

/**
 * As `HealthCheck.Report`.
 *
 * @since 0.1.0
 * @category models
 */
export const HealthReport = Schema.Struct({
  status: HealthStatus,
  checks: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      status: HealthStatus,
      message: Schema.String,
      about: Schema.Array(Schema.String)
    })
  ),
  usage: Schema.OptionFromNullOr(
    Schema.Struct({
      bytes: Schema.Number,
      runs: Schema.Number,
      lines: Schema.Number,
      snapshots: Schema.Number,
      records: Schema.Number
    })
  ),
  runs: Schema.Array(
    Schema.Struct({
      workflow: Schema.String,
      status: RunSummary.fields.status,
      runs: Schema.Number,
      oldest: Schema.Date,
      newest: Schema.Date
    })
  )
})
