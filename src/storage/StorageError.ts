/**
 * The failures of a storage.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Fault from "../resilience/Fault.js"

/**
 * What went wrong with the storage:
 *
 * - `Busy`: another process held the database longer than `busyTimeout`
 * - `ReadOnly`: the file, or its folder, cannot be written
 * - `Full`: no space is left
 * - `Corrupt`: the file is not a database, or is damaged
 * - `Version`: the file was written by another version of this library
 * - `CannotOpen`: the file cannot be opened or created
 * - `ClientMissing`: the database client is not installed
 * - `Closed`: the storage's scope has ended
 * - `Io`: reading or writing failed below the database
 * - `Constraint`: rows a step committed with its result break a constraint of the program's tables
 * - `Client`: a step was to commit together with rows of another database
 * - `Rejected`: the database refused a statement
 *
 * @since 0.1.0
 * @category models
 */
export type Reason =
  | "Busy"
  | "ReadOnly"
  | "Full"
  | "Corrupt"
  | "Version"
  | "CannotOpen"
  | "ClientMissing"
  | "Closed"
  | "Io"
  | "Constraint"
  | "Client"
  | "Rejected"

const advice: Readonly<Record<Reason, string>> = {
  Busy: "Another process or a long transaction holds the database. Nothing was written; execute again, or raise busyTimeout.",
  ReadOnly: "Make the database file and its folder writable for this user, then execute again.",
  Full: "Free some space, then execute again. What was recorded before is intact.",
  Corrupt: "Restore the file from a backup, or point the storage at another file; it was not changed.",
  Version:
    "Tables of a newer version need the effect-recovery that wrote them; older ones are brought up to date when the file is opened for writing. It was not changed.",
  CannotOpen: "Check that the folder exists and may be written.",
  ClientMissing:
    "Install it with `npm install better-sqlite3@12`. It is compiled on installation unless a prebuilt binary can be downloaded: that needs python3, make and a C++ compiler (Debian: apt-get install python3 make g++; macOS: xcode-select --install).",
  Closed: "The scope of the storage layer has ended; keep it open as long as runs are executed.",
  Io: "Check the disk, then execute again. What was recorded before is intact.",
  Constraint: "Nothing was committed. Mend what the step writes, or its tables, then execute the run again.",
  Client:
    "Use the storage over the program's own client (SqliteStorage.layerClient over SqliteClient.layer), and use the step outside of sql.withTransaction.",
  Rejected:
    "This is most likely a defect of effect-recovery or a table of the same name from elsewhere; please report it."
}

const faults: Readonly<Record<Reason, Fault.Declaration>> = {
  Busy: { category: "unavailable" },
  ReadOnly: { category: "permission" },
  Full: { category: "resource" },
  Corrupt: { category: "corruption" },
  Version: { category: "validation", severity: "high" },
  CannotOpen: { category: "not-found" },
  ClientMissing: { category: "dependency" },
  Closed: { category: "logic" },
  Io: { category: "resource" },
  Constraint: { category: "conflict" },
  Client: { category: "logic" },
  Rejected: { category: "logic" }
}

/**
 * The storage could not do what it was asked. What was recorded before is
 * intact.
 *
 * @since 0.1.0
 * @category errors
 */
export class StorageError extends Data.TaggedError("StorageError")<{
  readonly reason: Reason
  /** What was being done. */
  readonly operation: string
  readonly cause?: unknown
}> {
  /** How policies and statistics see it. */
  get [Fault.declared](): Fault.Declaration {
    return faults[this.reason]
  }
  override get message(): string {
    const cause = this.cause instanceof Error ? ` (${this.cause.message})` : ""
    return `${this.operation}: ${this.reason}${cause}. ${advice[this.reason]}`
  }
}

/**
 * Another process advances the run, so this one may not.
 *
 * @since 0.1.0
 * @category errors
 */
export class LeaseHeld extends Data.TaggedError("LeaseHeld")<{
  readonly run: string
  readonly owner: string
  /** When the lease ends unless it is renewed, epoch milliseconds. */
  readonly until: number
}> {
  override get message(): string {
    const until = new Date(this.until).toISOString()
    return `Run "${this.run}" is being advanced by ${this.owner} (lease until ${until}). Execute again when it has finished or stopped.`
  }
}

/**
 * This process lost the right to advance the run: its lease ran out and
 * another took over. Nothing it writes from now on is accepted.
 *
 * @since 0.1.0
 * @category errors
 */
export class LeaseLost extends Data.TaggedError("LeaseLost")<{ readonly run: string; readonly token: number }> {
  override get message(): string {
    return `Run "${this.run}" was taken over by another process (fencing token ${this.token} is stale). Execute it again to adopt its outcome.`
  }
}
