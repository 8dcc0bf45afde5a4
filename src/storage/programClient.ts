import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as RetryPolicy from "../resilience/RetryPolicy.js"
import { busyPolicy } from "./busyPolicy.js"
import type { Restore } from "./Storage.js"
import { type Reason, StorageError } from "./StorageError.js"
import { reserveWatched } from "./silence.js"

/** An error of the client, as far as this module reads it. */
interface SqlError {
  readonly _tag: "SqlError"
  readonly cause?: unknown
}

interface Connection {
  readonly executeUnprepared: (
    sql: string,
    params: ReadonlyArray<unknown>,
    transformRows: undefined
  ) => Effect.Effect<ReadonlyArray<unknown>, SqlError>
  readonly executeRaw: (sql: string, params: ReadonlyArray<unknown>) => Effect.Effect<unknown, SqlError>
}

/** What is used of an `@effect/sql` client. */
export interface ProgramClient {
  readonly [endsTransactions]?: true
  readonly withTransaction: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  readonly unsafe: (sql: string) => Effect.Effect<unknown, SqlError>
  readonly reserve: Effect.Effect<Connection, SqlError, Scope.Scope>
  readonly onDialectOrElse: <A>(options: {
    readonly sqlite: () => A
    readonly pg: () => A
    readonly orElse: () => A
  }) => A
}

/**
 * The property of a client whose own transactions fail typed when their COMMIT is refused, and have ended then. Those of
 * the stock clients die, and the one of SQLite leaves its connection in the transaction.
 */
export const endsTransactions: unique symbol = Symbol.for("effect-recovery/endsTransactions")

/** The main door loads no SQL, so the client of `@effect/sql` is found by the key of its tag. */
const SqlClient = Context.GenericTag<ProgramClient>("@effect/sql/SqlClient")
const TransactionConnection = Context.GenericTag<readonly [Connection, number]>(
  "@effect/sql/SqlClient/TransactionConnection"
)

export type Dialect = "sqlite" | "pg"

export const dialectOf = (client: ProgramClient): Dialect | undefined =>
  client.onDialectOrElse<Dialect | undefined>({ sqlite: () => "sqlite", pg: () => "pg", orElse: () => undefined })

/** The client in the environment. Refused without one, and inside of a transaction, which a step cannot commit. */
export const programClient = (operation: string): Effect.Effect<ProgramClient, StorageError> =>
  Effect.flatMap(Effect.context<never>(), (context) => {
    const client = Context.getOption(context, SqlClient)
    if (Option.isNone(client)) return Effect.fail(refused(operation, noClient))
    return Option.isSome(Context.getOption(context, TransactionConnection))
      ? Effect.fail(refused(operation, "the step runs inside of a SQL transaction"))
      : Effect.succeed(client.value)
  })

export const refused = (operation: string, problem: string) =>
  new StorageError({ reason: "Client", operation, cause: new Error(problem) })

const noClient =
  "there is no SqlClient in the environment of the step, so its rows could not be rolled back: provide the layer of the client that its statements use beside the storage"

/** What the codes of SQLite and of the SQL standard begin with, by reason. */
const reasons: ReadonlyArray<readonly [Reason, RegExp]> = [
  ["Busy", /^SQLITE_(BUSY|LOCKED)/],
  // Deferred constraints are checked at the commit.
  ["Constraint", /^(SQLITE_CONSTRAINT|23)/],
  ["Full", /^(SQLITE_FULL|53100)/],
  ["ReadOnly", /^(SQLITE_READONLY|25006)/],
  ["Aborted", /^25P02/],
  ["Forbidden", /^(28|42501)/]
]

/** What the client or its database said, as an error of the storage. */
export const toStorageError =
  (operation: string, otherwise: Reason = "Transaction") =>
  (error: unknown): StorageError => {
    const cause = isSqlError(error) ? (error.cause ?? error) : error
    if (cause instanceof StorageError) return cause
    const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
    const reason = reasons.find(([, codes]) => codes.test(code))?.[0] ?? otherwise
    return new StorageError({ reason, operation, cause })
  }

const isSqlError = (error: unknown): error is SqlError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "SqlError"

/** Makes every failure of a statement typed: a stock client dies where a statement cannot be prepared. */
const typed = <A>(operation: string, statement: () => Effect.Effect<A, SqlError>): Effect.Effect<A, StorageError> =>
  Effect.catchAllCause(Effect.suspend(statement), (cause) =>
    Cause.isInterruptedOnly(cause) ? Effect.interrupt : Effect.fail(toStorageError(operation)(Cause.squash(cause)))
  )

/**
 * Runs a statement of ours on the connection of the transaction around it. It is not prepared in a cache, since the stock
 * client of SQLite remembers for minutes that a statement could not be, and names in it are not transformed.
 */
export const statement = (
  operation: string,
  sql: string,
  params: ReadonlyArray<unknown>
): Effect.Effect<ReadonlyArray<unknown>, StorageError> =>
  Effect.flatMap(Effect.context<never>(), (context) => {
    const [connection] = Context.unsafeGet(context, TransactionConnection)
    return typed(operation, () => connection.executeUnprepared(sql, params, undefined))
  })

