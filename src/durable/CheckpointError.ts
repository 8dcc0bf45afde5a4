/**
 * The failures of checkpoints.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * Something a check has found. An `error` makes the checkpoint invalid, a
 * `warning` does not.
 *
 * @since 0.1.0
 * @category models
 */
export const Problem = Schema.Struct({
  /** Which check: `integrity`, `version`, `schema`, `run`, `state`, `environment`, `artifacts`, `dependencies`, or one of your own. */
  check: Schema.String,
  severity: Schema.Literal("error", "warning"),
  /** What it is about, such as a path. */
  subject: Schema.String,
  message: Schema.String
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Problem extends Schema.Schema.Type<typeof Problem> {}

/**
 * A checkpoint must not be used. Tells everything that is wrong with it at
 * once.
 *
 * @since 0.1.0
 * @category errors
 */
export class CheckpointInvalid extends Schema.TaggedError<CheckpointInvalid>("effect-recovery/CheckpointInvalid")(
  "CheckpointInvalid",
  {
    id: Schema.String,
    /** Its name. */
    checkpoint: Schema.String,
    /** Errors first, then warnings. */
    problems: Schema.Array(Problem)
  }
) {
  override get message(): string {
    const lines = this.problems.map(
      ({ check, message, severity, subject }) => `${severity} ${check} ${subject}: ${message}`
    )
    return `Checkpoint "${this.checkpoint}" (${this.id}) is not valid; use an older one, or mend what is wrong:\n  ${lines.join("\n  ")}`
  }
}

/**
 * There is no checkpoint with this id and name.
 *
 * @since 0.1.0
 * @category errors
 */
export class CheckpointNotFound extends Schema.TaggedError<CheckpointNotFound>("effect-recovery/CheckpointNotFound")(
  "CheckpointNotFound",
  { id: Schema.String, checkpoint: Schema.String }
) {
  override get message(): string {
    return `There is no checkpoint "${this.checkpoint}" with id "${this.id}" in this storage: it has another name, or was cleaned up. Checkpoint.list shows what there is.`
  }
}
