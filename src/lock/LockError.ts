/**
 * Why a lock is not acquired, or no longer held.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as Fault from "../resilience/Fault.js"
import { inBrackets } from "../resilience/Foreign.js"

/**
 * Why a lock operation failed, other than another holder:
 *
 * - `Reentrant`: the calling fiber already holds the lock
 * - `Folder`: the lock folder cannot be created, or is not a folder
 * - `Permission`: this user may not write the lock or its folder
 * - `Full`: the disk or the user's quota is full
 * - `Foreign`: the lock's path holds something that is not a lock
 * - `Unsupported`: this system does not support this kind of lock
 * - `Storage`: the storage of the locks failed
 * - `Io`: reading or writing the lock failed
 *
 * @since 0.1.0
 * @category models
 */
export type LockReason =
  | "Name"
  | "Reentrant"
  | "Folder"
  | "Permission"
  | "Full"
  | "Foreign"
  | "Unsupported"
  | "Storage"
  | "Io"

/** Category of the fault, the problem in words, advice. */
type Reason = readonly [fault: Fault.Declaration, problem: string, advice: string]

const reasons: Readonly<Record<LockReason, Reason>> = {
  Name: [{ category: "validation" }, "its name cannot be used", "Choose another name."],
  Reentrant: [{ category: "logic" }, "this fiber already holds it", "Acquire it once, around all code that needs it."],
  Folder: [{ category: "not-found" }, "the lock folder is missing", "Choose one that exists or can be created."],
  Permission: [{ category: "permission" }, "this user lacks the permission", "Make it and its folder writable."],
  Full: [{ category: "resource" }, "the disk or the quota is full", "Free some space, then try again."],
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
 * A lock operation failed for a reason other than another holder.
 *
 * @since 0.1.0
 * @category errors
 */
export class LockError extends Data.TaggedError("LockError")<{
  readonly reason: LockReason
  /** The name of the lock, such as `task/T-1`, or `all` for an operation on all locks. */
  readonly lock: string
  /** The file or folder that the operation failed on. */
  readonly path?: string | undefined
  readonly cause?: unknown
}> {
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
export class LockTimeout extends Data.TaggedError("LockTimeout")<{
  readonly lock: string
  readonly waited: Duration.Duration
  /** The state of the lock at the last attempt. */
  readonly status: LockStatus
}> {
  /** How classification sees this error: transient, since the holder may release the lock soon. */
  get [Fault.declared](): Fault.Declaration {
    return { category: "conflict", transient: true }
  }
  override get message(): string {
    const { owner, since } = this.status
    const seconds = Math.round(Duration.toMillis(this.waited) / 100) / 10
    const at = since === undefined ? "" : ` since ${new Date(since).toISOString()}`
    const holder = owner === undefined ? "other callers were queued before this one" : `${owner} holds it${at}`
    return `Lock "${this.lock}" was not acquired within ${seconds} s: ${holder}. Raise the timeout, or find out why the holder keeps the lock.`
  }
}

/**
 * The holder lost the lock: its lease expired and another process may have
 * acquired it, or the lock's file was removed. `withLock` interrupts its effect.
 *
 * @since 0.1.0
 * @category errors
 */
export class LockLost extends Data.TaggedError("LockLost")<{ readonly lock: string; readonly token: number }> {
  /** How classification sees this error: transient, since the lock can be acquired again. */
  get [Fault.declared](): Fault.Declaration {
    return { category: "conflict", transient: true }
  }
  override get message(): string {
    return `Lock "${this.lock}" (fencing token ${this.token}) was lost; another process may hold it now. Check what the protected work has done, then acquire the lock again.`
  }
}
