import { SqlClient } from "@effect/sql/SqlClient"
import * as StockClient from "@effect/sql-sqlite-node/SqliteClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { SqliteClient } from "effect-recovery/sqlite"
import { describe } from "vitest"
import { temporaryFile } from "./files.js"
import { type Database, inPostgres } from "./postgres.js"

/** A client of the shop's database. Each build of it is another process. */
export type Client = Layer.Layer<SqlClient, unknown>

/** A kind of database that is another one than the journal's. */
export interface Shop {
  readonly name: string
  /** A client of a fresh database, with its tables. */
  readonly open: Effect.Effect<Client, unknown, Scope.Scope>
}

const tables = Effect.gen(function* () {
  const sql = yield* SqlClient
  yield* sql`CREATE TABLE items (name TEXT PRIMARY KEY, stock INTEGER NOT NULL)`
  yield* sql`CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL REFERENCES items (name) DEFERRABLE INITIALLY DEFERRED)`
  yield* sql`INSERT INTO items VALUES ('book', 100)`
})

const withTables = (client: Client) => Effect.as(Effect.provide(tables, client), client)

/** The stock client checks foreign keys, as that of better-sqlite3 does by default. */
export const stock: Shop = {
  name: "the stock client of SQLite",
  open: Effect.flatMap(temporaryFile("shop.db"), (filename) => withTables(StockClient.layer({ filename })))
}

export const own: Shop = {
  name: "the SQLite client of this library",
  open: Effect.flatMap(temporaryFile("shop.db"), (filename) =>
    withTables(
      Layer.tap(SqliteClient.layer({ filename, durability: "process-crash" }), (context) =>
        Effect.provide(Effect.orDie(Effect.flatMap(SqlClient, (sql) => sql`PRAGMA foreign_keys = ON`)), context)
      )
    )
  )
}

export const shops: ReadonlyArray<Shop> = [stock, own]

const shopOf = (database: Database): Shop => ({
  name: "Postgres",
  open: Effect.zipRight(
    database.query("DROP TABLE IF EXISTS orders, items, effect_recovery_once"),
    withTables(database.client())
  )
})

/** The same tests on each kind of database. */
export const inShops = (title: string, tests: (shop: Shop) => void): void => {
  for (const shop of shops) describe(`${title} on ${shop.name}`, () => tests(shop))
  inPostgres(`${title} on Postgres`, (database) => tests(shopOf(database)))
}

export const stockOf = Effect.flatMap(SqlClient, (sql) =>
  Effect.map(sql<{ readonly stock: number }>`SELECT stock FROM items`, ([row]) => row?.stock)
)

export const ordersOf = Effect.flatMap(SqlClient, (sql) =>
  Effect.map(sql<{ readonly id: number }>`SELECT id FROM orders ORDER BY id`, (rows) => rows.map(({ id }) => id))
)
