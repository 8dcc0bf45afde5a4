import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { messageOf, readString } from "../../resilience/Foreign.js"
import { mapInSlices } from "../../resilience/internal/kernel/eventLoop.js"
import { type Reason, StorageError } from "../StorageError.js"
import { reasonOfSqlite } from "../sqlite/errors.js"

/** What the SQLSTATE codes of Postgres begin with, by reason. */
const reasons: ReadonlyArray<readonly [reason: Reason, starts: ReadonlyArray<string>]> = [
  // A message that breaks the protocol is a defect of a statement, and no broken connection.
  ["Rejected", ["08P01"]],
  ["Unavailable", ["08", "57P", "53300", "53400"]],
  ["Full", ["53100", "53200", "54"]],
  ["Busy", ["40001", "40P01", "55P03", "57014"]],
  ["ReadOnly", ["25006"]],
  ["Aborted", ["25P02"]],
  ["Forbidden", ["28", "42501"]],
  ["CannotOpen", ["3D000", "3F000"]],
  ["Corrupt", ["XX001", "XX002"]],
  ["Io", ["58"]]
]

/** Of Node, of connections that could not be made or broke. */
const networkCodes = /^(ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ENOENT$)/

/** Errors of the driver `pg` that have no code. */
const brokenMessages =
  /connection (terminated|error|ended)|not queryable|timeout exceeded when trying to connect|connection timed out|client was closed/i

const closedMessages = /pool after calling end|not open/i

/** The error of the database inside of the wrappers of the client. */
export const rootCause = (error: unknown): unknown =>
  error instanceof SqlError && error.cause !== undefined ? rootCause(error.cause) : error

export const codeOf = (error: unknown): string => readString(rootCause(error), "code") ?? ""

const reasonOf = (cause: unknown): Reason => {
  const code = codeOf(cause)
  const known =
    reasonOfSqlite(cause) ?? reasons.find(([, starts]) => starts.some((start) => code.startsWith(start)))?.[0]
  if (known !== undefined) return known
  const message = messageOf(cause)
  if (closedMessages.test(message)) return "Closed"
  return networkCodes.test(code) || brokenMessages.test(message) ? "Unavailable" : "Rejected"
}

/** Takes what a client fails with, wrapped or not. */
export const toStorageError =
  (operation: string) =>
  (error: unknown): StorageError => {
    const cause = rootCause(error)
    return cause instanceof StorageError ? cause : new StorageError({ reason: reasonOf(cause), operation, cause })
  }

/** The connection broke, or there was none. Whether the server has carried the statement out is unknown. */
export const isUnavailable = (error: unknown): boolean => reasonOf(rootCause(error)) === "Unavailable"

/** The statement was rolled back for the sake of another one, or cancelled by mistake. It may be tried again. */
export const isConflict = (error: unknown): boolean => {
  const code = codeOf(error)
  // The stock client cancels a statement by the process id of its connection, which may be executing another one by then.
  const isCancelled = code === "57014" && /user request/.test(messageOf(rootCause(error)))
  return isCancelled || code === "40001" || code === "40P01"
}

/** Another process has the file of SQLite. */
export const isBusy = (error: unknown): boolean => reasonOfSqlite(rootCause(error)) === "Busy"

/** Deferred constraints are checked at the commit. Only tables of the program have any. */
export const isConstraint = (error: unknown): boolean => /^(SQLITE_CONSTRAINT|23)/.test(codeOf(error))

export const isUniqueViolation = (error: unknown): boolean => codeOf(error) === "23505"

/** The connection is in a transaction that was left open. */
export const isInTransaction = (error: unknown): boolean =>
  codeOf(error) === "25P02" || /within a transaction/.test(messageOf(rootCause(error)))

/** There is no such table yet. */
export const isMissingTable = (error: unknown): boolean =>
  codeOf(error) === "42P01" || codeOf(error) === "3F000" || /no such table/.test(messageOf(rootCause(error)))

/** Answers with the error of a client that dies of it. */
export const withoutDefects = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
  Effect.catchAllDefect(self, (defect) => Effect.fail(new SqlError({ cause: defect, message: "The client died" })))

/** As `decoding`, of rows that may be many or large: for a slice of each turn of the event loop. */
export const decodingEach = <A, B>(
  operation: string,
  rows: ReadonlyArray<A>,
  decode: (row: A, index: number) => B
): Effect.Effect<ReadonlyArray<B>, StorageError> =>
  Effect.catchAllDefect(mapInSlices(rows, decode), (damaged) => Effect.fail(toStorageError(operation)(damaged)))

/** For a job that decodes rows: it throws at a damaged row. */
export const decoding = <A>(operation: string, decode: () => A): Effect.Effect<A, StorageError> =>
  Effect.try({ try: decode, catch: toStorageError(operation) })
