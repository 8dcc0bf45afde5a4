import { SqlClient } from "@effect/sql/SqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import { PgStorage } from "effect-recovery/pg"
import { type KeptOptions, prefixOf } from "./kept.js"
import type { Address } from "./postgresServer.js"

/** The storage of one process in a folder on a server, and its client. */
export const storageOnPostgres = (
  { database, host, port, user: username }: Address,
  folder: string,
  { change = (client) => client, lease }: KeptOptions
) => {
  // A process that starts on a busy machine may wait long for its first connection.
  const connectTimeout = "5 minutes"
  const client = Layer.map(PgClient.layer({ host, port, database, username, connectTimeout }), (context) => {
    const changed = change(Context.get(context, PgClient.PgClient))
    return Context.make(SqlClient, changed).pipe(Context.add(PgClient.PgClient, changed))
  })
  return Layer.provideMerge(PgStorage.layer({ lease, prefix: prefixOf(folder) }), client)
}
