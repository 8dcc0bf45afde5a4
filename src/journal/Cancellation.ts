/**
 * A request to cancel a run, and the outcome of a run that was cancelled, as they
 * are stored.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { JournalError, RunCancelled } from "./RunError.js"

const Request = Schema.parseJson(
  Schema.Struct({
    reason: Schema.String,
    by: Schema.optional(Schema.String),
    /** What becomes of the child runs that are still open. */
    children: Schema.optional(Schema.Literal("cancel", "leave"))
  })
)

/**
 * @since 0.1.0
 * @category models
 */
export type CancelRequest = typeof Request.Type

const Ended = Schema.parseJson(
  Schema.Struct({
    reason: Schema.String,
    by: Schema.optional(Schema.String),
    isTerminated: Schema.optional(Schema.Boolean),
    /** Steps that were not compensated, since a pivot comes after them. */
    kept: Schema.optional(Schema.Array(Schema.String))
  })
)

/**
 * @since 0.1.0
 * @category codecs
 */
export const encodeCancelRequest: (request: CancelRequest) => string = Schema.encodeSync(Request)

/**
 * @since 0.1.0
 * @category codecs
 */
export const decodeCancelRequest = (run: string, text: string): Effect.Effect<CancelRequest, JournalError> =>
  Effect.mapError(
    Schema.decode(Request)(text),
    (cause) => new JournalError({ reason: "Decode", run, record: "the request to cancel", cause })
  )

/**
 * The `exit` of a cancelled run.
 *
 * @since 0.1.0
 * @category codecs
 */
export const encodeCancelled: (ended: typeof Ended.Type) => string = Schema.encodeSync(Ended)

/**
 * @since 0.1.0
 * @category codecs
 */
export const decodeCancelled = (run: string, exit: string): Effect.Effect<RunCancelled, JournalError> =>
  Schema.decode(Ended)(exit).pipe(
    Effect.map(
      ({ by, isTerminated = false, kept = [], reason }) =>
        new RunCancelled({ run, reason, by: Option.fromNullable(by), isTerminated, kept })
    ),
    Effect.mapError((cause) => new JournalError({ reason: "Decode", run, record: "outcome", cause }))
  )
