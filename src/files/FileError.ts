/**
 * The failures of files.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Fault from "../resilience/Fault.js"

/**
 * What went wrong with a file:
 *
 * - `NotFound`: it, or its folder, does not exist
 * - `Exists`: something is there already
 * - `NotAFile`: a folder, or something else, is where a file should be, or the other way round
 * - `NotEmpty`: a folder that should be removed holds something
 * - `Permission`: this user may not
 * - `Owner`: the file belongs to somebody else, which replacing it would change
 * - `ReadOnly`: the file system cannot be written
 * - `Full`: no space, or no quota, is left
 * - `Busy`: another program keeps it from being changed
 * - `Outside`: the path leads out of the root of the transaction, or into its journal
 * - `OtherDevice`: it lies on another file system than the root of the transaction
 * - `Damaged`: what a journal or a backup says is not what was written
 * - `Ended`: the transaction is over, and somebody it did not wait for still wants to change something
 * - `Path`: no path at all, or one that is too long
 * - `Io`: reading or writing failed
 *
 * @since 0.1.0
 * @category models
 */
export type FileReason =
  | "NotFound"
  | "Exists"
  | "NotAFile"
  | "NotEmpty"
  | "Permission"
  | "Owner"
  | "ReadOnly"
  | "Full"
  | "Busy"
  | "Outside"
  | "OtherDevice"
  | "Damaged"
  | "Ended"
  | "Path"
  | "Io"

const advice: Readonly<Record<FileReason, string>> = {
  NotFound: "Create its folder first, or mend the path.",
  Exists: "Remove it first, or choose another path.",
  NotAFile: "Choose another path.",
  NotEmpty: "See what is in it; it was left alone.",
  Permission: "Make it and its folder writable for this user.",
  Owner: "Run as its owner, or pass `owner: false` to let it become yours.",
  ReadOnly: "Choose a path on a file system that can be written.",
  Full: "Free some space, then try again. The file is as it was.",
  Busy: "Close the program that uses it, then try again.",
  Outside: "Choose a root that holds all files of the transaction.",
  OtherDevice: "Choose a root on the file system of the files.",
  Damaged: "Look at it before anything else is done; nothing was changed because of it.",
  Ended: "Wait for the fiber inside of the transaction; nothing was changed.",
  Path: "Mend the path.",
  Io: "Check the disk, then try again."
}

const faults: Readonly<Record<FileReason, Fault.Declaration>> = {
  NotFound: { category: "not-found" },
  Exists: { category: "conflict", transient: false },
  NotAFile: { category: "validation" },
  NotEmpty: { category: "conflict", transient: false },
  Permission: { category: "permission" },
  Owner: { category: "permission" },
  ReadOnly: { category: "permission" },
  Full: { category: "resource" },
  Busy: { category: "unavailable" },
  Outside: { category: "validation" },
  OtherDevice: { category: "validation" },
  Damaged: { category: "corruption" },
  Ended: { category: "logic" },
  Path: { category: "validation" },
  Io: { category: "resource" }
}

/**
 * A file could not be read or changed. It is as it was, unless the reason says
 * otherwise.
 *
 * @since 0.1.0
 * @category errors
 */
export class FileError extends Data.TaggedError("FileError")<{
  readonly reason: FileReason
  /** What was being done. */
  readonly operation: string
  readonly path: string
  readonly cause?: unknown
}> {
  /** How policies and statistics see it. */
  get [Fault.declared](): Fault.Declaration {
    return faults[this.reason]
  }
  override get message(): string {
    const cause = this.cause instanceof Error ? ` (${this.cause.message})` : ""
    return `${this.operation} ${this.path}: ${this.reason}${cause}. ${advice[this.reason]}`
  }
}
