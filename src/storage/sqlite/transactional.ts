import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Answer } from "../rows.js"
import { type LeaseLost, StorageError } from "../StorageError.js"
import type { Entry, Lease, Store } from "../Store.js"
import type { Database } from "./driver.js"
import { toStorageError } from "./errors.js"

const operation = "Committing a step with the program's own rows"

/** Marks errors of the body, since the body and the transaction may both fail with a SqlError. */
interface BodyFailed<E> {
  readonly _tag: "BodyFailed"
  readonly error: E
}

/** Commits the program's rows and the lines of the journal together. */
export const makeTransactional = (
  client: SqlClient.SqlClient,
  database: Database,
  append: (lease: Lease, entries: ReadonlyArray<Entry>) => Answer<void, LeaseLost>
): Store["transactional"] => {
  const record = <A>(
    lease: Lease,
    [value, entries]: readonly [A, ReadonlyArray<Entry>]
  ): Effect.Effect<A, StorageError | LeaseLost> =>
    // SQLite rolls back by itself on some errors. Then the line would be committed without the program's rows.
    database.inTransaction
      ? Effect.as(
          Effect.flatten(Effect.try({ try: () => append(lease, entries), catch: toStorageError(operation) })),
          value
        )
      : Effect.fail(
          new StorageError({
            reason: "Rejected",
            operation,
            cause: new Error("SQLite has rolled the transaction back")
          })
        )

  return <A, E, R>(lease: Lease, body: Effect.Effect<readonly [A, ReadonlyArray<Entry>], E, R>) => {
    const marked = Effect.mapError(body, (error): BodyFailed<E> => ({ _tag: "BodyFailed", error }))
    const whole = Effect.provideService(
      Effect.flatMap(marked, (result) => record(lease, result)),
      SqlClient.SqlClient,
      client
    )
    const committed: Effect.Effect<A, E | StorageError | LeaseLost, R> = Effect.mapError(
      client.withTransaction(whole),
      (error) => (error._tag === "BodyFailed" ? error.error : error._tag === "SqlError" ? toStorage(error) : error)
    ) as Effect.Effect<A, E | StorageError | LeaseLost, R> // the client is provided, so R is what the caller's body requires
    return Effect.flatMap(Effect.context<never>(), (context) => {
      const problem = problemOf(context, client)
      return problem === undefined
        ? committed
        : Effect.fail(new StorageError({ reason: "Client", operation, cause: problem }))
    })
  }
}

const toStorage = (error: SqlError): StorageError =>
  error.cause instanceof StorageError ? error.cause : ofProgram(toStorageError(operation)(error.cause ?? error))

/** Deferred constraints are checked at the commit. Only tables of the program have any. */
const ofProgram = (error: StorageError): StorageError => {
  const { cause, operation } = error
  const isConstraint = cause instanceof Error && "code" in cause && String(cause.code).startsWith("SQLITE_CONSTRAINT")
  return isConstraint ? new StorageError({ reason: "Constraint", operation, cause }) : error
}

const problemOf = (context: Context.Context<never>, client: SqlClient.SqlClient): Error | undefined => {
  const given = Context.getOption(context, SqlClient.SqlClient)
  if (Option.isSome(given) && given.value !== client) {
    return new Error("the SqlClient in the environment is not the one that the storage uses")
  }
  const outer = Context.getOption(context, SqlClient.TransactionConnection)
  return Option.isSome(outer) ? new Error("the step runs inside of a SQL transaction") : undefined
}
