/**
 * What `StorageCheck.run` answers, as schemas.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * Something that is damaged.
 *
 * @since 0.1.0
 * @category models
 */
export const Finding = Schema.Struct({
  /** The run it belongs to; absent for records and for the file. */
  run: Schema.optional(Schema.String),
  /** What is damaged, such as `line 5 (StepCompleted of "charge")`. */
  what: Schema.String,
  problem: Schema.String,
  /** What can be done. */
  advice: Schema.String
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Finding extends Schema.Schema.Type<typeof Finding> {}

/**
 * @since 0.1.0
 * @category models
 */
export const Findings = Schema.Struct({
  /** How many there are of what was read. */
  runs: Schema.Number,
  lines: Schema.Number,
  checkpoints: Schema.Number,
  records: Schema.Number,
  /** Empty if nothing is damaged. */
  findings: Schema.Array(Finding)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Findings extends Schema.Schema.Type<typeof Findings> {}
