/**
 * The error of a transaction that could not be rolled back completely.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import { messageOf } from "../resilience/Foreign.js"

/**
 * A compensation that failed.
 *
 * @since 0.1.0
 * @category models
 */
export interface UndoFailure {
  /** The key of the step, or of the effect with a compensation, that was not undone. */
  readonly undo: string
  readonly cause: Cause.Cause<unknown>
}

/** A generic class cannot extend an expression that mentions its type parameter, so the fields are declared here. */
class Unrolled extends Data.TaggedError("RollbackFailed")<{
  /** The section of the transaction. */
  readonly transaction: string
  /** The failure that started the rollback. */
  readonly original: Cause.Cause<unknown>
  /** The compensations that failed. The enclosing transaction, or a rewind, tries them again. */
  readonly failures: ReadonlyArray<UndoFailure>
  /** The keys that were not compensated because a pivot was passed after them, or the replay did not reach them. */
  readonly remaining: ReadonlyArray<string>
  /** The pivot that stopped the rollback, if there was one. */
  readonly pivot: string | undefined
}> {}

/**
 * A transaction failed, and its rollback is incomplete: a compensation failed
 * or a pivot was passed. Carries the original failure and the failures of the
 * compensations.
 *
 * @since 0.1.0
 * @category errors
 */
export class RollbackFailed<out E> extends Unrolled {
  /**
   * The failure that started the rollback.
   *
   * @since 0.1.0
   */
  declare readonly original: Cause.Cause<E>
  constructor(props: ConstructorParameters<typeof Unrolled>[0]) {
    super(props)
    // Error printers show `cause`: the original error.
    Object.defineProperty(this, "cause", { value: Cause.squash(props.original), enumerable: false, configurable: true })
  }
  /**
   * The original error; undefined if the transaction was interrupted or died.
   *
   * @since 0.1.0
   */
  get error(): E | undefined {
    return Option.getOrUndefined(Cause.failureOption(this.original))
  }
  override get message(): string {
    const failed = this.failures.map(({ cause, undo }) => `"${undo}" (${messageOf(Cause.squash(cause))})`)
    const parts = [
      failed.length === 0
        ? ""
        : ` The compensation of ${failed.join(", ")} failed. Correct the cause, then undo it by hand; in a run, rewind to before the transaction with Workflow.rewind or "recovery initiate --type retry".`,
      this.pivot === undefined ? "" : ` "${this.pivot}" is a pivot and cannot be compensated.`,
      this.remaining.length === 0 ? "" : ` Not compensated: ${this.remaining.map((key) => `"${key}"`).join(", ")}.`
    ]
    const original = messageOf(Cause.squash(this.original))
    return `The rollback of transaction "${this.transaction}" is incomplete.${parts.join("")} The transaction failed with: ${original}`
  }
}
