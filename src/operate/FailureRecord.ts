/**
 * The record of a failure: its error, where it occurred, and its classification.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const Optional = Schema.optional(Schema.String)

/**
 * The fields of a failure beside its id, status, labels and times.
 *
 * @since 0.1.0
 * @category models
 */
export const Details = Schema.Struct({
  /** The run that failed; none outside of runs. */
  run: Optional,
  workflow: Optional,
  /** The key of the step that failed last. */
  step: Optional,
  /** The name of the unsuccessful recovery, outside of runs. */
  recovery: Optional,
  tag: Optional,
  message: Schema.String,
  category: Schema.String,
  severity: Schema.Literal("low", "medium", "high", "critical"),
  transient: Schema.Boolean,
  confidence: Schema.Number,
  /** Equal for failures that differ only in numbers, ids and paths. */
  fingerprint: Schema.String,
  /** How often it was retried on request. */
  retries: Schema.Number,
  /** The last 5,000 characters of the reported log. */
  log: Optional,
  /** The id of the recovery that resolved it, the person who did, or `its run`. */
  resolvedBy: Optional,
  resolvedAt: Schema.optional(Schema.Date)
})

/**
 * A failure on record. It is `resolved` once it was recovered, or closed by hand.
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

/**
 * Details of a reported failure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Report {
  /** The id of the failure. Defaults to a random one. If it is in use, the existing failure is returned unchanged. */
  readonly id?: string | undefined
  readonly run?: string | undefined
  readonly workflow?: string | undefined
  readonly step?: string | undefined
  /** Such as `repository` and `commit`. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  /**
   * The output of the failed work. It is classified with the failure, and is
   * the source of the message if the failure has none. Its last 5,000
   * characters are stored.
   */
  readonly log?: string | undefined
}
