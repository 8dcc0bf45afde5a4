/**
 * The record of an escalation: a group of failures that needs attention.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The attention it needs: of an agent program, of a person, or of a person at once.
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
 * `acknowledged`: a person is working on it.
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
 * The fields of an escalation beside its id, status, labels and times.
 *
 * @since 0.1.0
 * @category models
 */
export const Details = Schema.Struct({
  /** The name of the rule that raised it. */
  rule: Schema.String,
  /** The group of the failures, such as their category. */
  group: Schema.String,
  level: Level,
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
 * An escalation on record.
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
