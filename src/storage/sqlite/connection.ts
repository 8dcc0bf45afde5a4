import * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlConnection from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Database, Statement } from "./driver.js"
import type { Writer } from "./writer.js"

export type Connection = SqlConnection.Connection

/** More distinct statements than any program writes by hand; a cache without end would leak generated ones. */
const maxStatements = 500

/**
 * The connection as `@effect/sql` sees it. Whoever calls it holds the permit,
 * so a busy file is waited for here.
 */
export const makeConnection = (database: Database, writer: Writer): Connection => {
  const prepared = new Map<string, Statement>()

  const prepare = (sql: string): Statement => {
    const known = prepared.get(sql)
    if (known !== undefined) return known
    const statement = database.prepare(sql)
    if (prepared.size >= maxStatements) prepared.clear()
    prepared.set(sql, statement)
    return statement
  }

  const execute = <A>(
    sql: string,
    run: (statement: Statement) => A,
    how: (sql: string) => Statement = prepare
  ): Effect.Effect<A, SqlError> =>
    Effect.withFiberRuntime((fiber) => {
      const safeIntegers = Context.get(fiber.currentContext, SqlClient.SafeIntegers)
      // Set each time: on a cached statement the flag of an earlier call would stick.
      const statement = () => run(how(sql).safeIntegers(safeIntegers))
      return Effect.mapError(
        writer.patiently("Executing a statement", statement),
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
    // An open cursor would keep every writer waiting, so the rows are read at once.
    executeStream: (sql, params, transformRows) =>
      Stream.unwrap(Effect.map(connection.execute(sql, params, transformRows), Stream.fromIterable))
  }
  return connection
}

type Transform = <A extends object>(rows: ReadonlyArray<A>) => ReadonlyArray<A>
