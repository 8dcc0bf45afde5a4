import * as Schema from "effect/Schema"

/** What a validator says. */
export const Verdict = Schema.Struct({
  passed: Schema.Boolean,
  /** Why not. */
  message: Schema.optional(Schema.String)
})

export type Verdict = typeof Verdict.Type

export const Texts = Schema.Record({ key: Schema.String, value: Schema.String })
export const Verdicts = Schema.Record({ key: Schema.String, value: Verdict })
