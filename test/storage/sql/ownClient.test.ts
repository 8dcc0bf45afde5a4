import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { SqliteClient } from "effect-recovery/sqlite"
import { entry, leased, lines, open, reasonOf } from "./support.js"

describe("SqlStorage over our own client of SQLite", () => {
  it.scopedLive("commits a step with the rows of the program, with savepoints in it", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(SqliteClient.layer({ filename: ":memory:" }))
      yield* sql`CREATE TABLE rows (id INTEGER PRIMARY KEY)`
      const lease = yield* leased(store, "order")
      const undone = sql.withTransaction(Effect.zipRight(sql`INSERT INTO rows (id) VALUES (2)`, Effect.fail("no")))
      const body = Effect.gen(function* () {
        yield* sql`INSERT INTO rows (id) VALUES (1)`
        yield* Effect.exit(undone)
        return [yield* reasonOf(store.find("order")), [entry(1)]] as const
      })
      assert.strictEqual(yield* store.transactional(lease, body), "Client")
      assert.deepStrictEqual(yield* sql`SELECT id FROM rows`, [{ id: 1 }])
      assert.deepStrictEqual(yield* lines(store, lease.key), [1])
    })
  )

  it.scopedLive("a refused COMMIT is a Constraint, and a lost lease leaves no rows", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(SqliteClient.layer({ filename: ":memory:" }))
      yield* sql`PRAGMA foreign_keys = ON`
      yield* sql`CREATE TABLE banks (id INTEGER PRIMARY KEY)`
      yield* sql`CREATE TABLE accounts (bank INTEGER REFERENCES banks (id) DEFERRABLE INITIALLY DEFERRED)`
      const lease = yield* leased(store, "order")
      const insert = (bank: number) =>
        Effect.as(sql`INSERT INTO accounts (bank) VALUES (${bank})`, ["x", [entry(1)]] as const)
      assert.strictEqual(yield* reasonOf(store.transactional(lease, insert(7))), "Constraint")
      yield* sql`INSERT INTO banks (id) VALUES (7)`
      yield* store.release(lease.owner)
      assert.strictEqual(yield* reasonOf(store.transactional(lease, insert(7))), "LeaseLost")
      assert.deepStrictEqual(yield* sql`SELECT * FROM accounts`, [])
      assert.deepStrictEqual(yield* lines(store, lease.key), [])
    })
  )
})
