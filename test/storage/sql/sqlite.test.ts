import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { SqliteStorage } from "effect-recovery/sqlite"
import { temporaryFile } from "../../support/files.js"
import { eventually } from "../../support/time.js"
import { entry, leased, lines, open, reasonOf, request, stock } from "./support.js"

const bank = [
  "PRAGMA foreign_keys = ON",
  "CREATE TABLE banks (id INTEGER PRIMARY KEY)",
  `CREATE TABLE accounts (id INTEGER PRIMARY KEY, bank INTEGER REFERENCES banks (id) DEFERRABLE INITIALLY DEFERRED)`
]

const withBank = (sql: SqlClient.SqlClient) => Effect.forEach(bank, (text) => sql.unsafe(text))

describe("the stock client of SQLite", () => {
  it.scopedLive("keeps a line that follows a refused COMMIT of the program, whatever the program does next", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("app.db")
      const { sql, store } = yield* open(stock(filename))
      yield* withBank(sql)
      const lease = yield* leased(store, "order")
      const refused = yield* Effect.exit(sql.withTransaction(sql`INSERT INTO accounts (id, bank) VALUES (1, 7)`))
      assert.isTrue(Exit.isFailure(refused))
      yield* store.append(lease, [entry(1)])
      yield* Effect.exit(
        sql.withTransaction(Effect.zipRight(sql`INSERT INTO banks (id) VALUES (1)`, Effect.fail("no")))
      )
      const other = yield* open(stock(filename))
      assert.deepStrictEqual(yield* lines(other.store, lease.key), [1])
      assert.deepStrictEqual(yield* other.sql`SELECT * FROM accounts`, [])
    })
  )

  it.scopedLive("reads nothing of a transaction that the program left open", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(stock(":memory:"))
      yield* withBank(sql)
      yield* Effect.exit(
        sql.withTransaction(
          Effect.zipRight(
            sql`INSERT INTO accounts (id, bank) VALUES (1, 7)`,
            sql.unsafe("INSERT INTO recovery_counters (name, value) VALUES ('count', 1)")
          )
        )
      )
      assert.deepStrictEqual(yield* store.counters(""), [])
    })
  )

  it.scopedLive("a refused COMMIT of a transactional step is a Constraint, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(stock(":memory:"))
      yield* withBank(sql)
      const lease = yield* leased(store, "order")
      const body = Effect.as(sql`INSERT INTO accounts (id, bank) VALUES (1, 7)`, ["done", [entry(1)]] as const)
      assert.strictEqual(yield* reasonOf(store.transactional(lease, body)), "Constraint")
      assert.deepStrictEqual(yield* lines(store, lease.key), [])
      yield* sql`INSERT INTO banks (id) VALUES (7)`
      assert.strictEqual(yield* store.transactional(lease, body), "done")
      assert.deepStrictEqual(yield* lines(store, lease.key), [1])
      assert.strictEqual((yield* sql`SELECT * FROM accounts`).length, 1)
    })
  )

  it.scopedLive("a transactional step that SQLite rolled back writes no line", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(stock(":memory:"))
      yield* sql`CREATE TABLE once (id INTEGER PRIMARY KEY)`
      const lease = yield* leased(store, "order")
      const body = sql`INSERT INTO once (id) VALUES (1)`.pipe(
        Effect.zipRight(Effect.ignore(sql`INSERT OR ROLLBACK INTO once (id) VALUES (1)`)),
        Effect.as(["done", [entry(1)]] as const)
      )
      const reason = yield* reasonOf(store.transactional(lease, body))
      assert.strictEqual(reason, "Rejected")
      assert.deepStrictEqual(yield* lines(store, lease.key), [])
      assert.deepStrictEqual(yield* sql`SELECT * FROM once`, [])
    })
  )

  it.scopedLive(
    "inside of a transactional step a nested transaction is a savepoint, and the store is refused at once",
    () =>
      Effect.gen(function* () {
        const { sql, store } = yield* open(stock(":memory:"))
        yield* sql`CREATE TABLE rows (id INTEGER PRIMARY KEY)`
        const lease = yield* leased(store, "order")
        const body = Effect.gen(function* () {
          yield* sql`INSERT INTO rows (id) VALUES (1)`
          yield* Effect.exit(
            sql.withTransaction(Effect.zipRight(sql`INSERT INTO rows (id) VALUES (2)`, Effect.fail("no")))
          )
          const reasons = yield* Effect.forEach(
            [
              store.find("order"),
              store.signal("order", "key", "1"),
              store.append(lease, [entry(9)]),
              store.count([{ name: "n", add: 1 }])
            ],
            reasonOf
          )
          return [reasons, [entry(1)]] as const
        })
        const reasons = yield* store.transactional(lease, body)
        assert.deepStrictEqual(reasons, ["Client", "Client", "Client", "Client"])
        assert.deepStrictEqual(yield* sql`SELECT id FROM rows`, [{ id: 1 }])
        assert.deepStrictEqual(yield* lines(store, lease.key), [1])
      })
  )

  it.scopedLive("a transaction of another client does not refuse the store", () =>
    Effect.gen(function* () {
      const { store } = yield* open(stock(":memory:"))
      const other = yield* Layer.build(stock(":memory:"))
      const find = SqlClient.SqlClient.pipe(Effect.flatMap((sql) => sql.withTransaction(store.find("order"))))
      assert.strictEqual((yield* Effect.provide(find, other))._tag, "None")
    })
  )

  it.scopedLive("commits wait for the disk, however the client was opened", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("app.db")
      const { sql, store } = yield* open(stock(filename))
      const level = Effect.map(
        sql.unsafe<{ readonly synchronous: number }>("PRAGMA synchronous"),
        ([row]) => row?.synchronous
      )
      assert.strictEqual(yield* level, 2)
      yield* sql.unsafe("PRAGMA synchronous = OFF")
      yield* leased(store, "order")
      assert.strictEqual(yield* level, 2)
    })
  )

  it.scopedLive("leaves the durability of the program alone where a process crash is all it must survive", () =>
    Effect.gen(function* () {
      const { sql, store } = yield* open(stock(":memory:"), { durability: "process-crash" })
      yield* sql.unsafe("PRAGMA synchronous = OFF")
      yield* leased(store, "order")
      assert.deepStrictEqual(yield* sql.unsafe("PRAGMA synchronous"), [{ synchronous: 0 }])
    })
  )

  it.scopedLive("the names and big integers of the program do not reach the rows of the store", () =>
    Effect.gen(function* () {
      const upper = (name: string) => name.toUpperCase()
      const { store } = yield* open(stock(":memory:", { transformQueryNames: upper, transformResultNames: upper }))
      const lease = yield* Effect.provideService(leased(store, "order"), SqlClient.SafeIntegers, true)
      yield* store.append(lease, [entry(1)])
      const journal = yield* Effect.provideService(store.journal(lease.key), SqlClient.SafeIntegers, true)
      assert.deepStrictEqual(journal, [entry(1)])
      assert.strictEqual(lease.token, 1)
    })
  )

  it.scopedLive("writes a file that SqliteStorage opens, and opens one that it wrote", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("app.db")
      const first = yield* open(stock(filename))
      const lease = yield* leased(first.store, "order")
      yield* first.store.append(lease, [entry(1)])
      yield* first.store.signal("order", "go", "1")
      const own = yield* SqliteStorage.store({ filename })
      assert.deepStrictEqual(yield* own.journal(lease.key), [entry(1)])
      assert.deepStrictEqual(
        (yield* own.signals(lease.key)).map(({ key }) => key),
        ["go"]
      )
      yield* own.append(lease, [entry(2)])
      yield* own.signal("order", "again", "2")
      assert.deepStrictEqual(yield* lines(first.store, lease.key), [1, 2])
      assert.deepStrictEqual(
        (yield* first.store.signals(lease.key, 1)).map(({ key }) => key),
        ["again"]
      )
      assert.deepStrictEqual(yield* own.check, [])
      assert.deepStrictEqual(yield* first.store.check, [])
    })
  )

  it.scopedLive("two first starts at once create the tables once", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("app.db")
      const all = yield* Effect.all([open(stock(filename)), open(stock(filename)), open(stock(filename))], {
        concurrency: "unbounded"
      })
      for (const { store } of all) assert.deepStrictEqual(yield* store.list({}), [])
    })
  )

  it.scopedLive("tables of a newer version are refused and left alone, unless that version admits this one", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("app.db")
      const { sql } = yield* open(stock(filename))
      yield* sql`INSERT INTO effect_recovery_migrations (migration_id, name) VALUES (9998, 'later_reader_10')`
      yield* open(stock(filename))
      yield* sql`INSERT INTO effect_recovery_migrations (migration_id, name) VALUES (9999, 'later')`
      assert.strictEqual(yield* reasonOf(open(stock(filename))), "Version")
    })
  )

  it.scopedLive("a file that cannot be written is ReadOnly", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("app.db")
      yield* open(stock(filename))
      const { store } = yield* open(stock(filename, { readonly: true, disableWAL: true }))
      assert.deepStrictEqual(yield* store.list({}), [])
      assert.strictEqual(yield* reasonOf(store.open(request("order"), "a/1", 1_000)), "ReadOnly")
    })
  )

  it.scopedLive("waits for another process that writes, and gives up after its patience", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("app.db")
      const { sql, store } = yield* open(stock(filename), { patience: "20 millis" })
      const other = yield* open(stock(filename))
      yield* sql.unsafe("PRAGMA busy_timeout = 0")
      const busy = yield* Effect.fork(
        other.sql.withTransaction(Effect.zipRight(other.sql`CREATE TABLE held (id INTEGER)`, Effect.never))
      )
      yield* eventually(reasonOf(store.count([{ name: "n", add: 1 }])), (reason) => reason === "Busy")
      yield* Fiber.interrupt(busy)
      yield* leased(store, "order")
    })
  )

  it.scopedLive("tables of two prefixes share nothing", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("app.db")
      const one = yield* open(stock(filename), { prefix: "one_" })
      const two = yield* open(stock(filename), { prefix: "Two" })
      yield* leased(one.store, "order")
      assert.deepStrictEqual(yield* two.store.list({}), [])
    })
  )
})

