/**
 * The errors of the dashboard's API.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as Schema from "effect/Schema"

const fields = {
  /** The `_tag` of the library's error, such as `RecoveryUnderWay`. */
  tag: Schema.String,
  message: Schema.String
}

const status = <A>(status: number) => HttpApiSchema.annotations<A>({ status })

/**
 * The token is missing or wrong.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", fields, status(401)) {}

/**
 * The request came from another site or under another host name, or it would
 * change a read-only dashboard.
 *
 * @since 0.1.0
 * @category errors
 */
export class Forbidden extends Schema.TaggedError<Forbidden>()("Forbidden", fields, status(403)) {}

/**
 * There is no record with this id.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", fields, status(404)) {}

/**
 * The request does not fit the current state; nothing was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class Refused extends Schema.TaggedError<Refused>()("Refused", fields, status(409)) {}

/**
 * The request was carried out and failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class Failed extends Schema.TaggedError<Failed>()("Failed", fields, status(422)) {}

/**
 * A bug of the program or of this library.
 *
 * @since 0.1.0
 * @category errors
 */
export class Defect extends Schema.TaggedError<Defect>()("Defect", fields, status(500)) {}

/**
 * The storage failed, or too many clients listen.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", fields, status(503)) {}
