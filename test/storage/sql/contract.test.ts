import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlStorage } from "effect-recovery/sql"
import { Testing } from "effect-recovery/testing"
import { inPglite, inPostgres } from "../../support/postgres.js"

describe("the stock client of SQLite: the storage contract", () => {
  const made = Effect.flatMap(Layer.build(SqliteClient.layer({ filename: ":memory:" })), (client) =>
    Effect.provide(SqlStorage.store(), client)
  )
  for (const { check, name } of Testing.storageContract(made)) it.live(name, () => check)
})

/** Each check has tables of its own. */
let stores = 0

for (const [inServer, title] of [
  [inPostgres, "Postgres: the storage contract"],
  [inPglite, "PGlite: the storage contract"]
] as const) {
  inServer(title, (database) => {
    // PGlite has one connection, and that of the check before may not have ended yet.
    const connected = Effect.retry(Layer.build(database.client()), { times: 10_000 })
    const made = Effect.suspend(() =>
      Effect.flatMap(connected, (client) =>
        Effect.provide(SqlStorage.store({ prefix: `contract_${++stores}_`, clock: "program" }), client)
      )
    )
    for (const { check, name } of Testing.storageContract(made)) it.live(name, () => check)
  })
}
