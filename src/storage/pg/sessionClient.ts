import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { makeCompiler } from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Session } from "./session.js"

/** A client over one session: a transaction has the session to itself. */
export const makeSessionClient = (session: Session): Effect.Effect<SqlClient.SqlClient> => {
  const rows = (text: string, values: ReadonlyArray<unknown>) => session.query<object>(text, values)
  const connection: Connection = {
    execute: (text, values, transform) =>
      transform === undefined ? rows(text, values) : Effect.map(rows(text, values), transform),
    executeRaw: session.raw,
    executeStream: (text, values, transform) =>
      Stream.fromIterableEffect(Effect.map(rows(text, values), transform ?? ((all) => all))),
    executeValues: (text, values) => Effect.map(rows(text, values), (all) => all.map((row) => Object.values(row))),
    executeUnprepared: (text, values, transform) => connection.execute(text, values, transform)
  }
  const { turns } = session
  const reserved = Effect.as(
    Effect.acquireRelease(turns.take(1), () => turns.release(1)),
    connection
  )
  return Effect.provide(
    SqlClient.make({
      acquirer: Effect.succeed(connection),
      transactionAcquirer: reserved,
      compiler: makeCompiler(),
      spanAttributes: []
    }),
    Reactivity.layer
  )
}