describe("SqlStorage", () => {
  it.scopedLive("refuses a prefix or schema that is no plain name", () =>
    Effect.forEach(['a"; DROP TABLE runs; --', "", "1st", "ä", "x".repeat(32)], (text) =>
      Effect.gen(function* () {
        for (const options of [{ prefix: text }, { schema: text }]) {
          const exit = yield* Effect.exit(open(stock(":memory:"), options))
          assert.include(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "", "InvalidOption")
        }
      })
    )
  )

  it.scopedLive("refuses the client of a database that it has no tables for", () =>
    Effect.gen(function* () {
      const client = Effect.map(SqlClient.SqlClient, (sql) =>
        Object.assign(Object.create(sql), { onDialectOrElse: (cases: { orElse: () => unknown }) => cases.orElse() })
      )
      const mysql = Layer.provide(Layer.effect(SqlClient.SqlClient, client), stock(":memory:"))
      assert.strictEqual(yield* reasonOf(open(mysql)), "Dialect")
    })
  )

  it.scopedLive("fails with Closed once its scope has ended", () =>
    Effect.gen(function* () {
      const store = yield* Effect.scoped(Effect.map(open(stock(":memory:")), ({ store }) => store))
      assert.strictEqual(yield* reasonOf(leased(store, "order")), "Closed")
      assert.strictEqual(yield* reasonOf(store.find("order")), "Closed")
    })
  )
})
