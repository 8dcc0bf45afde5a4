import { SqliteClient } from "@effect/sql-sqlite-node"
import { Config, Layer } from "effect"
import { SqlStorage } from "effect-recovery/sql"
import { tables } from "../orders.js"

// The client of the app, as it was before.
const client = SqliteClient.layerConfig({
  filename: Config.string("DATABASE_FILE").pipe(Config.withDefault("shop.db"))
})

// The tables of runs stand beside those of the app, on the one client.
export const storage = SqlStorage.layer().pipe(Layer.provideMerge(client))

export const database = tables.pipe(Layer.provideMerge(storage))
