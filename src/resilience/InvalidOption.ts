/**
 * The error of an option that is outside of its bounds. All modules that take
 * durations, counts and shares refuse them by this error.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import { messageOf } from "./Foreign.js"

/**
 * An option is outside of its bounds, and nothing was done. An invalid option is
 * a bug of the program: a function that returns no effect throws this error, and
 * an effect or layer dies with it. Operations that remove records fail with it,
 * since their options are often configured.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidOption extends Data.TaggedError("InvalidOption")<{
  /** The name of the option. */
  readonly option: string
  /** The value that was refused. */
  readonly value: unknown
  /** The values that are allowed. */
  readonly expected: string
}> {
  override get message(): string {
    return `The option "${this.option}" is ${messageOf(this.value)}; give ${this.expected}.`
  }
}