/**
 * Runs the body in a transaction of the client. A failure of the client, also a refused commit, is a `StorageError`, and
 * leaves no transaction open. Call it in an uninterruptible region, so that it is known afterwards whether the commit
 * happened, and pass the region's `restore` for the wait at the beginning.
 */
export const inTransaction = <A, E, R>(
  client: ProgramClient,
  operation: string,
  body: Effect.Effect<A, E, R>,
  restore: Restore
): Effect.Effect<A, E | StorageError, R> => {
  const dialect = client[endsTransactions] === true ? undefined : dialectOf(client)
  return dialect === undefined
    ? byClient(client, operation, body)
    : onConnection(client, dialect, operation, body, restore)
}

/** Marks errors of the body, since the body and the client may both fail with a SqlError. */
interface BodyFailed<E> {
  readonly _tag: "BodyFailed"
  readonly error: E
}

const byClient = <A, E, R>(
  client: ProgramClient,
  operation: string,
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StorageError, R> =>
  Effect.suspend(() => {
    let hasEnded = false
    const marked = Effect.mapBoth(body, {
      onFailure: (error): BodyFailed<E> => ({ _tag: "BodyFailed", error }),
      onSuccess: (value) => {
        hasEnded = true
        return value
      }
    })
    const toError = toStorageError(operation)
    const onCause = (cause: Cause.Cause<BodyFailed<E> | SqlError>): Effect.Effect<never, E | StorageError> =>
      hasEnded
        ? Effect.zipRight(endLeftOpen(client), Effect.fail(toError(Cause.squash(cause))))
        : Effect.failCause(Cause.map(cause, (error) => (error._tag === "BodyFailed" ? error.error : toError(error))))
    return Effect.catchAllCause(client.withTransaction(marked), onCause)
  })

const endLeftOpen = (client: ProgramClient): Effect.Effect<void> =>
  client[endsTransactions] === true ? Effect.void : Effect.ignore(client.unsafe("ROLLBACK"))

/** Our own BEGIN and COMMIT on a connection of the client, which is given back only once the transaction is over. */
const onConnection = <A, E, R>(
  client: ProgramClient,
  dialect: Dialect,
  operation: string,
  body: Effect.Effect<A, E, R>,
  restore: Restore
): Effect.Effect<A, E | StorageError, R> => {
  const on = (connection: Connection): Effect.Effect<A, E | StorageError, R> => {
    const run = (sql: string) => typed(operation, () => connection.executeUnprepared(sql, [], undefined))
    const undo = Effect.ignore(run("ROLLBACK"))
    const commit = dialect === "pg" ? commitOnPostgres(operation, connection) : run("COMMIT")
    // Adds only the connection to the context, so a Scope in `R` remains the caller's.
    const within = Effect.mapInputContext(body, (context: Context.Context<R>) =>
      Context.add(context, TransactionConnection, [connection, 0] as const)
    )
    const whole = Effect.matchCauseEffect(within, {
      onFailure: (cause) => Effect.zipRight(undo, Effect.failCause(cause)),
      onSuccess: (value) =>
        Effect.as(
          Effect.tapError(commit, () => undo),
          value
        )
    })
    const begun = Effect.onInterrupt(restore(begin(dialect, run)), () => undo)
    return Effect.zipRight(begun, whole)
  }
  // Clients lose a connection if the wait for it is interrupted. It is reserved in the background, and given back there.
  const reserve = (scope: Scope.Scope) =>
    Effect.flatMap(
      Effect.forkDaemon(Effect.uninterruptible(typed(operation, () => Scope.extend(reserveWatched(client), scope)))),
      (fiber) => restore(Fiber.join(fiber))
    )
  return Effect.acquireUseRelease(Scope.make(), (scope) => Effect.flatMap(reserve(scope), on), Scope.close)
}

/** How long a step waits for a file that another process writes to, in milliseconds. */
const patience = 30_000

const begin = (
  dialect: Dialect,
  run: (sql: string) => Effect.Effect<unknown, StorageError>
): Effect.Effect<unknown, StorageError> => {
  if (dialect === "pg") return run("BEGIN")
  const isBusy = ({ reason }: StorageError) => reason === "Busy"
  const start = run("BEGIN IMMEDIATE")
  // The program's own refused COMMIT may have left the connection in its transaction.
  const healed = Effect.catchIf(
    start,
    (error) => !isBusy(error),
    () => Effect.zipRight(Effect.ignore(run("ROLLBACK")), start)
  )
  return RetryPolicy.retry(healed, Schedule.whileInput(busyPolicy(patience), isBusy))
}

/** A transaction with a failed statement answers its COMMIT with ROLLBACK, and reports no error. */
const commitOnPostgres = (operation: string, connection: Connection): Effect.Effect<unknown, StorageError> =>
  Effect.filterOrFail(
    typed(operation, () => connection.executeRaw("COMMIT", [])),
    (answer) =>
      !(typeof answer === "object" && answer !== null && "command" in answer && answer.command === "ROLLBACK"),
    () => new StorageError({ reason: "Aborted", operation, cause: new Error("COMMIT was answered with ROLLBACK") })
  )
