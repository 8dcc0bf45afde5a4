import * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlConnection from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Plain } from "../rows.js"
import type { DatabaseFile } from "./databaseFile.js"
import type { Database, Statement } from "./driver.js"
import { QueryCache } from "./rows.js"
import type { Writer } from "./writer.js"

export type Connection = SqlConnection.Connection

/**
 * The connection as `@effect/sql` sees it. Its callers hold the permit, so it
 * waits for a busy file itself.
 */
export const makeConnection = (database: Database, file: DatabaseFile, writer: Writer): Connection => {
  const statements = new QueryCache(database, 500)

  const execute = <A extends Plain>(
    sql: string,
    run: (statement: Statement) => A,
    prepare: (sql: string) => Statement = (text) => statements.prepare(text)
  ): Effect.Effect<A, SqlError> =>
    Effect.withFiberRuntime((fiber) => {
      const safeIntegers = Context.get(fiber.currentContext, SqlClient.SafeIntegers)
      // Set at each use: a cached statement keeps the flag of its last use.
      const statement = () => {
        const answer = run(prepare(sql).safeIntegers(safeIntegers))
        // After a COMMIT too: it must not be reported if the file has no name any more.
        if (!database.inTransaction) file.verify()
        return answer
      }
      return Effect.mapError(
        writer.whileBusy("Executing a statement", statement),
        (error) => new SqlError({ cause: error.cause, message: "Failed to execute statement" })
      )
    })

  const rows = (params: ReadonlyArray<unknown>) => (statement: Statement) => {
    // biome-ignore lint/suspicious/noExplicitAny: the row type of @effect/sql's Connection
    if (statement.reader) return statement.all(...params) as ReadonlyArray<any>
    statement.run(...params)
    return []
  }

  const values = (params: ReadonlyArray<unknown>) => (statement: Statement) => {
    if (!statement.reader) {
      statement.run(...params)
      return []
    }
    statement.raw(true)
    try {
      return statement.all(...params) as ReadonlyArray<ReadonlyArray<unknown>>
    } finally {
      statement.raw(false)
    }
  }

  const raw = (params: ReadonlyArray<unknown>) => (statement: Statement) =>
    statement.reader ? statement.all(...params) : statement.run(...params)

  const transform = <A>(effect: Effect.Effect<ReadonlyArray<A>, SqlError>, transformRows: Transform | undefined) =>
    transformRows === undefined
      ? effect
      : Effect.map(effect, transformRows as (rows: ReadonlyArray<A>) => ReadonlyArray<A>)

  const connection: Connection = {
    execute: (sql, params, transformRows) => transform(execute(sql, rows(params)), transformRows),
    executeRaw: (sql, params) => execute(sql, raw(params)),
    executeValues: (sql, params) => execute(sql, values(params)),
    executeUnprepared: (sql, params, transformRows) =>
      transform(
        execute(sql, rows(params), (text) => database.prepare(text)),
        transformRows
      ),
    // Reads all rows at once: an open cursor would block every writer.
    executeStream: (sql, params, transformRows) =>
      Stream.unwrap(Effect.map(connection.execute(sql, params, transformRows), Stream.fromIterable))
  }
  return connection
}

type Transform = <A extends object>(rows: ReadonlyArray<A>) => ReadonlyArray<A>
