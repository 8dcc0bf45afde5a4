import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import type { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { readString } from "../../resilience/Foreign.js"
import { liveClock } from "../../resilience/internal/kernel/timer.js"
import * as RetryPolicy from "../../resilience/RetryPolicy.js"
import { StorageError } from "../StorageError.js"
import type { Dialect, Names } from "./dialect.js"
import { rootCause, toStorageError } from "./errors.js"

/** Runs one statement. Parameters stand as `?` in the text, whatever the dialect. */
export type Run = <R extends object>(
  text: string,
  params?: ReadonlyArray<unknown>
) => Effect.Effect<ReadonlyArray<R>, SqlError>

export interface WriteOptions {
  /** Done twice, it is as if it was done once: it may be repeated if the connection broke before the answer. Defaults to false. */
  readonly idempotent?: boolean | undefined
  /**
   * Also inside of a transaction of the program, where it waits for that
   * transaction's end on SQLite. Only for what runs in the background. Defaults to false.
   */
  readonly anywhere?: boolean | undefined
  /**
   * Postgres may keep the statement parsed and planned: it is executed often, and finds its rows by their keys.
   * Defaults to false.
   */
  readonly prepared?: boolean | undefined
}

/** The store's clock as SQL: an expression, with its parameters. */
export interface Now {
  readonly text: string
  readonly params: ReadonlyArray<number>
}

/**
 * How the operations of the store reach the client of the program. All fail at
 * once inside of a transaction of that client. Writes tell what they changed by
 * RETURNING, which both dialects have.
 */
export interface Access {
  readonly dialect: Dialect
  /** The quoted name of one of our tables, such as `runs`. */
  readonly table: Names
  /** One statement that only reads. */
  readonly read: <R extends object>(
    operation: string,
    text: string,
    params?: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<R>, StorageError>
  /** One statement, committed by itself. */
  readonly write: <R extends object>(
    operation: string,
    text: string,
    params: ReadonlyArray<unknown>,
    options?: WriteOptions
  ) => Effect.Effect<ReadonlyArray<R>, StorageError>
  /** Several statements in one transaction. A typed failure rolls it back, too. May run more than once. */
  readonly transaction: <A, E>(
    operation: string,
    body: (run: Run) => Effect.Effect<A, E>,
    options?: WriteOptions
  ) => Effect.Effect<A, Exclude<E, SqlError> | StorageError>
  /** The store's clock as a parameter or an expression: SQL text, with its parameters. */
  readonly now: Effect.Effect<Now>
}

export interface AccessOptions {
  readonly prefix: string
  /** Of Postgres. Defaults to the first of the search path. */
  readonly schema?: string | undefined
  readonly clock: "server" | "program"
  /** How long an operation tries again while the database is busy or cannot be reached. */
  readonly patienceMillis: number
  readonly durability: "power-loss" | "process-crash"
}

/** An access with what only this folder uses of it. */
export interface ClientAccess extends Access {
  readonly client: SqlClient.SqlClient
  /** The store's clock as this process knows it, for what a checksum covers. Asks the server only once. */
  readonly time: Effect.Effect<number, StorageError>
  /** What a statement told of the store's clock, which `time` then agrees with. */
  readonly observing: <A, E>(self: Effect.Effect<A, E>, nowOf: (answer: A) => number | undefined) => Effect.Effect<A, E>
  /**
   * Runs the body in a transaction of our own, with the statements of the program in
   * it: they find the connection in their context. `last` runs before the commit.
   */
  readonly provideTransaction: <A, B, E, F, R>(
    operation: string,
    body: Effect.Effect<A, E, R>,
    last: (run: Run, value: A) => Effect.Effect<B, F>
  ) => Effect.Effect<B, E | Exclude<F, SqlError> | StorageError | CommitFailed, R>
  /** Whether a context is inside of a transaction of this client. */
  readonly isInside: (context: Context.Context<never>) => boolean
}

/** The commit of a transaction was refused, or its connection broke. */
export class CommitFailed {
  readonly _tag = "CommitFailed"
  readonly cause: unknown
  constructor(error: unknown) {
    this.cause = rootCause(error)
  }
}

/**
 * A transaction or statement that was not carried out, or of which that is not
 * known. `isRepeatable` if it may be tried again.
 */
export class NotDone {
  readonly _tag = "NotDone"
  readonly cause: unknown
  readonly isRepeatable: boolean
  constructor(cause: unknown, isRepeatable: boolean) {
    this.cause = cause
    this.isRepeatable = isRepeatable
  }
}

export const isRepeatable = (error: unknown): boolean => error instanceof NotDone && error.isRepeatable

/** Names the operation that was not carried out. */
export const named =
  (operation: string) =>
  <A, E, R>(self: Effect.Effect<A, E | NotDone, R>): Effect.Effect<A, Exclude<E, NotDone> | StorageError, R> =>
    Effect.mapError(
      self,
      (error) => (error instanceof NotDone ? toStorageError(operation)(error.cause) : (error as Exclude<E, NotDone>)) // narrowed by the line itself
    )

/** Says of a statement that failed whether its transaction may be tried again. */
export const withoutSqlError = <E>(error: E | SqlError, mayRepeat: boolean): Exclude<E, SqlError> | NotDone =>
  isSqlError(error) ? new NotDone(error, mayRepeat) : (error as Exclude<E, SqlError>) // narrowed by the line itself

export const isSqlError = (error: unknown): error is SqlError => readString(error, "_tag") === "SqlError"

/** For transactions of a program, whose bodies may use several clients: the transaction may belong to another one. */
export const insideTransactionOf =
  (client: SqlClient.SqlClient, isKnown: (connection: Connection) => boolean) =>
  (context: Context.Context<never>): boolean => {
    // One look for most operations.
    if (!context.unsafeMap.has(SqlClient.TransactionConnection.key)) return false
    const [connection] = Context.unsafeGet(
      context as Context.Context<SqlClient.TransactionConnection>,
      SqlClient.TransactionConnection
    )
    if (isKnown(connection)) return true
    const given = Context.getOption(context, SqlClient.SqlClient)
    return given._tag === "None" || given.value === client
  }

const insideTransaction = new StorageError({
  reason: "Client",
  operation: "Using the storage inside of a SQL transaction",
  cause: new Error(
    "inside of a transaction of the storage's own client only SQL can be used: save checkpoints and write shared State before or after it"
  )
})

/** Refuses inside of a transaction of the client. */
export const outside =
  (isInside: (context: Context.Context<never>) => boolean) =>
  <A, E>(self: Effect.Effect<A, E>): Effect.Effect<A, E | StorageError> =>
    Effect.withFiberRuntime(({ currentContext }) => (isInside(currentContext) ? Effect.fail(insideTransaction) : self))

/** Tries again by the platform's clock: the database is not part of the program's time. */
export const patiently =
  (patienceMillis: number) =>
  <A, E, R>(attempt: Effect.Effect<A, E, R>, isWorthwhile: (error: E) => boolean): Effect.Effect<A, E, R> =>
    Effect.catchIf(attempt, isWorthwhile, (first) =>
      Effect.clockWith((clock) => {
        const policy = RetryPolicy.exponential({
          maxRetries: Number.POSITIVE_INFINITY,
          initialDelay: 1,
          maxDelay: 250,
          jitter: "equal",
          maxElapsed: patienceMillis
        })
        const again = Effect.withClock(attempt, clock)
        const retried = RetryPolicy.retryAfterFailure(again, Schedule.whileInput(policy, isWorthwhile))(first)
        return Effect.withClock(retried, liveClock)
      })
    )
