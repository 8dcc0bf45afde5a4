/**
 * The failures of records and recoveries that are asked for.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Fault from "../resilience/Fault.js"
import type { StorageError } from "../storage/StorageError.js"

/**
 * There is no failure with this id.
 *
 * @since 0.1.0
 * @category errors
 */
export class FailureNotFound extends Data.TaggedError("FailureNotFound")<{ readonly failure: string }> {
  override get message(): string {
    return `There is no failure "${this.failure}" on record: the id is another one, or it was cleaned up. List the failures to see what there is.`
  }
}

/**
 * There is no recovery with this id.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecoveryNotFound extends Data.TaggedError("RecoveryNotFound")<{ readonly recovery: string }> {
  override get message(): string {
    return `There is no recovery "${this.recovery}" on record: the id is another one, or it was cleaned up. List the recoveries to see what there is.`
  }
}

/**
 * There is no escalation with this id.
 *
 * @since 0.1.0
 * @category errors
 */
export class EscalationNotFound extends Data.TaggedError("EscalationNotFound")<{ readonly escalation: string }> {
  override get message(): string {
    return `There is no escalation "${this.escalation}" on record. List the escalations to see what there is.`
  }
}

/**
 * A record that cannot be read. It was not changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecordDamaged extends Data.TaggedError("RecordDamaged")<{
  readonly kind: string
  readonly id: string
  readonly cause: unknown
}> {
  get [Fault.declared](): Fault.Declaration {
    return { category: "corruption" }
  }
  override get message(): string {
    return `The ${this.kind} "${this.id}" cannot be read: its record was damaged, or written by a newer version. It was not changed.`
  }
}

/**
 * Somebody is recovering this failure already.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecoveryUnderWay extends Data.TaggedError("RecoveryUnderWay")<{
  readonly failure: string
  /** Who recovers it. */
  readonly owner: string
}> {
  get [Fault.declared](): Fault.Declaration {
    return { category: "conflict" }
  }
  override get message(): string {
    return `Failure "${this.failure}" is being recovered by ${this.owner}. Wait for it, and look at its status.`
  }
}

/**
 * What was asked makes no sense. Nothing was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidRequest extends Data.TaggedError("InvalidRequest")<{ readonly message: string }> {}

const advice = {
  Resolved: "It was resolved already: there is nothing to recover.",
  NoRun:
    "It belongs to no run, and there is no action of this type for such failures: give one to RecoveryManager.layer, or to recovery.config.ts.",
  UnknownRun: "Its run is not in this storage any more.",
  UnknownWorkflow: "Its workflow is not known here: give it to RecoveryManager.layer, or to recovery.config.ts.",
  Completed: "Its run has completed since, so it was resolved.",
  NoCheckpoint: "There is no checkpoint of its run from before the failure. Retry or restart it instead.",
  Limit: "It was retried as often as it may be. Rewind the run, answer it by hand, or raise maxRetries."
} as const

/**
 * A recovery that cannot be made. No run was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecoveryRefused extends Data.TaggedError("RecoveryRefused")<{
  readonly failure: string
  readonly reason: keyof typeof advice
}> {
  get [Fault.declared](): Fault.Declaration {
    return { category: "validation" }
  }
  override get message(): string {
    return `Failure "${this.failure}" cannot be recovered so. ${advice[this.reason]}`
  }
}

/**
 * A failure could not be put on record, and retrying it without a record did
 * not help.
 *
 * @since 0.1.0
 * @category errors
 */
export class PlainRetryFailed extends Data.TaggedError("PlainRetryFailed")<{
  /** How often it was retried. */
  readonly attempts: number
  /** What the last retry failed with. */
  readonly error: unknown
  /** Why it could not be put on record. */
  readonly storage: StorageError
}> {
  get [Fault.declared](): Fault.Declaration {
    return { category: "unavailable", transient: false }
  }
  override get message(): string {
    const error = this.error instanceof Error ? this.error.message : String(this.error)
    return `It was retried ${this.attempts} times without a record, and failed: ${error}. The records could not be written: ${this.storage.message}`
  }
}
