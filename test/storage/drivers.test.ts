import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Layer from "effect/Layer"
import { SqliteClient } from "effect-recovery/sqlite"
import { codeName } from "../../src/storage/sqlite/resultCodes.js"
import { refuseSeveral } from "../../src/storage/sqlite/severalStatements.js"
import { drivers } from "../support/drivers.js"
import { temporaryFile } from "../support/files.js"

describe.each(drivers)("the driver $name", (driver) => {
  const opened = Effect.gen(function* () {
    const filename = yield* temporaryFile("test.db")
    const connect = Effect.acquireRelease(
      Effect.sync(() => driver.open({ filename, readonly: false })),
      (database) => Effect.sync(() => database.close())
    )
    const database = yield* connect
    database.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT UNIQUE, bytes BLOB)")
    return { database, connect }
  })

  const codeOf = (work: () => unknown): unknown => {
    try {
      work()
      return "no error"
    } catch (error) {
      return (error as { readonly code?: unknown }).code
    }
  }

  it.scoped("reads rows as plain objects, with bytes as a Buffer", () =>
    Effect.gen(function* () {
      const { database } = yield* opened
      const insert = database.prepare("INSERT INTO t VALUES (?, ?, ?)")
      assert.isFalse(insert.reader)
      const { changes, lastInsertRowid } = insert.run(7, "ü", Buffer.from([1, 2]))
      assert.deepStrictEqual([changes, lastInsertRowid], [1, 7])
      const select = database.prepare("SELECT * FROM t")
      assert.isTrue(select.reader)
      for (const row of [select.get(), select.all()[0], [...select.iterate()][0]]) {
        assert.strictEqual(Object.getPrototypeOf(row), Object.prototype)
        const { bytes, ...others } = row as { readonly bytes: unknown }
        assert.deepStrictEqual(others, { n: 7, text: "ü" })
        assert.isTrue(Buffer.isBuffer(bytes))
        assert.deepStrictEqual([...(bytes as Buffer)], [1, 2])
      }
      assert.isUndefined(database.prepare("SELECT * FROM t WHERE n = 8").get())
    })
  )

  it.scoped("reads rows as arrays, with both of two columns of one name", () =>
    Effect.gen(function* () {
      const { database } = yield* opened
      const statement = database.prepare("SELECT 1 AS a, 2 AS a")
      assert.deepStrictEqual(statement.raw(true).all(), [[1, 2]])
      assert.deepStrictEqual(statement.raw(false).all(), [{ a: 2 }])
    })
  )

  it.scoped("reads a number above 2^53 as the nearest one, or exactly as a bigint", () =>
    Effect.gen(function* () {
      const { database } = yield* opened
      const insert = database.prepare("INSERT INTO t (n) VALUES (?) RETURNING n")
      assert.deepStrictEqual(insert.all(9_007_199_254_740_993n), [{ n: 9_007_199_254_740_992 }])
      const select = database.prepare("SELECT n FROM t")
      assert.deepStrictEqual(select.all(), [{ n: 9_007_199_254_740_992 }])
      assert.deepStrictEqual([...select.iterate()], [{ n: 9_007_199_254_740_992 }])
      assert.deepStrictEqual(select.safeIntegers(true).all(), [{ n: 9_007_199_254_740_993n }])
      assert.deepStrictEqual(select.safeIntegers(false).get(), { n: 9_007_199_254_740_992 })
    })
  )

  it.scoped("binds undefined as NULL, named parameters, and no others that are left over or missing", () =>
    Effect.gen(function* () {
      const { database } = yield* opened
      assert.deepStrictEqual(database.prepare("SELECT ? AS a, ? AS b").get(undefined, null), { a: null, b: null })
      const named = database.prepare("SELECT $a AS a, $b AS b")
      assert.deepStrictEqual(named.get({ a: 1, b: undefined, unused: 2 }), { a: 1, b: null })
      assert.throws(() => database.prepare("SELECT ? AS a").get(1, 2))
      assert.throws(() => database.prepare("SELECT ? AS a").get(new Date(0)), TypeError)
      assert.throws(() => database.prepare("SELECT ? AS a, ? AS b").get(1, new Date(0)), TypeError)
    })
  )

  it.scoped("stores any text as it is, or refuses it", () =>
    Effect.gen(function* () {
      const { database } = yield* opened
      const echo = database.prepare("SELECT ? AS text")
      for (const text of ["", "a'b\"c", "\ud83d\ude42", "\u0001\n", "x".repeat(100_000)]) {
        assert.deepStrictEqual(echo.get(text), { text })
      }
      // Bytes that are no character: checksums depend on it.
      assert.deepStrictEqual(echo.get("\ud83d."), { text: "\ufffd\ufffd\ufffd." })
      let read: unknown
      try {
        read = echo.get("a\0b")
      } catch (error) {
        assert.include(String(error), "NUL character")
        return
      }
      assert.deepStrictEqual(read, { text: "a\0b" })
    })
  )

  it.scoped("refuses a text without a statement, or with several", () =>
    Effect.gen(function* () {
      const { database } = yield* opened
      assert.throws(() => database.prepare("INSERT INTO t (n) VALUES (1); INSERT INTO t (n) VALUES (2)"), RangeError)
      assert.throws(() => database.prepare(" -- nothing"))
      assert.deepStrictEqual(database.prepare("SELECT 1 AS n; -- the end").all(), [{ n: 1 }])
      assert.deepStrictEqual(database.prepare("SELECT ';x' AS n;").all(), [{ n: ";x" }])
    })
  )

  it.scoped("gives errors SQLite's name of their code", () =>
    Effect.gen(function* () {
      const { connect, database } = yield* opened
      database.exec(
        `PRAGMA foreign_keys = ON; INSERT INTO t VALUES (1, 'a', NULL);
         CREATE TABLE child (t INTEGER NOT NULL REFERENCES t, CHECK (t > 0))`
      )
      const run = (sql: string) => codeOf(() => database.prepare(sql).run())
      assert.strictEqual(run("INSERT INTO t VALUES (1, 'b', NULL)"), "SQLITE_CONSTRAINT_PRIMARYKEY")
      assert.strictEqual(run("INSERT INTO t VALUES (2, 'a', NULL)"), "SQLITE_CONSTRAINT_UNIQUE")
      assert.strictEqual(run("INSERT INTO child VALUES (NULL)"), "SQLITE_CONSTRAINT_NOTNULL")
      assert.strictEqual(run("INSERT INTO child VALUES (-1)"), "SQLITE_CONSTRAINT_CHECK")
      assert.strictEqual(run("INSERT INTO child VALUES (9)"), "SQLITE_CONSTRAINT_FOREIGNKEY")
      assert.strictEqual(run("SELEC 1"), "SQLITE_ERROR")
      const other = yield* connect
      other.exec("BEGIN IMMEDIATE")
      // At once, without SQLite's own waiting.
      assert.strictEqual(
        codeOf(() => database.exec("BEGIN IMMEDIATE")),
        "SQLITE_BUSY"
      )
      assert.strictEqual(
        codeOf(() => driver.open({ filename: "/nowhere/at/all.db", readonly: true })) ?? "SQLITE_CANTOPEN",
        "SQLITE_CANTOPEN"
      )
    })
  )

  it.scoped("knows whether it is in a transaction, also when SQLite ended it, and when it is closed", () =>
    Effect.gen(function* () {
      const { database } = yield* opened
      assert.isFalse(database.inTransaction)
      database.exec("BEGIN; INSERT INTO t (n) VALUES (1)")
      assert.isTrue(database.inTransaction)
      codeOf(() => database.exec("INSERT OR ROLLBACK INTO t (n) VALUES (1)"))
      assert.isFalse(database.inTransaction)
      database.exec("BEGIN")
      database.close()
      assert.isFalse(database.inTransaction)
    })
  )

  it.scoped("an iteration that is left early holds nothing", () =>
    Effect.gen(function* () {
      const { connect, database } = yield* opened
      database.exec("INSERT INTO t (n) VALUES (1), (2), (3)")
      for (const _ of database.prepare("SELECT * FROM t").iterate()) break
      database.exec("PRAGMA wal_checkpoint(TRUNCATE); DROP TABLE t")
      const other = yield* connect
      assert.throws(() => other.prepare("SELECT * FROM t"))
    })
  )

  it.scoped("a read-only connection writes nothing, and creates no file", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("none.db")
      assert.throws(() => driver.open({ filename, readonly: true }))
      const database = driver.open({ filename, readonly: false })
      database.exec("CREATE TABLE t (n)")
      database.close()
      const readonly = driver.open({ filename, readonly: true })
      assert.strictEqual(
        codeOf(() => readonly.exec("INSERT INTO t VALUES (1)")),
        "SQLITE_READONLY"
      )
      readonly.close()
    })
  )

  it.scoped("loads no extension by SQL", () =>
    Effect.gen(function* () {
      const { database } = yield* opened
      assert.throws(() => database.prepare("SELECT load_extension('/no/such/extension')").get())
      assert.throws(() => database.loadExtension("/no/such/extension"))
      assert.throws(() => database.prepare("SELECT load_extension('/no/such/extension')").get(), /not authorized/)
    })
  )
})

