import { SqlClient } from "@effect/sql/SqlClient"
import * as StockClient from "@effect/sql-sqlite-node/SqliteClient"
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import { SqlStorage } from "effect-recovery/sql"
import type { KeptOptions } from "./kept.js"

/** The storage of one process over the stock client of SQLite, and this client. */
export const storageOnStockClient = (
  filename: string,
  { change = (client) => client, durability, lease }: KeptOptions
) => {
  const client = Layer.map(StockClient.layer({ filename }), (context) =>
    Context.make(SqlClient, change(Context.get(context, SqlClient)))
  )
  return Layer.provideMerge(SqlStorage.layer({ lease, durability }), client)
}
