/**
 * An escalation on record: failures that somebody should look at.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * Who should look at it: a program, a person, or somebody at once.
 *
 * @since 0.1.0
 * @category models
 */
export const Level = Schema.Literal("agent", "human", "critical")
/**
 * @since 0.1.0
 * @category models
 */
export type Level = typeof Level.Type

/**
 * `acknowledged`: somebody looks at it.
 *
 * @since 0.1.0
 * @category models
 */
export const Status = Schema.Literal("open", "acknowledged", "resolved")
/**
 * @since 0.1.0
 * @category models
 */
export type Status = typeof Status.Type

/**
 * What is known of an escalation beside its id and its status.
 *
 * @since 0.1.0
 * @category models
 */
export const Details = Schema.Struct({
  /** The rule that called for it. */
  rule: Schema.String,
  /** What the failures have in common, such as their category. */
  group: Schema.String,
  level: Level,
  /** In words. */
  message: Schema.String,
  /** The ids of the failures, newest first. */
  failures: Schema.Array(Schema.String),
  categories: Schema.Array(Schema.String),
  severities: Schema.Array(Schema.String),
  acknowledgedBy: Schema.optional(Schema.String),
  resolvedBy: Schema.optional(Schema.String),
  note: Schema.optional(Schema.String)
})

/**
 * An escalation, as somebody should see it.
 *
 * @since 0.1.0
 * @category models
 */
export const EscalationRecord = Schema.Struct({
  id: Schema.String,
  status: Status,
  labels: Schema.Record({ key: Schema.String, value: Schema.String }),
  raisedAt: Schema.Date,
  updatedAt: Schema.Date,
  ...Details.fields
})
/**
 * @since 0.1.0
 * @category models
 */
export interface EscalationRecord extends Schema.Schema.Type<typeof EscalationRecord> {}
