/**
 * What the operator's requests for queues and schedules answer, as schemas.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const MaybeDate = Schema.OptionFromNullOr(Schema.Date)
const MaybeText = Schema.OptionFromNullOr(Schema.String)

const MaybeNumber = Schema.OptionFromNullOr(Schema.Number)

/**
 * The limits of a queue, over all processes.
 *
 * @since 0.1.0
 * @category models
 */
export const QueueLimits = Schema.Struct({
  /** The most runs at once. */
  concurrency: MaybeNumber,
  /** The most runs of one key at once. */
  perKey: MaybeNumber,
  /** The most starts within any period, of the queue or of each key. */
  rate: Schema.OptionFromNullOr(Schema.Struct({ limit: Schema.Number, millis: Schema.Number, perKey: Schema.Boolean }))
})
/**
 * @since 0.1.0
 * @category models
 */
export interface QueueLimits extends Schema.Schema.Type<typeof QueueLimits> {}

/**
 * A queue that has open runs, or that a worker has or had. Runs on hold are not counted.
 *
 * @since 0.1.0
 * @category models
 */
export const QueueStatus = Schema.Struct({
  queue: Schema.String,
  /** Runs that a worker has. */
  running: Schema.Number,
  /** Runs that are due and wait for a place. */
  due: Schema.Number,
  /** Runs that are not due yet. */
  waiting: Schema.Number,
  /** Since when the oldest due run waits. */
  oldest: MaybeDate,
  /** As the worker that started last has them. None if no worker has had the queue. */
  limits: Schema.OptionFromNullOr(QueueLimits)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface QueueStatus extends Schema.Schema.Type<typeof QueueStatus> {}

/**
 * A schedule that a worker has or had.
 *
 * @since 0.1.0
 * @category models
 */
export const ScheduleStatus = Schema.Struct({
  name: Schema.String,
  workflow: Schema.String,
  /** When it is due: by a cron expression in a time zone, or every so many milliseconds. */
  rule: Schema.Union(
    Schema.Struct({ cron: Schema.String, timeZone: Schema.String }),
    Schema.Struct({ everyMillis: Schema.Number })
  ),
  catchUp: Schema.String,
  overlap: Schema.String,
  paused: Schema.OptionFromNullOr(Schema.Struct({ since: Schema.Date, reason: MaybeText, by: MaybeText })),
  /** None while it is paused. */
  nextDue: MaybeDate,
  /** Its latest run, by a due time or by hand. */
  last: Schema.OptionFromNullOr(Schema.Struct({ run: Schema.String, due: Schema.Date })),
  /** Due times whose runs wait until those before them have ended. */
  waiting: Schema.Array(Schema.Date)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface ScheduleStatus extends Schema.Schema.Type<typeof ScheduleStatus> {}
