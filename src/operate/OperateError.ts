/**
 * The errors of records, and of recoveries on request.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Fault from "../resilience/Fault.js"
import { messageOf } from "../resilience/Foreign.js"
import type { StorageError } from "../storage/StorageError.js"

/**
 * No failure has this id.
 *
 * @since 0.1.0
 * @category errors
 */
export class FailureNotFound extends Data.TaggedError("FailureNotFound")<{ readonly failure: string }> {
  override get message(): string {
    return `No failure on record has the id "${this.failure}". Cleanup may have removed it. List the failures to find the id.`
  }
}

/**
 * No recovery has this id.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecoveryNotFound extends Data.TaggedError("RecoveryNotFound")<{ readonly recovery: string }> {
  override get message(): string {
    return `No recovery on record has the id "${this.recovery}". Cleanup may have removed it. List the recoveries to find the id.`
  }
}

/**
 * No escalation has this id.
 *
 * @since 0.1.0
 * @category errors
 */
export class EscalationNotFound extends Data.TaggedError("EscalationNotFound")<{ readonly escalation: string }> {
  override get message(): string {
    return `No escalation on record has the id "${this.escalation}". List the escalations to find the id.`
  }
}

/**
 * A record cannot be decoded. It was not changed.
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
    return `The record of ${this.kind} "${this.id}" cannot be decoded: it is damaged, or a newer version wrote it. It was not changed.`
  }
}

/**
 * Another recovery of this failure is in progress.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecoveryUnderWay extends Data.TaggedError("RecoveryUnderWay")<{
  readonly failure: string
  /** The process or fiber that runs the other recovery. */
  readonly owner: string
}> {
  get [Fault.declared](): Fault.Declaration {
    return { category: "conflict" }
  }
  override get message(): string {
    return `Failure "${this.failure}" is being recovered by ${this.owner}. Wait until that recovery ends, then check its status.`
  }
}

/**
 * The request has a value of another type than declared, for example from
 * JavaScript or through a cast. Nothing was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidRequest extends Data.TaggedError("InvalidRequest")<{ readonly message: string }> {
  get [Fault.declared](): Fault.Declaration {
    return { category: "validation" }
  }
}

const reasons = {
  Resolved: "It is resolved already.",
  NoRun:
    "It belongs to no run, and there is no action for this type of recovery. Add the action to RecoveryManager.layer or recovery.config.ts.",
  UnknownRun: "The storage no longer holds its run.",
  UnknownWorkflow: "Its workflow is unknown. Add the workflow to RecoveryManager.layer or recovery.config.ts.",
  Running:
    "A process advances its run, and its running step did not end in time. Wait until it has, or raise the option patience of RecoveryManager.layer.",
  Completed: "Its run has completed meanwhile. Resolve the failure by hand, or roll the run back to a checkpoint.",
  NoCheckpoint: "There is no usable checkpoint from before the failure. Retry or restart it instead.",
  UnknownCheckpoint: "The storage has no such checkpoint of its run. List the checkpoints to find the id.",
  Rewind: "Its run cannot go back that far.",
  Unreadable: "The journal of its run cannot be read.",
  Limit: "Its retries have reached the limit. Use another type of recovery, resolve it by hand, or raise maxRetries."
} as const

/**
 * The recovery cannot be made. Nothing was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class RecoveryRefused extends Data.TaggedError("RecoveryRefused")<{
  /** Undefined for a rollback of a checkpoint whose run has no open failure. */
  readonly failure: string | undefined
  /** The checkpoint that was named in the request. */
  readonly checkpoint?: string | undefined
  readonly reason: keyof typeof reasons
  /** What exactly prevents it, for `Rewind` and `Unreadable`. */
  readonly detail?: string | undefined
}> {
  get [Fault.declared](): Fault.Declaration {
    return { category: "validation" }
  }
  override get message(): string {
    const subject =
      this.failure === undefined
        ? `Checkpoint "${this.checkpoint}" cannot be rolled back to.`
        : `Failure "${this.failure}" cannot be recovered this way.`
    return [subject, reasons[this.reason], this.detail].filter((part) => part !== undefined).join(" ")
  }
}

const adoptionReasons = {
  UnknownWorkflow:
    "There is no workflow of this name to move them to. Add it to the workflows of RecoveryManager.layer or recovery.config.ts.",
  UnknownVersion:
    "The version to move them to is not among the workflows of RecoveryManager.layer or recovery.config.ts.",
  SameVersion: "They have the version that they would move to. Change the version of the workflow first.",
  Ambiguous: "Several versions could take them. Name one with the option to."
} as const

/**
 * The runs of a version cannot be adopted. Nothing was changed.
 *
 * @since 0.1.0
 * @category errors
 */
export class AdoptionRefused extends Data.TaggedError("AdoptionRefused")<{
  readonly workflow: string
  /** The version that the runs have. */
  readonly from: string
  /** The version that was asked for. */
  readonly to: string | undefined
  /** The versions of the workflow that the manager has. */
  readonly known: ReadonlyArray<string>
  readonly reason: keyof typeof adoptionReasons
}> {
  get [Fault.declared](): Fault.Declaration {
    return { category: "validation" }
  }
  override get message(): string {
    const known = this.known.length === 0 ? "" : ` Known versions: ${this.known.join(", ")}.`
    return `The runs of workflow "${this.workflow}" cannot move from version "${this.from}". ${adoptionReasons[this.reason]}${known}`
  }
}

/**
 * A failure could not be recorded, and retrying without a record failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class PlainRetryFailed extends Data.TaggedError("PlainRetryFailed")<{
  /** The number of retries. */
  readonly attempts: number
  /** The error of the last retry. */
  readonly error: unknown
  /** Why the failure could not be recorded. */
  readonly storage: StorageError
}> {
  get [Fault.declared](): Fault.Declaration {
    return { category: "unavailable", transient: false }
  }
  override get message(): string {
    const error = messageOf(this.error)
    return `The failure was retried ${this.attempts} times without a record, and the last retry failed: ${error}. The records could not be written: ${this.storage.message}`
  }
}
