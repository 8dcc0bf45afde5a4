import * as Schema from "effect/Schema"
import type * as Decision from "../../../resilience/Decision.js"

const Point: Schema.Schema<Decision.Point> = Schema.Union(
  Schema.TaggedStruct("Start", {}),
  Schema.TaggedStruct("Step", { step: Schema.String }),
  Schema.TaggedStruct("Iteration", {}),
  Schema.TaggedStruct("Transaction", {}),
  Schema.TaggedStruct("Checkpoint", {
    name: Schema.optional(Schema.String),
    valid: Schema.optional(Schema.Boolean)
  })
)

/** An answer as it is sent; values are written by schemas that only the run knows. */
const Sent = Schema.parseJson(
  Schema.extend(
    Schema.Union(
      Schema.TaggedStruct("Retry", {
        parameters: Schema.optional(Schema.Struct({ name: Schema.String, value: Schema.Unknown }))
      }),
      Schema.TaggedStruct("Value", { value: Schema.Unknown }),
      Schema.TaggedStruct("Skip", {}),
      Schema.TaggedStruct("Rewind", { to: Point }),
      Schema.TaggedStruct("Abort", {})
    ),
    Schema.Struct({
      /** Who has answered. */
      by: Schema.optional(Schema.String),
      /** Why. */
      note: Schema.optional(Schema.String)
    })
  )
)

export type SentAnswer = typeof Sent.Type

export const encodeAnswer = Schema.encode(Sent)
export const decodeAnswer = Schema.decodeUnknown(Sent)
