/**
 * A checkpoint without its state, as a schema. Encoded, dates are ISO 8601
 * texts.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const Labels = Schema.Record({ key: Schema.String, value: Schema.String })

/**
 * A file, or another artifact with a path, that a checkpoint relies on.
 *
 * @since 0.1.0
 * @category models
 */
export const Artifact = Schema.Struct({
  path: Schema.String,
  /** In bytes. */
  size: Schema.optional(Schema.Number),
  /** SHA-256, in hexadecimal. */
  digest: Schema.optional(Schema.String)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Artifact extends Schema.Schema.Type<typeof Artifact> {}

/**
 * A checkpoint without its state.
 *
 * @since 0.1.0
 * @category models
 */
export const Info = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  /** The key it was saved under; `undefined` for none. */
  key: Schema.optional(Schema.String),
  /** A label for queries, such as `step`, `job` or `manual`. */
  kind: Schema.String,
  /** The version of its schema. */
  version: Schema.Number,
  /** The run it belongs to; `undefined` outside of runs. */
  run: Schema.optional(Schema.String),
  /** The step it was saved in; empty outside of runs. */
  step: Schema.String,
  at: Schema.Date,
  /** The size of its state in bytes, before compression. */
  size: Schema.Number,
  /** SHA-256 over its state: over its bytes, or over its JSON in canonical form. */
  digest: Schema.String,
  labels: Labels,
  environment: Labels,
  dependencies: Schema.Array(Schema.String),
  artifacts: Schema.Array(Artifact),
  metadata: Schema.Record({ key: Schema.String, value: Schema.Unknown }),
  /** Whether its run was rewound to a point before it. */
  rewound: Schema.Boolean
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Info extends Schema.Schema.Type<typeof Info> {}
