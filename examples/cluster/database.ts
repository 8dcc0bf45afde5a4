import { PgClient } from "@effect/sql-pg"
import { Config, Layer } from "effect"
import { PgStorage } from "effect-recovery/pg"

export const client = PgClient.layerConfig({
  url: Config.redacted("DATABASE_URL"),
  applicationName: Config.succeed("reports")
})

export const storage = PgStorage.layer().pipe(Layer.provideMerge(client))
