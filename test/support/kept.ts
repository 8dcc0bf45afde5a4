import * as path from "node:path"
import { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as StockClient from "@effect/sql-sqlite-node/SqliteClient"
import type { ConfigError } from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import type { Storage } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { SqlStorage } from "effect-recovery/sql"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import type { Address } from "./postgresServer.js"

/** Where the processes of a test keep their runs: each of them gets it as text. */
export type Kept =
  | { readonly kind: "sqlite"; readonly driver: NonNullable<SqliteClient.Options["driver"]> }
  | { readonly kind: "stock" }
  | { readonly kind: "postgres"; readonly address: Address }

export interface KeptOptions {
  readonly lease?: Duration.DurationInput
  readonly durability?: "power-loss" | "process-crash"
  /** Changes the client of the stock kinds, for the storage and for the program. */
  readonly change?: <C extends SqlClient>(client: C) => C
}

/** What tables on a server that all folders share begin with. */
export const prefixOf = (folder: string): string => `in_${path.basename(folder).slice(-6)}_`

/** The storage of one process in a folder, and its client. */
export const storageIn = (
  kept: Kept,
  folder: string,
  { change = (client) => client, durability, lease }: KeptOptions = {}
): Layer.Layer<Storage.Storage | SqlClient, ConfigError | SqlError | Storage.StorageError> => {
  const filename = `${folder}/runs.db`
  switch (kept.kind) {
    case "sqlite":
      return Layer.provideMerge(
        SqliteStorage.layerClient({ lease }),
        SqliteClient.layer({ filename, driver: kept.driver, durability })
      )
    case "stock": {
      const client = Layer.map(StockClient.layer({ filename }), (context) =>
        Context.make(SqlClient, change(Context.get(context, SqlClient)))
      )
      return Layer.provideMerge(SqlStorage.layer({ lease, durability }), client)
    }
    case "postgres": {
      const { database, host, port, user: username } = kept.address
      // A process that starts on a busy machine may wait long for its first connection.
      const connectTimeout = "5 minutes"
      const client = Layer.map(PgClient.layer({ host, port, database, username, connectTimeout }), (context) => {
        const changed = change(Context.get(context, PgClient.PgClient))
        return Context.make(SqlClient, changed).pipe(Context.add(PgClient.PgClient, changed))
      })
      return Layer.provideMerge(PgStorage.layer({ lease, prefix: prefixOf(folder) }), client)
    }
  }
}
