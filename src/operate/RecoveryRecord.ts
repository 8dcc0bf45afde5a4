/**
 * A recovery on record: one failure that was handled, from its detection to
 * its outcome.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Info } from "../durable/CheckpointInfo.js"

const Optional = Schema.optional(Schema.String)

/**
 * One step of a recovery's plan, as it was made.
 *
 * @since 0.1.0
 * @category models
 */
export const Progress = Schema.Struct({
  step: Schema.String,
  status: Schema.Literal("in_progress", "completed", "failed"),
  startedAt: Schema.Date,
  endedAt: Schema.optional(Schema.Date),
  /** What it came to, in words. */
  detail: Optional
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Progress extends Schema.Schema.Type<typeof Progress> {}

/** A field that has another name in JSON. */
const named = <const K extends string, A, I>(key: K, schema: Schema.Schema<A, I>) =>
  Schema.propertySignature(schema).pipe(Schema.fromKey(key))

/**
 * The result of checking a checkpoint before it is used. Encoded, its fields
 * are `is_valid`, `errors`, `warnings` and `checked_at`.
 *
 * @since 0.1.0
 * @category models
 */
export const Validation = Schema.Struct({
  isValid: named("is_valid", Schema.Boolean),
  errors: Schema.Array(Schema.String),
  warnings: Schema.Array(Schema.String),
  checkedAt: named("checked_at", Schema.Date)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Validation extends Schema.Schema.Type<typeof Validation> {}

/**
 * @since 0.1.0
 * @category models
 */
export const Status = Schema.Literal("pending", "in_progress", "completed", "failed", "cancelled")
/**
 * @since 0.1.0
 * @category models
 */
export type Status = typeof Status.Type

/**
 * What is known of a recovery beside its id and its status.
 *
 * @since 0.1.0
 * @category models
 */
export const Details = Schema.Struct({
  /** The strategy, such as `retry`. */
  type: Schema.String,
  /** A `program` recovers by its own strategies, the `manager` on request. */
  by: Schema.Literal("program", "manager"),
  /** The failure on record that it is about; what a program recovered by itself is on no other record. */
  failure: Optional,
  run: Optional,
  step: Optional,
  /** The name of the recovery, outside of runs. */
  recovery: Optional,
  category: Schema.String,
  fingerprint: Schema.String,
  message: Schema.String,
  /** Of the work that failed. */
  attempts: Schema.Number,
  plan: Schema.Array(Schema.String),
  progress: Schema.Array(Progress),
  /** The checkpoint it goes back to. */
  target: Optional,
  /** What was saved of the failure before anything was changed. */
  preRecoveryCheckpoint: Optional,
  validation: Schema.optional(Validation),
  /** Whether the checkpoint's bytes were not what they had been. */
  corruptionDetected: Schema.Boolean,
  /** Why it was asked for. */
  reason: Optional,
  /** What it failed with. */
  error: Optional,
  completedAt: Schema.optional(Schema.Date)
})

/**
 * A recovery on record. Its status is final once it is neither `pending` nor
 * `in_progress`.
 *
 * @since 0.1.0
 * @category models
 */
export const RecoveryRecord = Schema.Struct({
  id: Schema.String,
  status: Status,
  labels: Schema.Record({ key: Schema.String, value: Schema.String }),
  startedAt: Schema.Date,
  updatedAt: Schema.Date,
  ...Details.fields
})
/**
 * @since 0.1.0
 * @category models
 */
export interface RecoveryRecord extends Schema.Schema.Type<typeof RecoveryRecord> {}

/**
 * The numbers of all recoveries, the ten newest, and the ten newest
 * checkpoints. Encoded, its fields are in snake case, such as
 * `recovery_summary`.
 *
 * @since 0.1.0
 * @category models
 */
export const Dashboard = Schema.Struct({
  recoverySummary: named(
    "recovery_summary",
    Schema.Struct({
      totalRecoveries: named("total_recoveries", Schema.Number),
      successfulRecoveries: named("successful_recoveries", Schema.Number),
      failedRecoveries: named("failed_recoveries", Schema.Number),
      inProgressRecoveries: named("in_progress_recoveries", Schema.Number),
      /** The share of all recoveries that succeeded, in percent with two digits; 0 if there are none. */
      successRate: named("success_rate", Schema.Number)
    })
  ),
  recoveryByType: named(
    "recovery_by_type",
    Schema.Record({
      key: Schema.String,
      value: Schema.Struct({ total: Schema.Number, successful: Schema.Number })
    })
  ),
  recentRecoveries: named("recent_recoveries", Schema.Array(RecoveryRecord)),
  checkpointStatus: named("checkpoint_status", Schema.Array(Info))
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Dashboard extends Schema.Schema.Type<typeof Dashboard> {}
