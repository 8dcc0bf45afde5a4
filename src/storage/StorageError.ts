/**
 * The errors of a storage.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Fault from "../resilience/Fault.js"
import { inBrackets } from "../resilience/Foreign.js"

const advice = {
  Busy: "Another process or a long transaction holds the database. Nothing was written. Execute again, or raise busyTimeout.",
  Unavailable:
    "The database server cannot be reached, restarts, or has no free connection. Everything recorded before is intact. Execute again once it answers.",
  ReadOnly:
    "Make the database file and its folder writable for this user, or connect to a server that takes writes, then execute again.",
  Forbidden: "Give the user of the connection the rights to create and use the tables, then execute again.",
  Full: "Free some space, then execute again. Everything recorded before is intact.",
  Corrupt: "Restore the file from a backup, or use another file. The file was not changed.",
  Damaged:
    "Nothing was changed. `recovery check` lists everything that is damaged. Restore the file from a backup, or do the work again under another id.",
  Payload: "Open the storage with the payloads and the key that encoded it. Nothing was changed.",
  Version:
    "Tables of a newer version need the effect-recovery that wrote them. Older tables are migrated when the file is opened for writing. The file was not changed.",
  CannotOpen: "Check that the folder, or the database and its schema, exists and is writable.",
  Dialect:
    "Use a SqlClient of SQLite or Postgres, such as those of @effect/sql-sqlite-node, @effect/sql-pg and effect-recovery/sqlite.",
  Filename:
    'Set it to the path of a file, or to ":memory:" for a database that ends with its layer. Nothing was opened.',
  Replaced:
    "What this process wrote is not in the file that is there now. Restart the process to use that file. Stop all processes before a database is moved, removed or restored.",
  ClientMissing:
    "Use Node 22.16 or later, whose own SQLite needs no package, or install one with `npm install better-sqlite3@12`. It is compiled on installation unless a prebuilt binary can be downloaded: that needs python3, make and a C++ compiler (Debian: apt-get install python3 make g++; macOS: xcode-select --install). The option `driver` asks for one of them by name.",
  Closed: "The scope of the storage layer has closed. Keep it open while runs are executed.",
  Io: "Check the disk, then execute again. Everything recorded before is intact.",
  Constraint:
    "Nothing was committed. Correct the rows that the step writes, or the tables, then execute the run again.",
  Client:
    "Use the storage over the program's own client (SqliteStorage.layerClient over SqliteClient.layer, SqlStorage.layer or PgStorage.layer over yours), or the storage in memory beside that client, and use the step outside of sql.withTransaction. For rows in another database use Step.once.",
  Transaction:
    "Nothing was recorded. If the connection broke during the commit, check whether the rows are there before the run is executed again. Step.once finds that out by itself.",
  Aborted:
    "Nothing was committed. A statement of the step failed, and its error was caught: Postgres refuses the rest of that transaction, and rolls it back. Put a statement that may fail into sql.withTransaction inside of the step: that is a savepoint.",
  Rejected:
    "The cause is probably a defect of effect-recovery, or a table of another program with the same name. Please report it."
}

/**
 * Why a storage operation failed:
 *
 * - `Busy`: another process held the database longer than `busyTimeout`
 * - `Unavailable`: the database server cannot be reached, restarts, or has no free connection
 * - `ReadOnly`: the file or its folder is not writable, or the server takes no writes
 * - `Forbidden`: the user of the connection has no right to do this
 * - `Full`: the disk is full
 * - `Corrupt`: the file is not a database, or is damaged
 * - `Damaged`: a stored row is not what was written; the message names it
 * - `Payload`: the `payloads` of the storage could not encode or decode something, such as with a wrong key
 * - `Version`: the tables belong to another version of this library
 * - `CannotOpen`: the file cannot be opened or created, or the database or schema does not exist
 * - `Dialect`: the SqlClient is of a database that has no storage
 * - `Filename`: the filename is empty or blank, or contains a NUL character
 * - `Replaced`: the file was removed, moved or replaced while it was open
 * - `ClientMissing`: no driver of SQLite loads: neither better-sqlite3 nor the SQLite of Node or Bun
 * - `Closed`: the scope of the storage has closed
 * - `Io`: the file system failed to read or write
 * - `Constraint`: rows that a step committed with its result violate a constraint of the program's tables
 * - `Transaction`: the program's own SQL client could not begin or commit the transaction of a step
 * - `Aborted`: a statement of a step failed and was caught, so the database rolled its transaction back
 * - `Client`: the operation conflicts with a SQL transaction, or uses another client than the storage
 * - `Rejected`: the database rejected a statement
 *
 * @since 0.1.0
 * @category models
 */
