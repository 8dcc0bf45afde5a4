/**
 * The refusals of the dashboard's API.
 *
 * @since 0.1.0
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as Schema from "effect/Schema"

const fields = {
  /** The error of the library behind it, such as `RecoveryUnderWay`. */
  tag: Schema.String,
  message: Schema.String
}

/**
 * The token is missing or another one.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()(
  "Unauthorized",
  fields,
  HttpApiSchema.annotations({ status: 401 })
) {}

/**
 * The request came from another page, by another name of this host, or would
 * change what is only to be looked at.
 *
 * @since 0.1.0
 * @category errors
 */
export class Forbidden extends Schema.TaggedError<Forbidden>()(
  "Forbidden",
  fields,
  HttpApiSchema.annotations({ status: 403 })
) {}

/**
 * Nothing has this id.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotFound extends Schema.TaggedError<NotFound>()(
  "NotFound",
  fields,
  HttpApiSchema.annotations({ status: 404 })
) {}

/**
 * It cannot be done as things stand; nothing was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class Refused extends Schema.TaggedError<Refused>()(
  "Refused",
  fields,
  HttpApiSchema.annotations({ status: 409 })
) {}

/**
 * It was tried, and failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class Failed extends Schema.TaggedError<Failed>()(
  "Failed",
  fields,
  HttpApiSchema.annotations({ status: 422 })
) {}

/**
 * A bug of the program, or of this library.
 *
 * @since 0.1.0
 * @category errors
 */
export class Defect extends Schema.TaggedError<Defect>()(
  "Defect",
  fields,
  HttpApiSchema.annotations({ status: 500 })
) {}

/**
 * The storage is in trouble.
 *
 * @since 0.1.0
 * @category errors
 */
export class Unavailable extends Schema.TaggedError<Unavailable>()(
  "Unavailable",
  fields,
  HttpApiSchema.annotations({ status: 503 })
) {}
