/**
 * A failure on record: what surfaced, where, and what it is.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const Optional = Schema.optional(Schema.String)

/**
 * What is known of a failure beside its place and its status.
 *
 * @since 0.1.0
 * @category models
 */
export const Details = Schema.Struct({
  /** The run that failed, if it was one. */
  run: Optional,
  workflow: Optional,
  /** The step that failed last in it. */
  step: Optional,
  /** The name of the recovery that came to nothing, outside of runs. */
  recovery: Optional,
  tag: Optional,
  message: Schema.String,
  category: Schema.String,
  severity: Schema.Literal("low", "medium", "high", "critical"),
  transient: Schema.Boolean,
  confidence: Schema.Number,
  /** Equal for failures that differ in numbers, ids and paths alone. */
  fingerprint: Schema.String,
  /** How often it was retried since, on request. */
  retries: Schema.Number,
  /** The end of what was printed, if that was handed over. */
  log: Optional,
  /** The recovery that resolved it, or who did by hand. */
  resolvedBy: Optional,
  resolvedAt: Schema.optional(Schema.Date)
})

/**
 * A failure on record. `resolved` ones were recovered, or closed by hand.
 *
 * @since 0.1.0
 * @category models
 */
export const FailureRecord = Schema.Struct({
  id: Schema.String,
  status: Schema.Literal("open", "resolved"),
  labels: Schema.Record({ key: Schema.String, value: Schema.String }),
  detectedAt: Schema.Date,
  updatedAt: Schema.Date,
  ...Details.fields
})
/**
 * @since 0.1.0
 * @category models
 */
export interface FailureRecord extends Schema.Schema.Type<typeof FailureRecord> {}
