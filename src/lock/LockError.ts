/**
 * Why a lock is not acquired, or no longer held.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Defect } from "../resilience/Defect.js"
import { durationText } from "../resilience/DurationText.js"
import * as Fault from "../resilience/Fault.js"
import { inBrackets } from "../resilience/Foreign.js"

/**
 * Why a lock operation failed, other than another holder:
 *
 * - `Reentrant`: the calling fiber already holds the lock
 * - `Folder`: the lock folder cannot be created, or is not a folder
 * - `Permission`: this user may not write the lock or its folder
 * - `Full`: the disk or the user's quota is full
 * - `Descriptors`: this process or the system has no file descriptor left
 * - `Foreign`: the lock's path holds something that is not a lock
 * - `Unsupported`: this system does not support this kind of lock
 * - `Storage`: the storage of the locks failed
 * - `Io`: reading or writing the lock failed
 *
 * @since 0.1.0
 * @category models
 */
export type LockReason = typeof Reason.Type

const Reason = Schema.Literal(
  "Name",
  "Reentrant",
  "Folder",
  "Permission",
  "Full",
  "Descriptors",
  "Foreign",
  "Unsupported",
  "Storage",
  "Io"
)

/** Category of the fault, the problem in words, advice. */
type Meaning = readonly [fault: Fault.Declaration, problem: string, advice: string]

const reasons: Readonly<Record<LockReason, Meaning>> = {
  Name: [{ category: "validation" }, "its name cannot be used", "Choose another name."],
  Reentrant: [{ category: "logic" }, "this fiber already holds it", "Acquire it once, around all code that needs it."],
  Folder: [{ category: "not-found" }, "the lock folder is missing", "Choose one that exists or can be created."],
  Permission: [{ category: "permission" }, "this user lacks the permission", "Make it and its folder writable."],
  Full: [{ category: "resource" }, "the disk or the quota is full", "Free some space, then try again."],
  Descriptors: [
    { category: "resource" },
    "too many files are open",
    "Raise the limit (ulimit -n), or hold fewer locks at once."
  ],
  Foreign: [
    { category: "conflict", transient: false },
    "it is not a lock",
    "Remove it, or choose another lock folder."
  ],
  Unsupported: [{ category: "dependency" }, "not supported here", "Use DirectoryLock.layer or Lock.layerStorage."],
  Storage: [{ category: "unavailable" }, "the storage failed", "See the cause, then try again."],
  Io: [{ category: "resource" }, "reading or writing failed", "Check the disk, then try again."]
}

/**
 * A lock operation failed for a reason other than another holder. This class and
 * the others of this module are schemas too, so a step can declare them as its errors.
 *
 * @since 0.1.0
 * @category errors
 */
export class LockError extends Schema.TaggedError<LockError>("effect-recovery/LockError")("LockError", {
  reason: Reason,
  /** The name of the lock, such as `task/T-1`, or `all` for an operation on all locks. */
  lock: Schema.String,
  /** The file or folder that the operation failed on. */
  path: Schema.optional(Schema.String),
  cause: Schema.optional(Defect)
}) {
  /** How classification sees this error. */
  get [Fault.declared](): Fault.Declaration {
    return reasons[this.reason][0]
  }
  override get message(): string {
    const [, problem, advice] = reasons[this.reason]
    const subject = this.lock === "all" ? "Locks" : `Lock "${this.lock}"`
    const path = this.path === undefined ? "" : ` at ${this.path}`
    const cause = inBrackets(this.cause)
    return `${subject}${path} failed: ${problem}${cause}. ${advice}`
  }
}

/**
 * The state of a lock at one moment.
 *
 * @since 0.1.0
 * @category models
 */
export const LockStatus = Schema.Struct({
  lock: Schema.String,
  /** `stale`: the holder is known to be dead, so the next caller acquires the lock. */
  state: Schema.Literal("held", "stale", "free"),
  /** The fencing token of the last acquisition; 0 if the lock was never acquired. */
  token: Schema.Number,
  /** The holder, as `host/pid@start/number`. */
  owner: Schema.optional(Schema.String),
  /** When the lock was last acquired or released: epoch milliseconds, by the clock of the process that did it. */
  since: Schema.optional(Schema.Number)
})
/**
 * @since 0.1.0
 * @category models
 */
export interface LockStatus extends Schema.Schema.Type<typeof LockStatus> {}

/**
 * Another caller held the lock until the timeout.
 *
 * @since 0.1.0
 * @category errors
 */
export class LockTimeout extends Schema.TaggedError<LockTimeout>("effect-recovery/LockTimeout")("LockTimeout", {
  lock: Schema.String,
  /** The timeout that the caller gave. */
  limit: Schema.DurationFromMillis,
  /** How long the caller waited: at least the limit. */
  waited: Schema.DurationFromMillis,
  /** The state of the lock at the last attempt. */
  status: LockStatus
}) {
  /** How classification sees this error: transient, since the holder may release the lock soon. */
  get [Fault.declared](): Fault.Declaration {
    return { category: "conflict", transient: true }
  }
  override get message(): string {
    const { owner, since } = this.status
    const at = since === undefined ? "" : ` since ${new Date(since).toISOString()}`
    const holder = owner === undefined ? "other callers were queued before this one" : `${owner} holds it${at}`
    return `Lock "${this.lock}" was not acquired within its timeout of ${durationText(this.limit)}: ${holder}. Raise the timeout, or find out why the holder keeps the lock.`
  }
}

/**
 * The holder lost the lock: its lease expired and another process may have
 * acquired it, or the lock's file was removed. `withLock` interrupts its effect.
 *
 * @since 0.1.0
 * @category errors
 */
export class LockLost extends Schema.TaggedError<LockLost>("effect-recovery/LockLost")("LockLost", {
  lock: Schema.String,
  /** The fencing token of the lost acquisition. */
  token: Schema.Number
}) {
  /** How classification sees this error: transient, since the lock can be acquired again. */
  get [Fault.declared](): Fault.Declaration {
    return { category: "conflict", transient: true }
  }
  override get message(): string {
    return `Lock "${this.lock}" (fencing token ${this.token}) was lost; another process may hold it now. Check what the protected work has done, then acquire the lock again.`
  }
}
