import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { type Answer, leaseLost } from "../rows.js"
import { type LeaseLost, StorageError } from "../StorageError.js"
import type { Entry, Lease, Store } from "../Store.js"
import type { RunTable, StoredRun } from "./memoryRuns.js"

/** An error of the client, as far as this module reads it. */
interface SqlError {
  readonly _tag: "SqlError"
  readonly cause?: unknown
}

/** What is used of an `@effect/sql` client. */
interface SqlClient {
  readonly withTransaction: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  readonly unsafe: (sql: string) => Effect.Effect<unknown, SqlError>
}

/** The main door loads no SQL, so the client of `@effect/sql` is found by the key of its tag. */
const SqlClient = Context.GenericTag<SqlClient>("@effect/sql/SqlClient")
const TransactionConnection = Context.GenericTag<unknown>("@effect/sql/SqlClient/TransactionConnection")

const operation = "Committing a step with the program's own rows"

/** Marks errors of the body, since the body and the transaction may both fail with a SqlError. */
interface BodyFailed<E> {
  readonly _tag: "BodyFailed"
  readonly error: E
}

/**
 * Commits the program's rows in a transaction of the program's own client, and
 * adds the lines once the commit has succeeded. Until then no other owner gets
 * the run, so the lines cannot be refused after the commit.
 */
export const makeMemoryTransactional =
  (table: RunTable): Store["transactional"] =>
  <A, E, R>(lease: Lease, body: Effect.Effect<readonly [A, ReadonlyArray<Entry>], E, R>) =>
    Effect.flatMap(Effect.context<never>(), (context): Effect.Effect<A, E | StorageError | LeaseLost, R> => {
      const client = Context.getOption(context, SqlClient)
      if (Option.isNone(client)) return Effect.fail(refused(noClient))
      const outer = Context.getOption(context, TransactionConnection)
      return Option.isSome(outer) ? Effect.fail(refused(inTransaction)) : commit(table, client.value, lease, body)
    })

const refused = (problem: string) => new StorageError({ reason: "Client", operation, cause: new Error(problem) })

const noClient =
  "there is no SqlClient in the environment of the step, so its rows could not be rolled back: provide the layer of the client that its statements use beside the storage"

const inTransaction = "the step runs inside of a SQL transaction"

const commit = <A, E, R>(
  table: RunTable,
  client: SqlClient,
  lease: Lease,
  body: Effect.Effect<readonly [A, ReadonlyArray<Entry>], E, R>
): Effect.Effect<A, E | StorageError | LeaseLost, R> =>
  // Only the body can be interrupted: whether the commit happened must be known.
  Effect.uninterruptibleMask((restore) =>
    Effect.suspend(() => {
      let held: StoredRun | undefined
      let lines: ReadonlyArray<Entry> = []
      const hold = (): Answer<void, LeaseLost> => {
        held = table.leased(lease)
        if (held === undefined) return leaseLost(lease)
        held.commits++
        return Exit.void
      }
      const marked = Effect.mapError(restore(body), (error): BodyFailed<E> => ({ _tag: "BodyFailed", error }))
      const whole = Effect.flatMap(marked, ([value, entries]) => {
        lines = entries
        return Effect.as(Effect.suspend(hold), value)
      })
      type Ended = Effect.Effect<A, E | StorageError | LeaseLost>
      return Effect.flatMap(Effect.exit(client.withTransaction(whole)), (exit): Ended => {
        if (held === undefined) return Effect.mapError(exit, errorOf)
        held.commits--
        if (Exit.isFailure(exit)) return Effect.zipRight(endTransaction(client), Effect.fail(notCommitted(exit.cause)))
        table.insert(held, lines)
        return Exit.succeed(exit.value)
      })
    })
  )

const errorOf = <E>(error: BodyFailed<E> | SqlError | LeaseLost): E | StorageError | LeaseLost =>
  error._tag === "BodyFailed" ? error.error : error._tag === "SqlError" ? transactionFailed(error) : error

/** The stock client dies of a refused commit. */
const notCommitted = (cause: Cause.Cause<unknown>): StorageError => transactionFailed(Cause.squash(cause))

const transactionFailed = (error: unknown): StorageError => {
  const cause = isSqlError(error) ? (error.cause ?? error) : error
  return new StorageError({ reason: isConstraint(cause) ? "Constraint" : "Transaction", operation, cause })
}

const isSqlError = (error: unknown): error is SqlError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "SqlError"

/** Deferred constraints are checked at the commit. By the codes of SQLite and of the SQL standard. */
const isConstraint = (cause: unknown): boolean =>
  typeof cause === "object" && cause !== null && "code" in cause && /^(SQLITE_CONSTRAINT|23)/.test(String(cause.code))

/** After a refused commit the stock client of SQLite leaves its connection in the transaction. Others have ended it. */
const endTransaction = (client: SqlClient): Effect.Effect<void> => Effect.ignore(client.unsafe("ROLLBACK"))
