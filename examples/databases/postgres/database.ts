import { PgClient } from "@effect/sql-pg"
import { Config, Layer } from "effect"
import { PgStorage } from "effect-recovery/pg"
import { tables } from "../orders.js"

// The client of the app, as it was before.
const client = PgClient.layerConfig({
  url: Config.redacted("DATABASE_URL"),
  applicationName: Config.succeed("shop"),
  maxConnections: Config.succeed(10)
})

// The tables of runs stand beside those of the app, on the one client.
export const storage = PgStorage.layer().pipe(Layer.provideMerge(client))

export const database = tables.pipe(Layer.provideMerge(storage))
