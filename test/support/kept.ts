import * as path from "node:path"
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import type { ConfigError } from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Storage } from "effect-recovery"
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

type KeptStorage = Layer.Layer<Storage.Storage | SqlClient, ConfigError | SqlError | Storage.StorageError>

/** A process loads the client that it needs alone: loading all takes a third of the time in which one starts. */
const loaded = <M>(module: () => Promise<M>, storage: (module: M) => KeptStorage): KeptStorage =>
  Layer.unwrapEffect(Effect.map(Effect.promise(module), storage))

/** The storage of one process in a folder, and its client. */
export const storageIn = (kept: Kept, folder: string, options: KeptOptions = {}): KeptStorage => {
  const { durability, lease } = options
  const filename = `${folder}/runs.db`
  switch (kept.kind) {
    case "sqlite":
      return Layer.provideMerge(
        SqliteStorage.layerClient({ lease }),
        SqliteClient.layer({ filename, driver: kept.driver, durability })
      )
    case "stock":
      return loaded(
        () => import("./keptOnStockClient.js"),
        ({ storageOnStockClient }) => storageOnStockClient(filename, options)
      )
    case "postgres":
      return loaded(
        () => import("./keptOnPostgres.js"),
        ({ storageOnPostgres }) => storageOnPostgres(kept.address, folder, options)
      )
  }
}
