import * as fs from "node:fs"
import * as path from "node:path"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import type { SqliteClient as Stock } from "@effect/sql-sqlite-node"
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as String from "effect/String"
import { Step, type Storage, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { drivers } from "../support/drivers.js"
import { temporaryFile, temporaryFolder } from "../support/files.js"

/** An optional package, which cannot be installed everywhere. */
const stock = await import("@effect/sql-sqlite-node").then(
  (module) => module.SqliteClient,
  () => undefined
)

const transforms = { transformQueryNames: String.camelToSnake, transformResultNames: String.snakeToCamel }

interface Person {
  readonly id: number
  readonly fullName: string
}

/** A program that was written for the stock client. */
const makeProgram = ({ SqliteClient: Tag }: typeof Stock, folder: string) =>
  Effect.gen(function* () {
    const sql = yield* Tag
    yield* sql`CREATE TABLE people (id INTEGER PRIMARY KEY, full_name TEXT, photo BLOB)`
    yield* sql`INSERT INTO people ${sql.insert([{ id: 1, fullName: "Ada" }])}`
    const failed = yield* Effect.exit(
      sql.withTransaction(
        Effect.zipRight(sql`UPDATE people SET ${sql.update({ fullName: "Eve" })}`, Effect.fail("no" as const))
      )
    )
    const people = yield* sql<Person>`SELECT id, full_name FROM people`
    const values = yield* sql`SELECT id, full_name FROM people`.values
    const raw = yield* sql`INSERT INTO people (id, photo) VALUES (2, ${new Uint8Array([1, 2])})`.raw
    const [photo] = yield* sql<{ readonly photo: Uint8Array }>`SELECT photo FROM people WHERE id = 2`
    const duplicate = yield* Effect.orDie(Effect.flip(sql`INSERT INTO people (id) VALUES (1)`))
    const plain = yield* sql.withoutTransforms()`SELECT full_name FROM people WHERE id = 1`
    const file = path.join(folder, "copy.db")
    const metadata = yield* sql.backup(file)
    const bytes = yield* sql.export
    const unloaded = yield* Effect.exit(sql.loadExtension(path.join(folder, "none")))
    return {
      failed: Exit.isFailure(failed),
      people,
      values,
      raw,
      photo: photo?.photo,
      duplicate: duplicate.cause instanceof Error && "code" in duplicate.cause && duplicate.cause.code,
      plain,
      remaining: metadata.remainingPages,
      copied: metadata.totalPages > 1,
      header: Buffer.from(bytes.subarray(0, 15)).toString(),
      unloaded: Exit.isFailure(unloaded),
      config: [path.basename(sql.config.filename), sql.config.readonly],
      isUnsupported: typeof sql.updateValues
    }
  })

/** Only the layer is swapped: nothing is left to provide, and the errors are ours beside the program's. */
const swapped = (
  Tag: typeof Stock,
  folder: string
): Effect.Effect<Effect.Effect.Success<ReturnType<typeof makeProgram>>, SqlError | Storage.StorageError> =>
  makeProgram(Tag, folder).pipe(
    Effect.provide(SqliteClient.layer({ filename: path.join(folder, "test.db"), ...transforms }))
  )

describe("a program for @effect/sql-sqlite-node", () => {
  const hasBoth = stock !== undefined && drivers.some(({ name }) => name === "better-sqlite3")

  it.scopedLive.skipIf(!hasBoth)("runs unchanged on the client of this library", () =>
    Effect.gen(function* () {
      if (stock === undefined) return
      const folders = [yield* temporaryFolder, yield* temporaryFolder] as const
      const before = yield* makeProgram(stock, folders[0]).pipe(
        Effect.provide(stock.layer({ filename: path.join(folders[0], "test.db"), ...transforms }))
      )
      const after = yield* swapped(stock, folders[1])
      assert.deepStrictEqual(after, before)
      assert.deepStrictEqual(after.people, [{ id: 1, fullName: "Ada" }])
    })
  )
})

describe.each(drivers)("the client on $name, as of @effect/sql-sqlite-node", ({ name: driver, open }) => {
  const testIn = (
    title: string,
    body: (
      sql: SqliteClient.StockClient,
      folder: string,
      context: Context.Context<SqliteClient.SqliteClient | SqlClient.SqlClient | SqliteClient.StockClient>
    ) => Effect.Effect<void, unknown, Scope.Scope>,
    options: Partial<SqliteClient.Options> = {}
  ) =>
    it.scopedLive(title, () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const filename = path.join(folder, "test.db")
        const layer = SqliteClient.layer({ filename, driver, durability: "process-crash", ...options })
        const context = yield* Layer.build(layer)
        const sql = Context.get(context, SqliteClient.StockClient)
        yield* sql`CREATE TABLE numbers (number_value INTEGER, filling BLOB)`
        yield* body(sql, folder, context)
      })
    )

  const countIn = (file: string): unknown => {
    const database = open({ filename: file, readonly: true })
    const row = database.prepare("SELECT COUNT(*) AS count FROM numbers").get() as { readonly count: number }
    assert.deepStrictEqual(database.prepare("PRAGMA integrity_check").all(), [{ integrity_check: "ok" }])
    database.close()
    return row.count
  }

  const fill = (sql: SqlClient.SqlClient, rows: number) =>
    sql`INSERT INTO numbers SELECT value, randomblob(4000) FROM json_each(${JSON.stringify(Array(rows).fill(0))})`

  testIn("is one client under three tags", (sql, _, context) =>
    Effect.sync(() => {
      assert.strictEqual(Context.get(context, SqlClient.SqlClient), sql)
      assert.strictEqual(Context.get(context, SqliteClient.SqliteClient).sql, sql)
    })
  )

  testIn("backs up what is committed while a transaction is open, without waiting for it", (sql, folder) =>
    Effect.gen(function* () {
      yield* fill(sql, 10)
      const file = path.join(folder, "copy.db")
      const count = yield* sql.withTransaction(
        Effect.zipRight(
          fill(sql, 5),
          Effect.map(sql.backup(file), () => countIn(file))
        )
      )
      assert.strictEqual(count, 10)
      assert.strictEqual(fs.statSync(file).mode & 0o777, 0o600)
      const bytes = path.join(folder, "bytes.db")
      fs.writeFileSync(bytes, yield* sql.export)
      assert.strictEqual(countIn(bytes), 15)
    })
  )

  testIn("writers and the event loop continue during a backup, which is of one moment", (sql, folder) =>
    Effect.gen(function* () {
      yield* fill(sql, 3_000)
      const file = path.join(folder, "copy.db")
      let written = 0
      const insert = Effect.zipRight(
        sql`INSERT INTO numbers (number_value) VALUES (1)`,
        Effect.sync(() => written++)
      )
      const writer = yield* Effect.fork(Effect.forever(insert))
      const { totalPages } = yield* sql.backup(file)
      const during = written
      yield* Fiber.interrupt(writer)
      assert.isAbove(totalPages, 3_000)
      assert.isAbove(during, 3)
      assert.isAtLeast(countIn(file) as number, 3_000)
      assert.isBelow(countIn(file) as number, 3_000 + during)
    })
  )

  testIn("an interrupted backup stops, and leaves no file", (sql, folder) =>
    Effect.gen(function* () {
      yield* fill(sql, 3_000)
      const file = path.join(folder, "copy.db")
      const fiber = yield* Effect.fork(sql.backup(file))
      while (!fs.existsSync(file)) yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(
        fs.readdirSync(folder).filter((name) => name.startsWith("copy")),
        []
      )
      yield* sql.backup(file)
      assert.strictEqual(countIn(file), 3_000)
    })
  )

  testIn("a backup replaces an older one", (sql, folder) =>
    Effect.gen(function* () {
      const file = path.join(folder, "copy.db")
      yield* fill(sql, 3)
      yield* sql.backup(file)
      yield* fill(sql, 4)
      yield* sql.backup(file)
      assert.strictEqual(countIn(file), 7)
    })
  )

  testIn("refuses a backup onto itself, into memory, and into a folder that is missing", (sql, folder) =>
    Effect.gen(function* () {
      yield* fill(sql, 3)
      fs.symlinkSync(path.join(folder, "test.db"), path.join(folder, "link.db"))
      for (const name of ["test.db", "test.db ", "link.db", "missing/copy.db"]) {
        const error = yield* Effect.flip(sql.backup(path.join(folder, name)))
        assert.instanceOf(error, SqlError)
        assert.include(error.message, "Failed to back the database up")
      }
      for (const name of ["", " ", ":memory:", "a\0b"])
        assert.instanceOf(yield* Effect.flip(sql.backup(name)), SqlError)
      assert.strictEqual(countIn(path.join(folder, "test.db")), 3)
    })
  )

  testIn(
    "copies a database in memory, but not inside of its own transaction",
    (sql, folder) =>
      Effect.gen(function* () {
        yield* fill(sql, 3)
        const file = path.join(folder, "copy.db")
        assert.isAbove((yield* sql.backup(file)).totalPages, 3)
        assert.strictEqual(countIn(file), 3)
        const bytes = path.join(folder, "bytes.db")
        fs.writeFileSync(bytes, yield* sql.export)
        assert.strictEqual(countIn(bytes), 3)
        const other = path.join(folder, "other.db")
        assert.instanceOf(yield* Effect.flip(sql.withTransaction(sql.backup(other))), SqlError)
        assert.isFalse(fs.existsSync(other))
      }),
    { filename: ":memory:" }
  )

  testIn(
    "transforms names of queries and of results, each by itself or not at all",
    (sql) =>
      Effect.gen(function* () {
        yield* sql`INSERT INTO numbers ${sql.insert({ numberValue: 1 })}`
        assert.deepStrictEqual(yield* sql`SELECT ${sql("numberValue")} FROM numbers`, [{ number_value: 1 }])
        const plain = sql.withoutTransforms()
        yield* plain`INSERT INTO numbers ${plain.insert({ number_value: 2 })}`
        assert.instanceOf(yield* Effect.flip(plain`INSERT INTO numbers ${plain.insert({ numberValue: 2 })}`), SqlError)
        const back = plain.withTransaction(
          Effect.zipRight(
            sql`DELETE FROM numbers`,
            Effect.zipRight(
              sql.withTransaction(sql`INSERT INTO numbers ${sql.insert({ numberValue: 9 })}`),
              Effect.fail("no")
            )
          )
        )
        assert.strictEqual(yield* Effect.flip(back), "no")
        assert.deepStrictEqual(yield* plain`SELECT number_value FROM numbers ORDER BY 1`, [
          { number_value: 1 },
          { number_value: 2 }
        ])
      }),
    { transformQueryNames: String.camelToSnake }
  )

  it.scopedLive("transforms never reach the tables of the storage", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      // No table or column of the storage would be found.
      const hostile = { transformQueryNames: (name: string) => `my_${name}`, transformResultNames: () => "same" }
      const client = SqliteClient.layer({ filename, driver, ...hostile })
      const move = Step.transactional("move", {
        success: Schema.Unknown,
        run: Effect.gen(function* () {
          const sql = yield* SqlClient.SqlClient
          yield* sql`CREATE TABLE ${sql("rows")} (my_n INTEGER)`
          yield* sql`INSERT INTO ${sql("rows")} ${sql.insert({ n: 1 })}`
          return yield* sql`SELECT * FROM my_rows`
        }).pipe(Effect.orDie)
      })
      const workflow = Workflow.make("w", { success: Schema.Unknown }, () => move)
      const execute = Workflow.execute(workflow, { id: "run", input: undefined })
      const storage = SqliteStorage.layerClient().pipe(Layer.provideMerge(client))
      assert.deepStrictEqual(yield* Effect.provide(execute, storage), [{ same: 1 }])
      const status = yield* Effect.provide(Workflow.status("run"), SqliteStorage.layer({ filename, driver }))
      assert.strictEqual(status.status, "completed")
      // A second opening finds the tables as they are.
      assert.deepStrictEqual(yield* Effect.provide(execute, storage), [{ same: 1 }])
    })
  )

  it.scopedLive("reads its options from the configuration, and names the setting that is wrong", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("test.db")
      const layer = SqliteClient.layerConfig({
        filename: Config.string("DATABASE"),
        busyTimeout: Config.duration("PATIENCE").pipe(Config.withDefault("1 second"))
      })
      const configured = (settings: Record<string, string>) =>
        Layer.build(layer).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(settings)))))
      const context = yield* configured({ DATABASE: filename })
      assert.deepStrictEqual(yield* Context.get(context, SqlClient.SqlClient)`SELECT 1 AS n`, [{ n: 1 }])
      for (const settings of [{ DATABASE: " " }, { DATABASE: filename, PATIENCE: "infinity" }]) {
        const error = yield* Effect.flip(configured(settings))
        assert.include(`${error}`, "DATABASE" in settings && settings.DATABASE === " " ? "DATABASE" : "PATIENCE")
      }
    })
  )

  it.scopedLive("the layer may close while a backup runs", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = path.join(folder, "copy.db")
      const started = yield* Deferred.make<void>()
      const copying = Effect.gen(function* () {
        const sql = yield* SqliteClient.StockClient
        yield* sql`CREATE TABLE numbers (number_value INTEGER, filling BLOB)`
        yield* fill(sql, 2_000)
        const fiber = yield* Effect.forkDaemon(sql.backup(file))
        while (!fs.existsSync(file)) yield* Effect.yieldNow()
        yield* Deferred.succeed(started, undefined)
        return fiber
      })
      const fiber = yield* Effect.provide(
        copying,
        SqliteClient.layer({ filename: path.join(folder, "test.db"), driver })
      )
      yield* Fiber.join(fiber)
      assert.strictEqual(countIn(file), 2_000)
    })
  )
})