describe("the choice of a driver", () => {
  it.scopedLive("takes the first that loads, and says which", () =>
    Effect.gen(function* () {
      const context = yield* Layer.build(SqliteClient.layer({ filename: ":memory:" }))
      assert.strictEqual(Context.get(context, SqliteClient.SqliteClient).driver, drivers[0]?.name)
    })
  )

  it.scopedLive("fails if the one that is asked for does not load, and names the choices", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Layer.build(SqliteClient.layer({ filename: ":memory:", driver: "bun:sqlite" })))
      assert.strictEqual(error.reason, "ClientMissing")
      for (const text of ["bun:sqlite: ", "Node 22.16 or later", "npm install better-sqlite3@12"]) {
        assert.include(error.message, text)
      }
    })
  )
})

describe("SQLite's result codes", () => {
  it("have their names, the unknown ones that of their kind", () => {
    const names = [5, 13, 14, 261, 262, 787, 1299, 1555, 2067, 2579, 266, 8714, 26, 5 | (99 << 8), 250]
    assert.deepStrictEqual(names.map(codeName), [
      "SQLITE_BUSY",
      "SQLITE_FULL",
      "SQLITE_CANTOPEN",
      "SQLITE_BUSY_RECOVERY",
      "SQLITE_LOCKED_SHAREDCACHE",
      "SQLITE_CONSTRAINT_FOREIGNKEY",
      "SQLITE_CONSTRAINT_NOTNULL",
      "SQLITE_CONSTRAINT_PRIMARYKEY",
      "SQLITE_CONSTRAINT_UNIQUE",
      "SQLITE_CONSTRAINT_ROWID",
      "SQLITE_IOERR_READ",
      "SQLITE_IOERR_IN_PAGE",
      "SQLITE_NOTADB",
      "SQLITE_BUSY",
      "SQLITE_ERROR"
    ])
  })
})

describe("a text with several statements", () => {
  const part = FastCheck.constantFrom(
    "SELECT 1",
    "SELECT ';'",
    'SELECT ";"',
    "SELECT [;]",
    "SELECT `;`",
    "SELECT 'it''s; --'"
  )
  const blank = FastCheck.constantFrom("", " ", "\n", ";", "-- ; x\n", "/* ; SELECT 2 */")

  it("is refused, and one with one is not, whatever quotes and comments hold", () => {
    FastCheck.assert(
      FastCheck.property(
        FastCheck.array(part, { minLength: 1, maxLength: 3 }),
        FastCheck.array(blank),
        (parts, blanks) => {
          const text = parts.join(";") + blanks.map((one) => `;${one}`).join("")
          if (parts.length === 1) refuseSeveral(text)
          else assert.throws(() => refuseSeveral(text), RangeError)
        }
      ),
      { seed: 20261129 }
    )
    refuseSeveral("CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t; INSERT INTO t VALUES (1); END;")
  })
})
