/**
 * What `Insights` answers: suggestions, statistics, patterns and tuning, as
 * schemas. Encoded, options are `null` or a value, and durations are
 * milliseconds.
 *
 * @since 0.1.0
 */
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as RetryPolicy from "../resilience/RetryPolicy.js"

const byName = <A, I>(value: Schema.Schema<A, I>) => Schema.Record({ key: Schema.String, value })

/**
 * What can be done about a failure.
 *
 * @since 0.1.0
 * @category models
 */
export const Suggestion = Schema.Struct({
  /** `RecoveryManager.initiate` carries out `retry`, `resume`, `rollback` and `restart`; others are advice. */
  strategy: Schema.String,
  /** Why, in words. */
  reason: Schema.String,
  /** What to change, for `modify`; the checkpoint, for `resume` and `rollback`. */
  parameters: byName(Schema.Union(Schema.String, Schema.Number, Schema.Boolean)),
  /** How well it fits, 0 to 1. Suggestions are ordered by it. */
  confidence: Schema.Number,
  /** The probability that it recovers the failure, 0 to 1. */
  estimatedSuccess: Schema.Number,
  /** The number of recoveries behind both estimates; 0 if they are priors only. */
  cases: Schema.Number
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Suggestion extends Schema.Schema.Type<typeof Suggestion> {}

/**
 * The share of recoveries that succeeded.
 *
 * @since 0.1.0
 * @category models
 */
export const Rate = Schema.Struct({
  successful: Schema.Number,
  /** The recoveries that have ended. */
  total: Schema.Number,
  /** 0 to 1; none if no recovery has ended. */
  successRate: Schema.OptionFromNullOr(Schema.Number)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Rate extends Schema.Schema.Type<typeof Rate> {}

/**
 * Durations from a histogram: percentiles are exact within 10 %.
 *
 * @since 0.1.0
 * @category models
 */
export const Times = Schema.Struct({
  count: Schema.Number,
  mean: Schema.DurationFromMillis,
  p50: Schema.DurationFromMillis,
  p95: Schema.DurationFromMillis,
  p99: Schema.DurationFromMillis
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Times extends Schema.Schema.Type<typeof Times> {}

/**
 * The failures and recoveries of one day.
 *
 * @since 0.1.0
 * @category models
 */
export const Day = Schema.Struct({
  /** Such as `2026-11-26`, in UTC. */
  day: Schema.String,
  failures: Schema.Number,
  recovered: Schema.Number,
  unrecovered: Schema.Number
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Day extends Schema.Schema.Type<typeof Day> {}

/**
 * Compares the last three days with the four before: `worse` with over 20 %
 * more failures a day, `better` with over 20 % fewer.
 *
 * @since 0.1.0
 * @category models
 */
export const Trend = Schema.Literal("better", "steady", "worse")
/**
 * @since 0.1.0
 * @category models
 */
export type Trend = typeof Trend.Type

/**
 * Rates the last seven days: `excellent` if at least 95 % were recovered and at
 * most 2 were not, `good` from 85 % and 5, `fair` from 70 % and 10.
 *
 * @since 0.1.0
 * @category models
 */
export const Health = Schema.Literal("excellent", "good", "fair", "poor")
/**
 * @since 0.1.0
 * @category models
 */
export type Health = typeof Health.Type

const Frequency = Schema.Array(Schema.Struct({ name: Schema.String, count: Schema.Number }))

/**
 * All failures and recoveries on record, in numbers.
 *
 * @since 0.1.0
 * @category models
 */
export const Statistics = Schema.Struct({
  recoveries: Rate,
  failures: Schema.Number,
  openFailures: Schema.Number,
  /** By the last strategy of each recovery. */
  byType: byName(Rate),
  /** By each strategy that was tried. */
  byStrategy: byName(Rate),
  byCategory: byName(byName(Rate)),
  byStep: byName(byName(Rate)),
  /** The ten categories with most failures. */
  frequentCategories: Frequency,
  /** The ten fingerprints with most failures. */
  frequentErrors: Schema.Array(
    Schema.Struct({
      /** The fingerprint. */
      name: Schema.String,
      count: Schema.Number,
      /** The message of the latest failure, if it is one of the last 50 of all. */
      message: Schema.OptionFromNullOr(Schema.String)
    })
  ),
  timeToRecover: Schema.OptionFromNullOr(Times),
  /** The ten steps and recoveries that were retried most often. */
  mostRetried: Schema.Array(
    Schema.Struct({
      step: Schema.String,
      retries: Schema.Number,
      /** The retries that succeeded. */
      successful: Schema.Number,
      meanDelay: Schema.DurationFromMillis
    })
  ),
  /** The ten steps with the longest total time. */
  steps: Schema.Array(Schema.Struct({ step: Schema.String, ...Times.fields })),
  /** The last 30 days, oldest first. */
  days: Schema.Array(Day),
  trend: Trend,
  health: Health
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Statistics extends Schema.Schema.Type<typeof Statistics> {}

/**
 * The recoveries of a period.
 *
 * @since 0.1.0
 * @category models
 */
export const Period = Schema.Struct({
  recoveries: Rate,
  byStrategy: byName(Rate),
  byCategory: byName(Rate),
  /** The number of different runs, or of named recoveries outside of runs. */
  affected: Schema.Number
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Period extends Schema.Schema.Type<typeof Period> {}

/**
 * Open failures with similar messages.
 *
 * @since 0.1.0
 * @category models
 */
export const Pattern = Schema.Struct({
  category: Schema.String,
  /** Up to three words that their messages begin with, without common ones. */
  words: Schema.Array(Schema.String),
  count: Schema.Number,
  /** The newest message. */
  example: Schema.String,
  /** The newest twenty ids. */
  failures: Schema.Array(Schema.String),
  /** What usually helps, by `Insights.Resolutions`. Empty without them. */
  resolutions: Schema.Array(Schema.String)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Pattern extends Schema.Schema.Type<typeof Pattern> {}

const Description = Schema.Struct({
  curve: Schema.Literal("none", "exponential"),
  maxRetries: Schema.optional(Schema.Number),
  initialDelay: Schema.optional(Schema.Number),
  maxDelay: Schema.optional(Schema.Number),
  factor: Schema.optional(Schema.Number),
  jitter: Schema.optional(Schema.Literal("none")),
  honourRetryAfter: Schema.optional(Schema.Boolean)
})

const isPolicy = (value: unknown): value is RetryPolicy.RetryPolicy =>
  Schedule.isSchedule(value) && "description" in value

/** A schedule has no JSON form; the description of the policies that tuning proposes has one. */
const Policy = Schema.transform(Description, Schema.declare(isPolicy), {
  strict: true,
  decode: ({ curve, ...options }) => (curve === "none" ? RetryPolicy.none : RetryPolicy.exponential(options)),
  encode: ({ description }) =>
    description.curve === "exponential"
      ? { ...description, curve: "exponential" as const, jitter: "none" as const }
      : { curve: "none" as const }
})

/**
 * A retry policy for a step. It takes effect only where the program uses it:
 * with `RetryPolicy.layer(policy)`, or wherever a policy is accepted.
 *
 * @since 0.1.0
 * @category models
 */
export const Proposal = Schema.Struct({
  /** Encoded as its description. */
  policy: Policy,
  /** Why, in words. */
  reason: Schema.String,
  /** The probability that retrying by it recovers a failure, 0 to 1. */
  estimatedSuccess: Schema.Number
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Proposal extends Schema.Schema.Type<typeof Proposal> {}

/**
 * The retries of a step so far, and the policy they suggest.
 *
 * @since 0.1.0
 * @category models
 */
export const Tuning = Schema.Struct({
  step: Schema.String,
  /** The recoveries in which the step was retried. */
  cases: Schema.Number,
  /** The share of them in which a retry succeeded, 0 to 1. */
  successRate: Schema.OptionFromNullOr(Schema.Number),
  /** By the number of the retry, from 1. */
  retries: Schema.Array(
    Schema.Struct({
      retry: Schema.Number,
      successful: Schema.Number,
      total: Schema.Number,
      /** The median delay before it. */
      delay: Schema.DurationFromMillis
    })
  ),
  /** A timeout for each attempt: three times the 99th percentile of completed ones; none with fewer than 10. */
  attemptTimeout: Schema.OptionFromNullOr(Schema.DurationFromMillis),
  /** None with fewer than 10 cases. */
  proposal: Schema.OptionFromNullOr(Proposal)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Tuning extends Schema.Schema.Type<typeof Tuning> {}
