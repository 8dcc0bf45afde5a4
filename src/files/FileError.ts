/**
 * Why a file operation fails.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { Defect } from "../resilience/Defect.js"
import * as Fault from "../resilience/Fault.js"
import { inBrackets } from "../resilience/Foreign.js"

/** Category of the fault, the problem in words, advice. */
type Reason = readonly [fault: Fault.Declaration, problem: string, advice: string]

const reasons = {
  NotFound: [{ category: "not-found" }, "it or its folder does not exist", "Create the folder, or correct the path."],
  Exists: [{ category: "conflict", transient: false }, "it already exists", "Remove it, or choose another path."],
  NotAFile: [{ category: "validation" }, "it is not of the right kind (file or folder)", "Choose another path."],
  NotEmpty: [{ category: "conflict", transient: false }, "the folder is not empty", "Check its content, then retry."],
  Permission: [{ category: "permission" }, "this user lacks the permission", "Make it and its folder writable."],
  Owner: [{ category: "permission" }, "its owner cannot be kept", "Run as its owner, or pass `owner: false`."],
  ReadOnly: [{ category: "permission" }, "the file system is read-only", "Choose a writable file system."],
  Full: [{ category: "resource" }, "the disk or the quota is full", "Free some space, then try again."],
  Busy: [{ category: "unavailable" }, "it is in use", "Close the program that uses it, then try again."],
  Outside: [{ category: "validation" }, "it is outside the transaction's root", "Choose a root that contains it."],
  OtherDevice: [{ category: "validation" }, "it is on another file system", "Choose a root on its file system."],
  Mounted: [
    { category: "validation" },
    "it is a mount point, which cannot be renamed",
    "Mount its folder instead, or leave it out of the transaction."
  ],
  Descriptors: [
    { category: "resource" },
    "too many files are open",
    "Raise the limit (ulimit -n), or open fewer files at once."
  ],
  Damaged: [{ category: "corruption" }, "its content is not what was written", "Inspect it; nothing was changed."],
  Ended: [{ category: "logic" }, "the transaction has ended", "Wait for the fiber inside the transaction."],
  Path: [{ category: "validation" }, "the path is invalid", "Correct the path."],
  Io: [{ category: "resource" }, "reading or writing failed", "Check the disk, then try again."]
} satisfies Record<string, Reason>

/**
 * Why a file operation failed:
 *
 * - `NotFound`: the file or its folder does not exist
 * - `Exists`: the target exists
 * - `NotAFile`: the path is a folder, pipe or device instead of a file, or a file instead of a folder
 * - `NotEmpty`: a folder to remove is not empty
 * - `Permission`: this user may not do it
 * - `Owner`: the file has another owner, which this user cannot keep
 * - `ReadOnly`: the file system is read-only
 * - `Full`: the disk or the user's quota is full
 * - `Busy`: another program, or a newer change, blocks the change
 * - `Outside`: the path leads out of the transaction's root, or into its journal
 * - `OtherDevice`: the file is on another file system than the transaction's root
 * - `Mounted`: the path is a mount point or contains one, so a transaction could not put it back
 * - `Descriptors`: this process or the system has no file descriptor left
 * - `Damaged`: a journal or a backup is not what was written
 * - `Ended`: the transaction has ended
 * - `Path`: the path is empty, too long or invalid
 * - `Io`: reading or writing failed
 *
 * @since 0.1.0
 * @category models
 */
export type FileReason = keyof typeof reasons

// The keys of a record; `Object.keys` has only strings in its type.
const Reason = Schema.Literal(...(Object.keys(reasons) as ReadonlyArray<FileReason>))

/**
 * A file operation failed. The file is unchanged. The class is a schema too, so
 * a step can declare it as its error.
 *
 * @since 0.1.0
 * @category errors
 */
export class FileError extends Schema.TaggedError<FileError>("effect-recovery/FileError")("FileError", {
  reason: Reason,
  /** The operation, such as `Writing`. */
  operation: Schema.String,
  path: Schema.String,
  cause: Schema.optional(Defect)
}) {
  /** How classification sees this error. */
  get [Fault.declared](): Fault.Declaration {
    return reasons[this.reason][0]
  }
  override get message(): string {
    const [, problem, advice] = reasons[this.reason]
    const cause = inBrackets(this.cause)
    return `${this.operation} ${this.path} failed: ${problem}${cause}. ${advice}`
  }
}
