import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Entry, Lease, Store } from "../Storage.js"
import { type LeaseLost, StorageError } from "../StorageError.js"
import type { Database } from "./driver.js"
import { toStorageError } from "./errors.js"

const operation = "Committing a step with the program's own rows"

/** Sets what the body fails with apart from what the transaction fails with: both may be a SqlError. */
interface BodyFailed<E> {
  readonly _tag: "BodyFailed"
  readonly error: E
}

/** The program's rows and the line of the journal, in one commit. */
export const makeTransactional = (
  client: SqlClient.SqlClient,
  database: Database,
  append: (lease: Lease, entries: ReadonlyArray<Entry>) => Effect.Effect<void, LeaseLost>
): Store["transactional"] => {
  const record = <A>(
    lease: Lease,
    [value, entries]: readonly [A, ReadonlyArray<Entry>]
  ): Effect.Effect<A, StorageError | LeaseLost> =>
    // SQLite rolls back by itself on some errors: then the line would be on record without the rows.
    database.inTransaction
      ? Effect.as(append(lease, entries), value)
      : Effect.fail(new StorageError({ reason: "Rejected", operation, cause: new Error("the transaction is gone") }))

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
    ) as Effect.Effect<A, E | StorageError | LeaseLost, R> // what needs the client has it: R is what the caller gives
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

/** Some constraints are looked at only when everything is committed; they are those of the program's tables. */
const ofProgram = (error: StorageError): StorageError => {
  const { cause, operation } = error
  const isConstraint = cause instanceof Error && "code" in cause && String(cause.code).startsWith("SQLITE_CONSTRAINT")
  return isConstraint ? new StorageError({ reason: "Constraint", operation, cause }) : error
}

/**
 * While the program writes its own rows the connection is taken: whoever asks
 * the storage from in there would wait for itself.
 */
export const refuseInside = (store: Store, client: SqlClient.SqlClient): Store => {
  const outside =
    <Args extends ReadonlyArray<unknown>, A, E, R>(operation: (...args: Args) => Effect.Effect<A, E, R>) =>
    (...args: Args): Effect.Effect<A, E | StorageError, R> =>
      Effect.withFiberRuntime((fiber) =>
        fiber.currentContext.unsafeMap.has(SqlClient.TransactionConnection.key) && isOwn(fiber.currentContext, client)
          ? Effect.fail(new StorageError({ reason: "Client", operation: "Asking the storage", cause: asked }))
          : operation(...args)
      )
  return {
    ...store,
    open: outside(store.open),
    append: outside(store.append),
    rewind: outside(store.rewind),
    reopen: outside(store.reopen),
    suspend: outside(store.suspend),
    signal: outside(store.signal),
    signals: outside(store.signals),
    due: outside(store.due),
    payload: outside(store.payload),
    removeRuns: outside(store.removeRuns),
    lock: outside(store.lock),
    renewLock: outside(store.renewLock),
    unlock: outside(store.unlock),
    findLock: outside(store.findLock),
    removeLocks: outside(store.removeLocks),
    finish: outside(store.finish),
    find: outside(store.find),
    journal: outside(store.journal),
    list: outside(store.list),
    save: outside(store.save),
    snapshots: outside(store.snapshots),
    newest: outside(store.newest),
    snapshot: outside(store.snapshot),
    remove: outside(store.remove)
  }
}

const asked = new Error(
  "inside of a transaction of the storage's own client only SQL can be used: save checkpoints and write shared State before or after it"
)

/** The transaction around may be of another client, on another file. */
const isOwn = (context: Context.Context<never>, client: SqlClient.SqlClient): boolean =>
  Option.getOrUndefined(Context.getOption(context, SqlClient.SqlClient)) === client

const problemOf = (context: Context.Context<never>, client: SqlClient.SqlClient): Error | undefined => {
  const given = Context.getOption(context, SqlClient.SqlClient)
  if (Option.isSome(given) && given.value !== client) {
    return new Error("the SqlClient in the environment is not that of the storage")
  }
  const outer = Context.getOption(context, SqlClient.TransactionConnection)
  return Option.isSome(outer) ? new Error("a transaction is open around the step") : undefined
}
