import { type Reason, StorageError } from "../StorageError.js"

const reasons: ReadonlyArray<readonly [start: string, reason: Reason]> = [
  ["SQLITE_BUSY", "Busy"],
  ["SQLITE_LOCKED", "Busy"],
  ["SQLITE_READONLY", "ReadOnly"],
  ["SQLITE_PERM", "ReadOnly"],
  ["SQLITE_AUTH", "ReadOnly"],
  ["SQLITE_FULL", "Full"],
  ["SQLITE_CORRUPT", "Corrupt"],
  ["SQLITE_NOTADB", "Corrupt"],
  ["SQLITE_CANTOPEN", "CannotOpen"],
  ["SQLITE_IOERR", "Io"],
  ["SQLITE_NOMEM", "Io"]
]

const codeOf = (cause: unknown): string =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string" ? cause.code : ""

export const isBusy = (cause: unknown): boolean => {
  const code = codeOf(cause)
  return code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED")
}

export const toStorageError =
  (operation: string) =>
  (cause: unknown): StorageError => {
    const code = codeOf(cause)
    const reason = reasons.find(([start]) => code.startsWith(start))?.[1] ?? (isClosed(cause) ? "Closed" : "Rejected")
    return new StorageError({ reason, operation, cause })
  }

const isClosed = (cause: unknown): boolean => cause instanceof TypeError && /not open/.test(cause.message)
