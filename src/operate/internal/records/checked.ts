import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { InvalidRequest } from "../../OperateError.js"

/**
 * Refuses a value that is not of its declared type: requests also come from JavaScript, from JSON and through casts.
 * The value itself is returned unchanged.
 */
export const checked = <A, I>(what: string, schema: Schema.Schema<A, I>) => {
  const validate = Schema.validateEither(schema)
  return (value: A): Effect.Effect<A, InvalidRequest> =>
    Effect.suspend(() =>
      Either.match(validate(value), { onLeft: (error) => invalid(what, error), onRight: () => Effect.succeed(value) })
    )
}

/** The refusal of a value, with the first of its problems. */
export const invalid = (what: string, error: ParseResult.ParseError): Effect.Effect<never, InvalidRequest> => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  const path = issue === undefined || issue.path.length === 0 ? "" : ` at ${issue.path.map(String).join(".")}`
  return new InvalidRequest({ message: `The ${what} is invalid${path}: ${issue?.message ?? "it has another type"}` })
}
