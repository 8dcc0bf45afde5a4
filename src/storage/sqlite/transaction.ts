import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
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
    execute: (...args) => guard(connection.execute(...args)),
    executeRaw: (...args) => guard(connection.executeRaw(...args)),
    executeValues: (...args) => guard(connection.executeValues(...args)),
    executeUnprepared: (...args) => guard(connection.executeUnprepared(...args)),
    executeStream: (...args) => Stream.unwrap(Effect.as(guard(Effect.void), connection.executeStream(...args)))
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
      const outer = Option.flatMapNullable(current, ([outer]) => levels.get(outer))
      return Option.isSome(outer)
        ? savepoint(database, connection, outer.value, self)
        : topLevel(database, writer, connection, self)
    })

const run = (connection: Connection, sql: string) => Effect.asVoid(connection.executeUnprepared(sql, [], undefined))

const within = <A, E, R>(level: Level, self: Effect.Effect<A, E, R>) =>
  Effect.ensuring(
    Effect.provideService(self, SqlClient.TransactionConnection, [level.connection, level.depth]),
    level.close
  )

const topLevel = <A, E, R>(database: Database, writer: Writer, connection: Connection, self: Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        yield* Effect.mapError(restore(writer.permit), (cause) => new SqlError({ cause, message: cause.message }))
        // Waiting for a busy file happens here, where it can still be interrupted.
        yield* restore(run(connection, "BEGIN IMMEDIATE")).pipe(
          Effect.onInterrupt(() => rollback(database, connection))
        )
        const exit = yield* Effect.exit(restore(within(makeLevel(connection, 0), self)))
        if (Exit.isFailure(exit)) {
          yield* rollback(database, connection)
          return yield* exit
        }
        yield* Effect.tapError(run(connection, "COMMIT"), () => rollback(database, connection))
        return exit.value
      })
    )
  )

const savepoint = <A, E, R>(database: Database, connection: Connection, outer: Level, self: Effect.Effect<A, E, R>) => {
  const name = `recovery_${outer.depth + 1}`
  const undo = Effect.suspend(() =>
    database.inTransaction
      ? Effect.ignore(Effect.zipRight(run(connection, `ROLLBACK TO ${name}`), run(connection, `RELEASE ${name}`)))
      : Effect.void
  )
  const nested = Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      yield* run(connection, `SAVEPOINT ${name}`)
      const exit = yield* Effect.exit(restore(within(makeLevel(connection, outer.depth + 1), self)))
      if (Exit.isFailure(exit)) {
        yield* undo
        return yield* exit
      }
      yield* Effect.tapError(run(connection, `RELEASE ${name}`), () => undo)
      return exit.value
    })
  )
  return outer.exclusively(nested)
}

/** Checked: on some errors SQLite has rolled back already, and complaining would hide the first error. */
const rollback = (database: Database, connection: Connection): Effect.Effect<void> =>
  Effect.suspend(() => (database.inTransaction ? Effect.ignore(run(connection, "ROLLBACK")) : Effect.void))
