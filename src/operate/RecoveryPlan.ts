/**
 * The plan of a recovery: what `RecoveryManager.initiate` would do now, before
 * anything is done.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Info } from "../durable/CheckpointInfo.js"
import { Validation } from "./RecoveryRecord.js"

const Optional = Schema.optional(Schema.String)
const Texts = Schema.Array(Schema.String)

/**
 * What a recovery would do.
 *
 * @since 0.1.0
 * @category models
 */
export const RecoveryPlan = Schema.Struct({
  type: Schema.Literal("retry", "resume", "rollback", "restart"),
  /** The id of the failure; undefined for a rollback of a run without an open failure. */
  failure: Optional,
  /** Why `auto` chose this type; undefined for a type that was named. */
  reason: Optional,
  /** The probability that it recovers the failure, 0 to 1, if `auto` chose it. */
  estimatedSuccess: Schema.optional(Schema.Number),
  /** Whether it continues the `run`, or an `action` of the manager does the work. */
  by: Schema.Literal("run", "action"),
  run: Optional,
  workflow: Optional,
  /** The point that the run goes back to, in words; undefined if it continues where it stopped. */
  point: Optional,
  /** The steps that are compensated, by their keys, in this order. */
  compensates: Texts,
  /** The steps whose results are removed, by their keys. They run again, except after a rollback. */
  removes: Texts,
  /** The checkpoint that it goes back to. */
  checkpoint: Schema.optional(Info),
  /** If it is not valid, the recovery will fail before it changes the run. */
  validation: Schema.optional(Validation),
  /** The category whose fix runs, if the manager has one. */
  fix: Optional,
  /** Such as `retry 2 of 3`, for a retry. */
  limit: Optional,
  /** The names of its steps, in order. */
  steps: Texts
})
/**
 * @since 0.1.0
 * @category models
 */
export interface RecoveryPlan extends Schema.Schema.Type<typeof RecoveryPlan> {}
