/**
 * The record of a recovery: how one failure was handled, from its detection to
 * the outcome.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Info } from "../durable/CheckpointInfo.js"

const Optional = Schema.optional(Schema.String)

/**
 * A step of a recovery's plan that has started.
 *
 * @since 0.1.0
 * @category models
 */
export const Progress = Schema.Struct({
  step: Schema.String,
  status: Schema.Literal("in_progress", "completed", "failed"),
  startedAt: Schema.Date,
  endedAt: Schema.optional(Schema.Date),
  /** The result of the step, or its error. */
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
 * `completed`, `failed` and `cancelled` are final.
 *
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
 * The fields of a recovery beside its id, status, labels and times.
 *
 * @since 0.1.0
 * @category models
 */
export const Details = Schema.Struct({
  /** The strategy, such as `retry`. */
  type: Schema.String,
  /** The `program`, by its own strategies, or the `manager`, on request. */
  by: Schema.Literal("program", "manager"),
  /** The id of the failure. A failure that a program recovered has no record of its own. */
  failure: Optional,
  run: Optional,
  step: Optional,
  /** The name of the recovery, outside of runs. */
  recovery: Optional,
  /** The tag of the error. */
  tag: Optional,
  category: Schema.String,
  fingerprint: Schema.String,
  message: Schema.String,
  /** How often the failed work was attempted. */
  attempts: Schema.Number,
  plan: Schema.Array(Schema.String),
  progress: Schema.Array(Progress),
  /** The id of the checkpoint it goes back to. */
  target: Optional,
  /** The id of the checkpoint `before_recovery`, saved before anything was changed. */
  preRecoveryCheckpoint: Optional,
  validation: Schema.optional(Validation),
  /** Whether the bytes of the target checkpoint differ from those that were saved. */
  corruptionDetected: Schema.Boolean,
  /** The reason given with the request. */
  reason: Optional,
  /** Why it failed. */
  error: Optional,
  /** When its failure occurred. By the clock of the process that made it, as `completedAt`, which is never earlier. */
  startedAt: Schema.optional(Schema.Date),
  completedAt: Schema.optional(Schema.Date)
})

/**
 * A recovery on record.
 *
 * @since 0.1.0
 * @category models
 */
export const RecoveryRecord = Schema.Struct({
  id: Schema.String,
  status: Status,
  labels: Schema.Record({ key: Schema.String, value: Schema.String }),
  updatedAt: Schema.Date,
  ...Details.fields,
  startedAt: Schema.Date
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
