import type { SqlClient } from "@effect/sql/SqlClient"
import * as StockClient from "@effect/sql-sqlite-node/SqliteClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Storage } from "effect-recovery"
import { PgStorage } from "effect-recovery/pg"
import { SqlStorage } from "effect-recovery/sql"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { payments } from "../../examples/transactions/money-transfer.js"
import { inPostgres } from "../support/postgres.js"

const stock = StockClient.layer({ filename: ":memory:" })

const movesMoneyOnce = <E>(layer: () => Layer.Layer<Storage.Storage | SqlClient, E>): void =>
  it.live("moves once, and not at all where it is refused", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Effect.provide(payments, layer()), { refused: "Overdrawn", balances: [30, 70] })
    })
  )

describe("money in the tables of a program, with the journal", () => {
  describe("in memory", () => movesMoneyOnce(() => Layer.merge(Storage.layerMemory, stock)))

  describe("on the SQLite client of this library", () =>
    movesMoneyOnce(() => Layer.provideMerge(SqliteStorage.layerClient(), SqliteClient.layer({ filename: ":memory:" }))))

  describe("on the stock client of SQLite", () => movesMoneyOnce(() => Layer.provideMerge(SqlStorage.layer(), stock)))

  inPostgres("on Postgres", (database) =>
    movesMoneyOnce(() => Layer.provideMerge(PgStorage.layer(), database.client()))
  )
})
