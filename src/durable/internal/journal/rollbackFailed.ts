import * as Schema from "effect/Schema"
import { RollbackFailed } from "../../../transaction/RollbackFailed.js"
import { Defect } from "./defect.js"

type AnySchema = Schema.Schema<unknown, unknown, unknown>

/** How a rollback that failed is written, by how its original errors are. */
export const rollbackFailed = (error: AnySchema): AnySchema => {
  const fields = Schema.Struct({
    _tag: Schema.tag("RollbackFailed"),
    transaction: Schema.String,
    original: Schema.Cause({ error, defect: Defect }),
    failures: Schema.Array(
      Schema.Struct({ undo: Schema.String, cause: Schema.Cause({ error: Defect, defect: Defect }) })
    ),
    remaining: Schema.Array(Schema.String),
    pivot: Schema.NullOr(Schema.String)
  })
  const self = Schema.declare((input): input is RollbackFailed<unknown> => input instanceof RollbackFailed)
  return Schema.transform(fields, self, {
    strict: true,
    decode: ({ pivot, ...props }) => new RollbackFailed({ ...props, pivot: pivot ?? undefined }),
    encode: ({ failures, original, pivot, remaining, transaction }) => ({
      _tag: "RollbackFailed" as const,
      transaction,
      original,
      failures,
      remaining,
      pivot: pivot ?? null
    })
  }) as AnySchema
}
