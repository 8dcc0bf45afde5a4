import { DamagedRow } from "../checksum.js"
import { type Reason, StorageError } from "../StorageError.js"
import { replacedCode } from "./databaseFile.js"

/** What the codes of SQLite begin with, by reason. */
const reasons: ReadonlyArray<readonly [reason: Reason, starts: ReadonlyArray<string>]> = [
  ["Busy", ["SQLITE_BUSY", "SQLITE_LOCKED"]],
  ["ReadOnly", ["SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH"]],
  ["Full", ["SQLITE_FULL"]],
  ["Corrupt", ["SQLITE_CORRUPT", "SQLITE_NOTADB"]],
  ["CannotOpen", ["SQLITE_CANTOPEN"]],
  ["Io", ["SQLITE_IOERR", "SQLITE_NOMEM"]],
  ["Replaced", [replacedCode]]
]

const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" ? cause.code : ""

/** By the codes of SQLite, which all drivers share; `undefined` for others. */
export const reasonOfSqlite = (cause: unknown): Reason | undefined => {
  if (cause instanceof DamagedRow) return "Damaged"
  const code = codeOf(cause)
  return reasons.find(([, starts]) => starts.some((start) => code.startsWith(start)))?.[0]
}

export const isBusy = (cause: unknown): boolean => reasonOfSqlite(cause) === "Busy"

export const toStorageError =
  (operation: string) =>
  (cause: unknown): StorageError =>
    new StorageError({ reason: reasonOfSqlite(cause) ?? (isClosed(cause) ? "Closed" : "Rejected"), operation, cause })

/** In the words of better-sqlite3, of Node and of Bun. */
const isClosed = (cause: unknown): boolean =>
  cause instanceof Error && !codeOf(cause).startsWith("SQLITE_") && closed.test(cause.message)

const closed = /connection is not open|database is not open|finalized|database has closed|closed database/i
