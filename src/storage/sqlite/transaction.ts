import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Connection } from "./connection.js"
import type { Database } from "./driver.js"
import type { Writer } from "./writer.js"

/**
 * The connection of one transaction. It ends with the transaction, and while
 * a nested one runs the statements of its siblings wait: SQLite has one stack
 * of savepoints.
 */
interface Level {
  readonly connection: Connection
  readonly depth: number
  readonly exclusively: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly close: Effect.Effect<void>
}

const levels = new WeakMap<Connection, Level>()

const makeLevel = (connection: Connection, depth: number): Level => {
  const semaphore = Effect.unsafeMakeSemaphore(1)
  let nested = 0
  let closed = false

  const guard = <A>(statement: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> =>
    Effect.suspend(() => {
      if (closed) return Effect.fail(new SqlError({ message: ended }))
      return nested === 0 ? statement : semaphore.withPermits(1)(statement)
    })

  const own: Connection = {
    execute: (sql, params, transform) => guard(connection.execute(sql, params, transform)),
    executeRaw: (sql, params) => guard(connection.executeRaw(sql, params)),
    executeValues: (sql, params) => guard(connection.executeValues(sql, params)),
    executeUnprepared: (sql, params, transform) => guard(connection.executeUnprepared(sql, params, transform)),
    executeStream: (sql, params, transform) =>
      Stream.unwrap(Effect.as(guard(Effect.void), connection.executeStream(sql, params, transform)))
  }

  const level: Level = {
    connection: own,
    depth,
    exclusively: (effect) =>
      Effect.suspend(() => {
        nested++
        return Effect.ensuring(
          semaphore.withPermits(1)(effect),
          Effect.sync(() => nested--)
        )
      }),
    close: Effect.sync(() => {
      closed = true
    })
  }
  levels.set(own, level)
  return level
}

const ended = "The transaction this statement was started in has ended; join the fiber before the transaction does."

export const withTransaction =
  (database: Database, writer: Writer, connection: Connection) =>
  <R, E, A>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
    Effect.flatMap(Effect.serviceOption(SqlClient.TransactionConnection), (current) => {
      const outer = Option.isSome(current) ? levels.get(current.value[0]) : undefined
      return outer === undefined
        ? topLevel(database, writer, connection, self)
        : savepoint(database, connection, outer, self)
    })

const run = (connection: Connection, sql: string) => Effect.asVoid(connection.executeUnprepared(sql, [], undefined))

/** Only the connection is put into the context: a Scope in `R` stays the caller's. */
const within = <A, E, R>(level: Level, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.ensuring(
    Effect.mapInputContext(self, (context: Context.Context<R>) =>
      Context.add(context, SqlClient.TransactionConnection, [level.connection, level.depth] as const)
    ),
    level.close
  )

const topLevel = <A, E, R>(
  database: Database,
  writer: Writer,
  connection: Connection,
  self: Effect.Effect<A, E, R>
) => {
  const undo = rollback(database, connection)
  return Effect.uninterruptibleMask((restore) => {
    const acquire = Effect.mapError(restore(writer.acquire), (cause) => new SqlError({ cause, message: cause.message }))
    // Waiting for a busy file happens here, where it can still be interrupted.
    const begin = Effect.onInterrupt(restore(run(connection, "BEGIN IMMEDIATE")), () => undo)
    const body = bracket(restore(within(makeLevel(connection, 0), self)), run(connection, "COMMIT"), undo)
    return Effect.zipRight(acquire, Effect.ensuring(Effect.zipRight(begin, body), writer.release))
  })
}

const savepoint = <A, E, R>(database: Database, connection: Connection, outer: Level, self: Effect.Effect<A, E, R>) => {
  const name = `recovery_${outer.depth + 1}`
  const undo = Effect.suspend(() =>
    database.inTransaction
      ? Effect.ignore(Effect.zipRight(run(connection, `ROLLBACK TO ${name}`), run(connection, `RELEASE ${name}`)))
      : Effect.void
  )
  const nested = Effect.uninterruptibleMask((restore) => {
    const body = restore(within(makeLevel(connection, outer.depth + 1), self))
    return Effect.zipRight(
      run(connection, `SAVEPOINT ${name}`),
      bracket(body, run(connection, `RELEASE ${name}`), undo)
    )
  })
  return outer.exclusively(nested)
}

/** Ends what was begun, in one way or the other. A failing end is undone and fails the whole. */
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

/** Checked: on some errors SQLite has rolled back already, and complaining would hide the first error. */
const rollback = (database: Database, connection: Connection): Effect.Effect<void> =>
  Effect.suspend(() => (database.inTransaction ? Effect.ignore(run(connection, "ROLLBACK")) : Effect.void))
