import * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Layer, String } from "effect"
import { Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"

// One file, one connection: rows of the program and runs of its workflows.
const database = SqliteStorage.layerClient().pipe(
  Layer.provideMerge(
    SqliteClient.layer({
      filename: ":memory:",
      transformQueryNames: String.camelToSnake,
      transformResultNames: String.snakeToCamel
    })
  )
)

// Succeeds with { people: [{ fullName: "Ada" }], runs: 0, isCopied: true }
export const program = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE people (full_name TEXT)`
  yield* sql`INSERT INTO people ${sql.insert({ fullName: "Ada" })}`
  const people = yield* sql<{ readonly fullName: string }>`SELECT * FROM people`
  const runs = yield* Workflow.list()

  // As of @effect/sql-sqlite-node, whose own tag finds this client too.
  const { export: bytes } = yield* SqliteClient.StockClient
  return { people, runs: runs.length, isCopied: (yield* bytes).length > 0 }
}).pipe(Effect.provide(database))
