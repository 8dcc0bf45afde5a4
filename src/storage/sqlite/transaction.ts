import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Connection } from "./connection.js"
import type { Database } from "./driver.js"
import type { Writer } from "./writer.js"

interface Client {
  readonly database: Database
  readonly writer: Writer
  readonly connection: Connection
  /** How long a statement waits for a nested transaction, in milliseconds. */
  readonly busyMillis: number
}

/**
 * The connection of one transaction, nested or not. After the transaction its
 * statements fail. While a nested transaction runs, the statements of its siblings
 * wait: SQLite has one stack of savepoints.
 */
interface Level {
  readonly client: Client
  readonly connection: Connection
  readonly depth: number
  readonly isOpen: () => boolean
  /** The body of the outermost transaction has not ended. A fiber that was forked in it may live longer. */
  readonly isRunning: () => boolean
  readonly exclusively: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | SqlError, R>
  readonly close: Effect.Effect<void>
}

/** By their connection, which is what @effect/sql keeps in the context. */
const levels = new WeakMap<Connection, Level>()

const ended = new SqlError({
  message: "The transaction of this statement has ended. Join the fiber before the transaction ends."
})

/** Whether an effect with this context runs inside of a transaction on the database, whichever clients it has. */
export const isInTransactionOf = (database: Database, context: Context.Context<never>): boolean => {
  // The key first: this is asked at each use of the storage.
  if (!context.unsafeMap.has(SqlClient.TransactionConnection.key)) return false
  const [connection] = Context.unsafeGet(context, SqlClient.TransactionConnection)
  const level = levels.get(connection)
  return level?.client.database === database && level.isRunning()
}

const makeLevel = (client: Client, parent: Level | undefined): Level => {
  const { busyMillis, connection, database } = client
  const semaphore = Effect.unsafeMakeSemaphore(1)
  let nested = 0
  let closed = false

  // SQLite may have rolled back by itself. Later statements would then run outside of the transaction.
  const isOpen = () => !closed && (parent?.isOpen() ?? true) && database.inTransaction

  const whileOpen = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    Effect.suspend((): Effect.Effect<A, E | SqlError, R> => (isOpen() ? effect : Effect.fail(ended)))

  /** Waits for nested transactions of siblings. The timeout resolves a deadlock if they wait for this statement. */
  const inTurn = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.suspend(() => {
        let taken = false
        const take = Effect.zipRight(
          Effect.interruptible(semaphore.take(1)),
          Effect.sync(() => {
            taken = true
          })
        )
        const inTime = Effect.timeoutFail(take, { duration: busyMillis, onTimeout: () => blocked })
        // The permit may have been taken at the moment of the timeout.
        const giveBack = Effect.suspend(() => (taken ? semaphore.release(1) : Effect.void))
        return Effect.ensuring(Effect.zipRight(inTime, restore(whileOpen(effect))), giveBack)
      })
    )

  const guard = <A>(statement: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.suspend(() => (nested === 0 ? whileOpen(statement) : inTurn(statement)))

  const own: Connection = {
    execute: (sql, params, transform) => guard(connection.execute(sql, params, transform)),
    executeRaw: (sql, params) => guard(connection.executeRaw(sql, params)),
    executeValues: (sql, params) => guard(connection.executeValues(sql, params)),
    executeUnprepared: (sql, params, transform) => guard(connection.executeUnprepared(sql, params, transform)),
    executeStream: (sql, params, transform) =>
      Stream.unwrap(Effect.map(own.execute(sql, params, transform), Stream.fromIterable))
  }

  const level: Level = {
    client,
    connection: own,
    depth: parent === undefined ? 0 : parent.depth + 1,
    isOpen,
    isRunning: () => parent?.isRunning() ?? !closed,
    exclusively: (effect) =>
      Effect.acquireUseRelease(
        Effect.sync(() => nested++),
        () => inTurn(effect),
        () => Effect.sync(() => nested--)
      ),
    close: Effect.sync(() => {
      closed = true
    })
  }
  levels.set(own, level)
  return level
}

const blocked = new SqlError({
  message: "A nested transaction did not end in time. It may itself be waiting for this statement."
})

export const withTransaction =
  (client: Client) =>
  <R, E, A>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    Effect.flatMap(Effect.serviceOption(SqlClient.TransactionConnection), (current) => {
      const outer = Option.isSome(current) ? levels.get(current.value[0]) : undefined
      // The surrounding transaction may belong to another client, on another file.
      return outer?.client.database === client.database ? savepoint(outer, self) : topLevel(client, self)
    })

const run = (connection: Connection, sql: string) => Effect.asVoid(connection.executeUnprepared(sql, [], undefined))

/** Adds only the connection to the context, so a Scope in `R` remains the caller's. */
const within = <A, E, R>(level: Level, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.ensuring(
    Effect.mapInputContext(self, (context: Context.Context<R>) =>
      Context.add(context, SqlClient.TransactionConnection, [level.connection, level.depth] as const)
    ),
    level.close
  )

const topLevel = <A, E, R>(client: Client, self: Effect.Effect<A, E, R>) => {
  const { connection, database, writer } = client
  // Checks first: SQLite rolls back by itself on some errors, and a second ROLLBACK would hide the first error.
  const undo = Effect.suspend(() => (database.inTransaction ? Effect.ignore(run(connection, "ROLLBACK")) : Effect.void))
  return Effect.uninterruptibleMask((restore) => {
    const acquire = Effect.mapError(restore(writer.acquire), (cause) => new SqlError({ cause, message: cause.message }))
    // Waits for a busy file, so it must be interruptible.
    const begin = Effect.onInterrupt(restore(run(connection, "BEGIN IMMEDIATE")), () => undo)
    const body = bracket(
      restore(Effect.suspend(() => within(makeLevel(client, undefined), self))),
      run(connection, "COMMIT"),
      undo
    )
    return Effect.zipRight(acquire, Effect.ensuring(Effect.zipRight(begin, body), writer.release))
  })
}

const savepoint = <A, E, R>(outer: Level, self: Effect.Effect<A, E, R>) => {
  const { client, depth } = outer
  const name = `recovery_${depth + 1}`
  // After the outer transaction, a savepoint of this name may belong to another transaction.
  const inside = (sql: string) =>
    Effect.suspend(() => (outer.isOpen() ? run(client.connection, sql) : Effect.fail(ended)))
  const undo = Effect.ignore(Effect.zipRight(inside(`ROLLBACK TO ${name}`), inside(`RELEASE ${name}`)))
  const nested = Effect.uninterruptibleMask((restore) => {
    const body = restore(Effect.suspend(() => within(makeLevel(client, outer), self)))
    return Effect.zipRight(inside(`SAVEPOINT ${name}`), bracket(body, inside(`RELEASE ${name}`), undo))
  })
  return outer.exclusively(nested)
}

/** Runs `end` after success and `undo` after failure. If `end` fails, runs `undo` and fails. */
const bracket = <A, E, R>(
  body: Effect.Effect<A, E, R>,
  end: Effect.Effect<void, SqlError>,
  undo: Effect.Effect<void>
): Effect.Effect<A, E | SqlError, R> =>
  Effect.matchCauseEffect(body, {
    onFailure: (cause) => Effect.zipRight(undo, Effect.failCause(cause)),
    onSuccess: (value) =>
      Effect.as(
        Effect.tapError(end, () => undo),
        value
      )
  })
