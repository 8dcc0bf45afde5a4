/**
 * The errors of checkpoints.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * A problem that a check found. An `error` makes the checkpoint invalid, a
 * `warning` does not.
 *
 * @since 0.1.0
 * @category models
 */
export const Problem = Schema.Struct({
  /** The check that found it: `integrity`, `version`, `schema`, `run`, `state`, `environment`, `artifacts`, `dependencies`, or one of your own. */
  check: Schema.String,
  severity: Schema.Literal("error", "warning"),
  /** The object of the problem, such as a path. */
  subject: Schema.String,
  message: Schema.String
})
/**
 * @since 0.1.0
 * @category models
 */
export interface Problem extends Schema.Schema.Type<typeof Problem> {}

/**
 * The checkpoint must not be used. Lists all of its problems.
 *
 * @since 0.1.0
 * @category errors
 */
export class CheckpointInvalid extends Schema.TaggedError<CheckpointInvalid>("effect-recovery/CheckpointInvalid")(
  "CheckpointInvalid",
  {
    id: Schema.String,
    /** The name of the checkpoint. */
    checkpoint: Schema.String,
    /** Errors first, then warnings. */
    problems: Schema.Array(Problem)
  }
) {
  override get message(): string {
    const lines = this.problems.map(
      ({ check, message, severity, subject }) => `${severity} ${check} ${subject}: ${message}`
    )
    return `Checkpoint "${this.checkpoint}" (${this.id}) is not valid. Use an older one, or fix these problems:\n  ${lines.join("\n  ")}`
  }
}

/**
 * There is no checkpoint with this id, or it has another name.
 *
 * @since 0.1.0
 * @category errors
 */
export class CheckpointNotFound extends Schema.TaggedError<CheckpointNotFound>("effect-recovery/CheckpointNotFound")(
  "CheckpointNotFound",
  {
    id: Schema.String,
    /** The name of the definition that was asked; undefined if it was looked for by its id alone. */
    checkpoint: Schema.optional(Schema.String)
  }
) {
  override get message(): string {
    const where = "in this storage. List the checkpoints to find the id."
    return this.checkpoint === undefined
      ? `There is no checkpoint with the id "${this.id}" ${where}`
      : `There is no checkpoint "${this.checkpoint}" with the id "${this.id}" ${where} It may have another name.`
  }
}
