import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqlStorage } from "effect-recovery/sql"
import { Testing } from "effect-recovery/testing"
import { type Database, inPglite, inPostgres, noServer } from "../../support/postgres.js"

describe("the stock client of SQLite: the storage contract", () => {
  const made = Effect.flatMap(Layer.build(SqliteClient.layer({ filename: ":memory:" })), (client) =>
    Effect.provide(SqlStorage.store(), client)
  )
  for (const { check, name } of Testing.storageContract(made)) it.live(name, () => check)
})

/** Where a real server has all of them, PGlite is shown to work by every fifth check. */
const inSample = (index: number): boolean =>
  noServer !== undefined || process.env["RECOVERY_SOAK"] !== undefined || index % 5 === 0

/** Each check has tables of its own. */
let stores = 0

const holdToContract = (database: Database, isChecked: (index: number) => boolean): void => {
  const made = Effect.suspend(() =>
    Effect.flatMap(Layer.build(database.client()), (client) =>
      Effect.provide(SqlStorage.store({ prefix: `contract_${++stores}_`, clock: "program" }), client)
    )
  )
  const checks = Testing.storageContract(made)
  for (const [index, { check, name }] of checks.entries()) if (isChecked(index)) it.live(name, () => check)
}

inPostgres("Postgres: the storage contract", (database) => holdToContract(database, () => true))

inPglite("PGlite: the storage contract", (database) => holdToContract(database, inSample))
