/**
 * The failures of locks.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Fault from "../resilience/Fault.js"

/**
 * What went wrong with a lock, apart from somebody else having it:
 *
 * - `Reentrant`: whoever asks for the lock holds it already
 * - `Folder`: what should be the folder of the locks is none
 * - `Permission`: the lock, or its folder, cannot be written
 * - `Full`: no space is left
 * - `Foreign`: something that is no lock stands in its place
 * - `Unsupported`: locks of this kind cannot be had here
 * - `Storage`: the storage that keeps the locks is in trouble
 * - `Io`: reading or writing failed
 *
 * @since 0.1.0
 * @category models
 */
export type LockReason = "Reentrant" | "Folder" | "Permission" | "Full" | "Foreign" | "Unsupported" | "Storage" | "Io"

const advice: Readonly<Record<LockReason, string>> = {
  Reentrant:
    "It would wait for itself: take the lock once, around everything that needs it, or use Lock.Held to require it.",
  Folder: "Point the locks at a folder that exists or can be created.",
  Permission: "Make the lock and its folder writable for this user.",
  Full: "Free some space, then try again. The lock was not acquired.",
  Foreign: "Remove it if nobody needs it, or choose another folder; it was not changed.",
  Unsupported: "Use DirectoryLock.layer or Lock.layerStorage instead.",
  Storage: "See the cause. Nobody holds the lock because of this.",
  Io: "Check the disk, then try again."
}

const faults: Readonly<Record<LockReason, Fault.Declaration>> = {
  Reentrant: { category: "logic" },
  Folder: { category: "not-found" },
  Permission: { category: "permission" },
  Full: { category: "resource" },
  Foreign: { category: "conflict", transient: false },
  Unsupported: { category: "dependency" },
  Storage: { category: "unavailable" },
  Io: { category: "resource" }
}

/**
 * A lock could not be asked for, whoever holds it.
 *
 * @since 0.1.0
 * @category errors
 */
export class LockError extends Data.TaggedError("LockError")<{
  readonly reason: LockReason
  /** Which lock, such as `task/T-1`; or all of them. */
  readonly lock: string
  /** The file or folder it is about. */
  readonly path?: string | undefined
  readonly cause?: unknown
}> {
  /** How policies and statistics see it. */
  get [Fault.declared](): Fault.Declaration {
    return faults[this.reason]
  }
  override get message(): string {
    const path = this.path === undefined ? "" : ` at ${this.path}`
    const cause = this.cause instanceof Error ? ` (${this.cause.message})` : ""
    return `Lock "${this.lock}"${path}: ${this.reason}${cause}. ${advice[this.reason]}`
  }
}

/**
 * How a lock stands.
 *
 * @since 0.1.0
 * @category models
 */
export interface LockStatus {
  readonly lock: string
  /** `stale`: whoever holds it is known to be gone, so the next one who asks gets it. */
  readonly state: "held" | "stale" | "free"
  /** The fencing token of whoever acquired it last; 0 if nobody did. */
  readonly token: number
  /** Who holds it: `host/pid@start/number`. */
  readonly owner: string | undefined
  /** When it was acquired or given back, epoch milliseconds, by the clock of whoever did. */
  readonly since: number | undefined
}

/**
 * Somebody else held the lock for as long as the caller would wait.
 *
 * @since 0.1.0
 * @category errors
 */
export class LockTimeout extends Data.TaggedError("LockTimeout")<{
  readonly lock: string
  readonly waited: Duration.Duration
  /** How the lock stood at last. */
  readonly status: LockStatus
}> {
  /** Whoever holds it may be done soon. */
  get [Fault.declared](): Fault.Declaration {
    return { category: "conflict", transient: true }
  }
  override get message(): string {
    const { owner, since } = this.status
    const at = since === undefined ? "" : ` since ${new Date(since).toISOString()}`
    const held = owner === undefined ? "others were before it" : `${owner} holds it${at}`
    return `Lock "${this.lock}" was not to be had within ${Duration.format(this.waited)}: ${held}. Wait longer (timeout), or see why it is held for so long.`
  }
}

/**
 * The lock was lost while it was held: its lease ran out and somebody else
 * took over, or its file was removed. What it protected was interrupted.
 *
 * @since 0.1.0
 * @category errors
 */
export class LockLost extends Data.TaggedError("LockLost")<{ readonly lock: string; readonly token: number }> {
  /** It can be acquired again. */
  get [Fault.declared](): Fault.Declaration {
    return { category: "conflict", transient: true }
  }
  override get message(): string {
    return `Lock "${this.lock}" (fencing token ${this.token}) was lost, so somebody else may hold it; what it protected was interrupted. Look at what was done so far, then acquire it again.`
  }
}
