import { SqlClient, TransactionConnection } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { entryChecksums } from "../checksum.js"
import { leaseLost } from "../rows.js"
import { type LeaseLost, StorageError } from "../StorageError.js"
import type { Entry, Lease, RunStore } from "../Store.js"
import { type ClientAccess, CommitFailed, type Run } from "./access.js"
import { isConstraint, isUnavailable, toStorageError } from "./errors.js"
import { insertLines, storable } from "./lines.js"

const operation = "Committing a step with the program's own rows"

/** Marks errors of the body, since the body and the transaction may fail alike. */
class BodyFailed<E> {
  readonly error: E
  readonly _tag = "BodyFailed"
  constructor(error: E) {
    this.error = error
  }
}

/**
 * Commits the program's rows and the lines of the journal together. The lines are
 * written last: from then on the run cannot be renewed until the commit.
 */
export const makeSqlTransactional = (access: ClientAccess): RunStore["transactional"] => {
  const insert = insertLines(access)
  const isCommitted = makeIsCommitted(access)
  const { dialect, table } = access
  const fence = `SELECT key FROM ${table("runs")} WHERE key = ? AND token = ? AND owner = ?${dialect.lock("share")}`

  /** Before anything is read of it: a body that returns no lines is fenced, too. */
  const record = (run: Run, lease: Lease, entries: ReadonlyArray<Entry>): Effect.Effect<void, SqlError | LeaseLost> =>
    entries.length > 0
      ? insert(run, lease, entries)
      : Effect.flatMap(run(fence, [lease.key, lease.token, lease.owner]), (rows) =>
          rows.length === 1 ? Effect.void : leaseLost(lease)
        )

  return <A, E, R>(lease: Lease, body: Effect.Effect<readonly [A, ReadonlyArray<Entry>], E, R>) =>
    Effect.flatMap(Effect.context<never>(), (context): Effect.Effect<A, E | StorageError | LeaseLost, R> => {
      const problem = problemOf(context, access)
      if (problem !== undefined) return Effect.fail(new StorageError({ reason: "Client", operation, cause: problem }))
      let returned: readonly [A, ReadonlyArray<Entry>] | undefined
      const marked = Effect.mapError(body, (error) => new BodyFailed(error))
      const whole = access.provideTransaction(operation, marked, (run, result) => {
        returned = result
        return Effect.as(record(run, lease, result[1]), result[0])
      })
      return Effect.catchAll(whole, (error): Effect.Effect<A, E | StorageError | LeaseLost> => {
        if (error instanceof BodyFailed) return Effect.fail(error.error)
        if (!(error instanceof CommitFailed)) return Effect.fail(error)
        const refused = Effect.fail(refusedCommit(error))
        if (returned === undefined || !isUnavailable(error.cause)) return refused
        const [value, entries] = returned
        // The connection broke before the answer. The lines tell whether the server has committed.
        return Effect.flatMap(isCommitted(lease, entries), (done) => (done ? Effect.succeed(value) : refused))
      })
    })
}

/** What a commit is refused for is in the program's rows, or in the connection. */
const refusedCommit = ({ cause }: CommitFailed): StorageError => {
  if (isConstraint(cause)) return new StorageError({ reason: "Constraint", operation, cause })
  const { reason } = toStorageError(operation)(cause)
  return new StorageError({ reason: reason === "Rejected" ? "Transaction" : reason, operation, cause })
}

/** Waits for the row lock of a server process that still commits. */
const makeIsCommitted = ({ dialect, table, transaction }: ClientAccess) => {
  const lock = `SELECT key FROM ${table("runs")} WHERE key = ?${dialect.lock("update")}`
  const find = `SELECT checksum FROM ${table("journal")} WHERE run = ? AND seq = ?`
  return ({ key }: Lease, [entry]: ReadonlyArray<Entry>): Effect.Effect<boolean, StorageError> =>
    entry === undefined
      ? Effect.succeed(false)
      : transaction(
          operation,
          (run) =>
            Effect.gen(function* () {
              yield* run(lock, [key])
              const [row] = yield* run<{ readonly checksum: unknown }>(find, [key, entry.seq])
              return row !== undefined && Number(row.checksum) === entryChecksums(key, storable(entry)).checksum
            }),
          { idempotent: true }
        )
}

const problemOf = (context: Context.Context<never>, { client }: ClientAccess): Error | undefined => {
  const given = Context.getOption(context, SqlClient)
  if (Option.isSome(given) && given.value !== client) {
    return new Error("the SqlClient in the environment is not the one that the storage uses")
  }
  return Option.isSome(Context.getOption(context, TransactionConnection))
    ? new Error("the step runs inside of a SQL transaction")
    : undefined
}
