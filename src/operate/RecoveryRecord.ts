/**
 * A recovery on record: one failure that was handled, from its detection to
 * its outcome.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

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

/**
 * What the checks of the checkpoint have found before it was used.
 *
 * @since 0.1.0
 * @category models
 */
export const Validation = Schema.Struct({
  is_valid: Schema.Boolean,
  errors: Schema.Array(Schema.String),
  warnings: Schema.Array(Schema.String),
  checked_at: Schema.Date
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
