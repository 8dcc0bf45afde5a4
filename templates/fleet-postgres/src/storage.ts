import { PgClient } from "@effect/sql-pg"
import { Config, Layer, Redacted } from "effect"
import { PgStorage } from "effect-recovery/pg"

const local = Redacted.make("postgres://postgres:postgres@127.0.0.1:5432/postgres")

const client = PgClient.layerConfig({
  url: Config.withDefault(Config.redacted("DATABASE_URL"), local),
  applicationName: Config.succeed("fleet"),
  maxConnections: Config.succeed(10)
})

export const storage = PgStorage.layer().pipe(Layer.provide(client))
