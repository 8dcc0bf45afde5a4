/**
 * What `Overview.overview` and `HealthCheck.run` answer, as schemas.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Waiting } from "../journal/RunError.js"
import { RunCount, RunSummary } from "../journal/RunStatus.js"
import { EscalationRecord } from "./EscalationRecord.js"
import { FailureRecord } from "./FailureRecord.js"
import { Dashboard } from "./RecoveryRecord.js"
import { Statistics } from "./Statistics.js"

/**
 * A question of a suspended run.
 *
 * @since 0.1.0
 * @category models
 */
export const Question = Schema.Struct({ ...Waiting.fields, run: Schema.String, workflow: Schema.String })
/**
 * @since 0.1.0
 * @category models
 */
export interface Question extends Schema.Schema.Type<typeof Question> {}

/**
 * @since 0.1.0
 * @category models
 */
export const Overview = Schema.Struct({
  dashboard: Dashboard,
  statistics: Statistics,
  /** The 50 newest runs. */
  runs: Schema.Array(RunSummary),
  /** The questions of the newest suspended runs that ask one, at most 50. */
  questions: Schema.Array(Question),
  /** The 50 newest open failures. */
  failures: Schema.Array(FailureRecord),
  /** The 50 newest open escalations, and the 50 newest acknowledged ones. */
  escalations: Schema.Array(EscalationRecord)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Overview extends Schema.Schema.Type<typeof Overview> {}

/**
 * `warning`: an operator should look at it. `failing`: it does not work.
 *
 * @since 0.1.0
 * @category models
 */
export const Status = Schema.Literal("ok", "warning", "failing")
/**
 * @since 0.1.0
 * @category models
 */
export type Status = typeof Status.Type

/**
 * The result of one check.
 *
 * @since 0.1.0
 * @category models
 */
export const Check = Schema.Struct({
  name: Schema.Literal(
    "storage",
    "runs",
    "queues",
    "questions",
    "recoveries",
    "failures",
    "escalations",
    "success",
    "locks",
    "breakers"
  ),
  status: Status,
  /** What was found, and what to do. */
  message: Schema.String,
  /** The ids of what it is about, at most ten. */
  about: Schema.Array(Schema.String)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Check extends Schema.Schema.Type<typeof Check> {}

/**
 * The results of all checks.
 *
 * @since 0.1.0
 * @category models
 */
export const Report = Schema.Struct({
  /** The worst status of its checks. */
  status: Status,
  checks: Schema.Array(Check),
  /** The size of the storage; none if it cannot be read. */
  usage: Schema.OptionFromNullOr(
    Schema.Struct({
      bytes: Schema.Number,
      runs: Schema.Number,
      lines: Schema.Number,
      snapshots: Schema.Number,
      records: Schema.Number
    })
  ),
  /** All runs, by workflow and status. */
  runs: Schema.Array(RunCount)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Report extends Schema.Schema.Type<typeof Report> {}