export type Reason = keyof typeof advice

const faults: Readonly<Record<Reason, Fault.Declaration>> = {
  Busy: { category: "unavailable" },
  Unavailable: { category: "unavailable" },
  ReadOnly: { category: "permission" },
  Forbidden: { category: "permission" },
  Full: { category: "resource" },
  Corrupt: { category: "corruption" },
  Damaged: { category: "corruption" },
  Payload: { category: "permission" },
  Version: { category: "validation", severity: "high" },
  CannotOpen: { category: "not-found" },
  Dialect: { category: "validation" },
  Filename: { category: "validation" },
  Replaced: { category: "not-found", severity: "critical" },
  ClientMissing: { category: "dependency" },
  Closed: { category: "logic" },
  Io: { category: "resource" },
  Constraint: { category: "conflict" },
  Client: { category: "logic" },
  Transaction: { category: "unavailable" },
  Aborted: { category: "logic" },
  Rejected: { category: "logic" }
}

/**
 * A storage operation failed. Everything recorded before is intact.
 *
 * @since 0.1.0
 * @category errors
 */
export class StorageError extends Data.TaggedError("StorageError")<{
  readonly reason: Reason
  /** The operation that failed, in words. */
  readonly operation: string
  readonly cause?: unknown
}> {
  /** The classification for policies and statistics. */
  get [Fault.declared](): Fault.Declaration {
    return faults[this.reason]
  }
  override get message(): string {
    const cause = inBrackets(this.cause)
    return `${this.operation}: ${this.reason}${cause}. ${advice[this.reason]}`
  }
}

/**
 * Another process holds the lease of the run.
 *
 * @since 0.1.0
 * @category errors
 */
export class LeaseHeld extends Data.TaggedError("LeaseHeld")<{
  readonly run: string
  readonly owner: string
  /** When the lease expires unless it is renewed, in epoch milliseconds. */
  readonly until: number
}> {
  override get message(): string {
    const until = new Date(this.until).toISOString()
    return `Run "${this.run}" is leased to ${this.owner} until ${until}. Execute it again when it has finished or stopped.`
  }
}

/**
 * This process lost the lease of the run: the lease expired and another process
 * claimed the run. The storage rejects further writes of this process.
 *
 * @since 0.1.0
 * @category errors
 */
export class LeaseLost extends Data.TaggedError("LeaseLost")<{ readonly run: string; readonly token: number }> {
  override get message(): string {
    return `Another process claimed run "${this.run}" (fencing token ${this.token} is stale). Execute the run again to get its outcome.`
  }
}

/**
 * A row of another store is not written, because this store has a different one in
 * its place. None of the rows that were given with it is written.
 *
 * @since 0.1.0
 * @category errors
 */
export class RestoreConflict extends Data.TaggedError("RestoreConflict")<{
  /** The row in words, such as `run "order-17"`. */
  readonly row: string
}> {
  /** The classification for policies and statistics. */
  get [Fault.declared](): Fault.Declaration {
    return { category: "conflict" }
  }
  override get message(): string {
    return `The storage already has another ${this.row}. It was left as it is. Copy into an empty storage, or remove that row first.`
  }
}
