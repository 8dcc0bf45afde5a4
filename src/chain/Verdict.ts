/**
 * The result of a validator.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * The result of a validator.
 *
 * @since 0.1.0
 * @category verdicts
 */
export const Verdict = Schema.Struct({
  passed: Schema.Boolean,
  /** Why the text did not pass. */
  message: Schema.optional(Schema.String)
})
/**
 * @since 0.1.0
 * @category verdicts
 */
export type Verdict = typeof Verdict.Type

/**
 * The text passed.
 *
 * @since 0.1.0
 * @category verdicts
 */
export const passed: Verdict = { passed: true }

/**
 * The text did not pass.
 *
 * @since 0.1.0
 * @category verdicts
 */
export const failed = (message: string): Verdict => ({ passed: false, message })
