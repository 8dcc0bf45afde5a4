import * as fs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Step, type Storage, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { drivers } from "../support/drivers.js"
import { temporaryFile } from "../support/files.js"

const ok = Workflow.make("ok", { success: Schema.String }, () =>
  Step.make("step", { success: Schema.String, run: Effect.succeed("done") })
)

const execute = (id: string) => Workflow.execute(ok, { id, input: undefined })

/** One turn of the event loop. */
const turn = Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))

const reasonOf = (error: unknown): Storage.Reason | undefined =>
  typeof error === "object" && error !== null && "reason" in error ? (error.reason as Storage.Reason) : undefined

describe.each(drivers)("a database file that fails, on $name", (driver) => {
  const connect = (filename: string) => driver.open({ filename, readonly: false })

  const storageLayer = (options: SqliteStorage.Options) => SqliteStorage.layer({ ...options, driver: driver.name })

  const clientLayer = (options: SqliteClient.Options) => SqliteClient.layer({ ...options, driver: driver.name })

  const failure = (options: SqliteStorage.Options, id = "run") =>
    Effect.flip(Effect.provide(execute(id), storageLayer(options)))

  it.scopedLive("locked for too long: fails with Busy and never blocks the event loop", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      yield* Effect.provide(execute("before"), storageLayer({ filename }))
      const other = connect(filename)
      other.exec("BEGIN IMMEDIATE")
      let turns = 0
      const ticking = setInterval(() => turns++, 5)
      const error = yield* failure({ filename, busyTimeout: "300 millis" })
      clearInterval(ticking)
      assert.strictEqual(reasonOf(error), "Busy")
      assert.isAbove(turns, 10)
      other.exec("ROLLBACK")
      other.close()
      assert.strictEqual(yield* Effect.provide(execute("run"), storageLayer({ filename })), "done")
    })
  )

  it.scopedLive("locked for a while: waits until it is free", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const storage = yield* Layer.build(storageLayer({ filename }))
      const other = connect(filename)
      other.exec("BEGIN IMMEDIATE")
      const fiber = yield* Effect.fork(Effect.provide(execute("run"), storage))
      for (let i = 0; i < 50; i++) yield* turn
      assert.isNull(fiber.unsafePoll())
      other.exec("COMMIT")
      other.close()
      assert.strictEqual(yield* Fiber.join(fiber), "done")
    })
  )

  it.scopedLive("waiting for a locked file can be interrupted", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const storage = yield* Layer.build(storageLayer({ filename, busyTimeout: "1 hour" }))
      const other = connect(filename)
      other.exec("BEGIN IMMEDIATE")
      // Without interruption it would wait for an hour.
      const result = yield* Effect.timeoutOption(Effect.provide(execute("run"), storage), "50 millis")
      assert.strictEqual(result._tag, "None")
      other.exec("ROLLBACK")
      other.close()
      assert.strictEqual(yield* Effect.provide(execute("run"), storage), "done")
    })
  )

  it.scopedLive("read-only: a typed error, and recorded runs stay", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const client = yield* Layer.build(clientLayer({ filename }))
      const storage = yield* Layer.build(Layer.provide(SqliteStorage.layerClient(), Layer.succeedContext(client)))
      yield* Effect.provide(execute("before"), storage)
      Context.get(client, SqliteClient.SqliteClient).database.exec("PRAGMA query_only = ON")
      const error = yield* Effect.flip(Effect.provide(execute("run"), storage))
      assert.strictEqual(reasonOf(error), "ReadOnly")
      assert.include(String(error), "writable")
      assert.strictEqual((yield* Effect.provide(Workflow.status("before"), storage)).status, "completed")
    })
  )

  it.scopedLive("full while a transactional step is recorded: a typed error, and neither rows nor result", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const client = yield* Layer.build(clientLayer({ filename }))
      const storage = yield* Layer.build(Layer.provide(SqliteStorage.layerClient(), Layer.succeedContext(client)))
      const { database, sql } = Context.get(client, SqliteClient.SqliteClient)
      yield* sql`CREATE TABLE rows (n INTEGER)`
      const fill = Step.transactional("fill", {
        success: Schema.String,
        run: Effect.as(Effect.orDie(sql`INSERT INTO rows VALUES (1)`), "x".repeat(1_000_000))
      })
      const workflow = Workflow.make("fill", { success: Schema.String }, () => fill)
      const run = Effect.provide(Workflow.execute(workflow, { id: "run", input: undefined }), storage)
      database.exec("PRAGMA max_page_count = 60")
      const exit = yield* Effect.exit(run)
      assert.isTrue(Exit.isFailure(exit))
      const error = Exit.isFailure(exit) ? Cause.failureOption(exit.cause) : Option.none()
      assert.strictEqual(reasonOf(Option.getOrUndefined(error)), "Full", String(exit))
      assert.deepStrictEqual(yield* sql`SELECT n FROM rows`, [])
      database.exec("PRAGMA max_page_count = 100000")
      assert.strictEqual((yield* run).length, 1_000_000)
      assert.deepStrictEqual(yield* sql`SELECT n FROM rows`, [{ n: 1 }])
    })
  )

  it.scopedLive("full: a typed error, recorded runs stay, and it works again with space", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const client = yield* Layer.build(clientLayer({ filename }))
      const storage = yield* Layer.build(Layer.provide(SqliteStorage.layerClient(), Layer.succeedContext(client)))
      const { database } = Context.get(client, SqliteClient.SqliteClient)
      let size = 10
      const calls: Array<string> = []
      const fill = Step.make("fill", {
        success: Schema.String,
        run: (n: number) =>
          Effect.sync(() => {
            calls.push(`fill ${n}`)
            return "x".repeat(n === 1 ? 10 : size)
          })
      })
      const workflow = Workflow.make("fill", { success: Schema.Number }, () =>
        Effect.zipWith(fill(1), fill(2), (a, b) => a.length + b.length)
      )
      database.exec("PRAGMA max_page_count = 40")
      size = 1_000_000
      const run = Effect.provide(Workflow.execute(workflow, { id: "run", input: undefined }), storage)
      const error = yield* Effect.flip(run)
      assert.strictEqual(reasonOf(error), "Full")
      database.exec("PRAGMA max_page_count = 100000")
      assert.strictEqual(yield* run, 1_000_010)
      assert.deepStrictEqual(calls, ["fill 1", "fill 2", "fill 2"])
    })
  )

  it.scopedLive("corrupt: a typed error, and the file is unchanged", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const rubbish = Buffer.from("this is no database at all ".repeat(100))
      fs.writeFileSync(filename, rubbish)
      const error = yield* failure({ filename })
      assert.strictEqual(reasonOf(error), "Corrupt")
      assert.include(String(error), "backup")
      assert.deepStrictEqual(fs.readFileSync(filename), rubbish)
    })
  )

  it.scopedLive("of a newer version that admits this one: the file is used", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      yield* Effect.provide(execute("run"), storageLayer({ filename }))
      const other = connect(filename)
      other.exec("INSERT INTO effect_recovery_migrations (migration_id, name) VALUES (999, 'more_columns_reader_10')")
      other.close()
      yield* Effect.provide(execute("other"), storageLayer({ filename }))
    })
  )

  it.scopedLive("of a newer version: a typed error, and the file is unchanged", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      yield* Effect.provide(execute("run"), storageLayer({ filename }))
      const other = connect(filename)
      other.exec("INSERT INTO effect_recovery_migrations (migration_id, name) VALUES (999, 'from the future')")
      other.close()
      const before = fs.readFileSync(filename)
      const error = yield* failure({ filename }, "other")
      assert.strictEqual(reasonOf(error), "Version")
      assert.include(String(error), "999")
      assert.deepStrictEqual(fs.readFileSync(filename), before)
    })
  )

  it.scopedLive("with a foreign table of the same name: a typed error", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const other = connect(filename)
      other.exec("CREATE TABLE recovery_runs (something TEXT)")
      other.close()
      assert.strictEqual(reasonOf(yield* failure({ filename })), "Rejected")
    })
  )

  it.scopedLive("with a missing table: a typed error", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      yield* Effect.provide(execute("run"), storageLayer({ filename }))
      const other = connect(filename)
      other.exec("DROP TABLE recovery_journal")
      other.close()
      assert.strictEqual(reasonOf(yield* failure({ filename })), "Rejected")
    })
  )

  it.scopedLive("with a damaged row that has no checksum: a typed error that names the record", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      let broken = true
      const workflow = Workflow.make("w", { success: Schema.Number }, () =>
        Step.make("measure", { success: Schema.Number, run: Effect.succeed(7) }).pipe(
          Effect.tap(() => (broken ? Effect.die("bug") : Effect.void))
        )
      )
      const run = Effect.provide(
        Workflow.execute(workflow, { id: "run", input: undefined }),
        storageLayer({ filename })
      )
      yield* Effect.exit(run)
      broken = false
      const other = connect(filename)
      other.exec("UPDATE recovery_journal SET payload = '{half', checksum = NULL WHERE kind = 'StepCompleted'")
      const error = yield* Effect.flip(run)
      assert.strictEqual(error._tag, "JournalError")
      assert.include(error.message, `success of step "measure"`)
      other.exec("UPDATE recovery_journal SET payload = '7' WHERE kind = 'StepCompleted'")
      other.close()
      assert.strictEqual(yield* run, 7)
    })
  )

  it.scopedLive("used after its layer closed: fails with Closed", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const context = yield* Effect.scoped(Layer.build(storageLayer({ filename })))
      const error = yield* Effect.flip(Effect.provide(execute("run"), context))
      assert.strictEqual(reasonOf(error), "Closed")
    })
  )

  it.scopedLive("a run in a user's transaction is refused at once, where it would wait for itself", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const client = yield* Layer.build(clientLayer({ filename }))
      const storage = yield* Layer.build(Layer.provide(SqliteStorage.layerClient(), Layer.succeedContext(client)))
      const { sql } = Context.get(client, SqliteClient.SqliteClient)
      const error = yield* Effect.flip(sql.withTransaction(Effect.provide(execute("run"), storage)))
      assert.strictEqual(reasonOf(error), "Client")
      assert.include(String(error), "inside of a transaction")
      assert.strictEqual(yield* Effect.provide(execute("run"), storage), "done")
    })
  )
})
