import * as childProcess from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Step, Storage, Workflow } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { databaseFile } from "../../src/cli/ask.js"
import { temporaryFile, temporaryFolder } from "../support/files.js"
import { eventually, turns } from "../support/time.js"

const greet = Step.make("greet", { success: Schema.String, run: Effect.succeed("hello") })
const Morning = Workflow.make("morning", { success: Schema.String }, () => greet)
const execute = (id: string) => Workflow.execute(Morning, { id })

/** The mode of each database file, such as `600`. */
const modes = (filename: string) =>
  ["", "-wal", "-shm"].map((suffix) => (fs.statSync(`${filename}${suffix}`).mode & 0o777).toString(8))

const withUmask = <A, E, R>(mask: number, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(
    Effect.sync(() => process.umask(mask)),
    () => self,
    (before) => Effect.sync(() => process.umask(before))
  )

const reasonOf = (error: unknown) => (error instanceof Storage.StorageError ? error.reason : error)

describe("a new database", () => {
  for (const mask of [0o000, 0o022, 0o277]) {
    it.scopedLive(`can be read by its owner alone, with its log, under the umask ${mask.toString(8)}`, () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile("runs.db")
        const storage = yield* withUmask(mask, Layer.build(SqliteStorage.layer({ filename })))
        yield* withUmask(mask, Effect.provide(execute("1"), storage))
        assert.deepStrictEqual(modes(filename), ["600", "600", "600"])
      })
    )
  }

  it.scopedLive("keeps the mode of a file that exists", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      fs.writeFileSync(filename, "")
      fs.chmodSync(filename, 0o640)
      const storage = yield* Layer.build(SqliteStorage.layer({ filename }))
      yield* Effect.provide(execute("1"), storage)
      assert.deepStrictEqual(modes(filename), ["640", "640", "640"])
    })
  )

  it.scopedLive("is private behind a link too", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const [link, filename] = [path.join(folder, "link.db"), path.join(folder, "runs.db")]
      fs.symlinkSync("runs.db", link)
      yield* Effect.provide(execute("1"), SqliteStorage.layer({ filename: link }))
      assert.strictEqual(fs.statSync(filename).mode & 0o777, 0o600)
    })
  )
})

describe("a filename", () => {
  for (const filename of ["", " ", "\t\n", "runs\0.db"]) {
    it.effect(`${JSON.stringify(filename)} is refused by name`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(Effect.provide(execute("1"), SqliteStorage.layer({ filename })))
        assert.strictEqual(reasonOf(error), "Filename")
        assert.match(String(error), /filename .*(empty|NUL)/)
        const configured = SqliteStorage.layerConfig({ filename: Config.string("RECOVERY_DATABASE") }).pipe(
          Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(new Map([["RECOVERY_DATABASE", filename]]))))
        )
        assert.match(String(yield* Effect.flip(Effect.provide(execute("1"), configured))), /RECOVERY_DATABASE/)
        const whole = SqliteStorage.layerConfig(Config.succeed({ filename }))
        assert.strictEqual(reasonOf(yield* Effect.flip(Effect.provide(execute("1"), whole))), "Filename")
      })
    )
  }

  it.effect("and each duration of the configuration is refused by the name of its setting", () =>
    Effect.gen(function* () {
      const settings = new Map([
        ["RECOVERY_DATABASE", ":memory:"],
        ["RECOVERY_LEASE", "0 seconds"]
      ])
      const layer = (options: Config.Config.Wrap<SqliteStorage.Options>) =>
        SqliteStorage.layerConfig(options).pipe(
          Layer.provide(Layer.setConfigProvider(ConfigProvider.fromMap(settings)))
        )
      const refused = (options: Config.Config.Wrap<SqliteStorage.Options>) =>
        Effect.flip(Effect.provide(execute("1"), layer(options)))
      const filename = Config.string("RECOVERY_DATABASE")
      const configured = yield* refused({ filename, lease: Config.duration("RECOVERY_LEASE") })
      assert.isTrue(ConfigError.isConfigError(configured))
      assert.match(String(configured), /RECOVERY_LEASE.*"lease" is/s)
      for (const lease of [Number.NaN, -1, "7 parsecs" as never, Number.POSITIVE_INFINITY]) {
        assert.isTrue(ConfigError.isConfigError(yield* refused({ filename, lease: Config.succeed(lease) })))
        assert.isTrue(ConfigError.isConfigError(yield* refused({ filename, busyTimeout: Config.succeed(lease) })))
        const whole = Config.succeed({ filename: ":memory:", lease })
        assert.match(String(yield* refused(whole)), /"lease" is/)
      }
      settings.set("RECOVERY_LEASE", "10 seconds")
      const { leaseMillis } = yield* Effect.provide(
        Storage.Storage,
        layer({ filename, lease: Config.duration("RECOVERY_LEASE") })
      )
      assert.strictEqual(leaseMillis, 10_000)
    })
  )

  it.effect("of the command line is refused by the name of its option or variable", () =>
    Effect.gen(function* () {
      const messageOf = (given: string | undefined) => Effect.map(Effect.flip(databaseFile(given)), String)
      assert.match(yield* messageOf(""), /--database is empty/)
      assert.match(yield* messageOf(" "), /--database is empty/)
      assert.match(yield* messageOf(":memory:"), /--database is ":memory:"/)
      const before = process.env["RECOVERY_DATABASE"]
      process.env["RECOVERY_DATABASE"] = " "
      const message = yield* Effect.ensuring(
        messageOf(undefined),
        Effect.sync(() => {
          if (before === undefined) delete process.env["RECOVERY_DATABASE"]
          else process.env["RECOVERY_DATABASE"] = before
        })
      )
      assert.match(message, /RECOVERY_DATABASE is empty/)
    })
  )

  it.scopedLive(":memory: is a database of its layer alone, and leaves no file", () =>
    Effect.gen(function* () {
      const layer = SqliteStorage.layer({ filename: ":memory:" })
      const first = yield* Layer.build(layer)
      yield* Effect.provide(execute("1"), first)
      assert.strictEqual((yield* Effect.provide(Workflow.list(), first)).length, 1)
      assert.deepStrictEqual(yield* Effect.provide(Workflow.list(), layer), [])
      assert.isFalse(fs.existsSync(":memory:"))
    })
  )
})

/** What happens to the file while it is open. */
const accidents: ReadonlyArray<readonly [name: string, happens: (filename: string) => void]> = [
  [
    "removed",
    (filename) => {
      for (const suffix of ["", "-wal", "-shm"]) fs.rmSync(`${filename}${suffix}`)
    }
  ],
  ["moved", (filename) => fs.renameSync(filename, `${filename}.old`)],
  [
    "replaced by a copy",
    (filename) => {
      fs.copyFileSync(filename, `${filename}.copy`)
      fs.renameSync(`${filename}.copy`, filename)
    }
  ]
]

describe("a database that loses its name while it is open", () => {
  for (const [name, happens] of accidents) {
    it.scopedLive(`${name}: what is written then is a typed error, and is not done`, () =>
      Effect.gen(function* () {
        const filename = yield* temporaryFile("runs.db")
        const client = yield* Layer.build(SqliteClient.layer({ filename }))
        const storage = yield* Layer.build(Layer.provide(SqliteStorage.layerClient(), Layer.succeedContext(client)))
        yield* Effect.provide(execute("before"), storage)
        const { sql } = Context.get(client, SqliteClient.SqliteClient)
        yield* sql`CREATE TABLE mine (n INTEGER)`
        // A run is in the middle of a step when it happens.
        const [began, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const slow = Step.make("slow", {
          run: Effect.zipRight(Deferred.succeed(began, undefined), Deferred.await(goOn))
        })
        const Slow = Workflow.make("slow", {}, () => slow)
        const fiber = yield* Effect.fork(Effect.flip(Effect.provide(Workflow.execute(Slow, { id: "slow" }), storage)))
        yield* Deferred.await(began)
        happens(filename)
        // The file is checked once in a turn of the event loop.
        yield* turns(1)
        yield* Deferred.succeed(goOn, undefined)
        const error = yield* Fiber.join(fiber)
        assert.strictEqual(reasonOf(error), "Replaced")
        assert.include(String(error), "Restart the process")
        assert.strictEqual(reasonOf(yield* Effect.flip(Effect.provide(execute("after"), storage))), "Replaced")
        // The program's own statements, alone and in a transaction.
        assert.match(String((yield* Effect.flip(sql`INSERT INTO mine VALUES (1)`)).cause), /runs\.db/)
        assert.match(
          String((yield* Effect.flip(sql.withTransaction(sql`INSERT INTO mine VALUES (2)`))).cause),
          /runs\.db/
        )
        const own = Step.transactional("own", { run: Effect.asVoid(Effect.orDie(sql`SELECT 1`)) })
        const Own = Workflow.make("own", {}, () => own)
        assert.strictEqual(
          reasonOf(yield* Effect.flip(Effect.provide(Workflow.execute(Own, { id: "own" }), storage))),
          "Replaced"
        )
      })
    )
  }

  it.scopedLive("fails reads too, and works again when the file is back", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const storage = yield* Layer.build(SqliteStorage.layer({ filename }))
      yield* Effect.provide(execute("1"), storage)
      fs.renameSync(filename, `${filename}.old`)
      const read = Effect.provide(Workflow.status("1"), storage)
      // Reads are checked once a second.
      const failed = yield* eventually(Effect.either(read), Either.isLeft)
      const error = Either.isLeft(failed) ? failed.left : undefined
      assert.strictEqual(reasonOf(error), "Replaced")
      fs.renameSync(`${filename}.old`, filename)
      assert.strictEqual((yield* read).status, "completed")
      assert.strictEqual(yield* Effect.provide(execute("2"), storage), "hello")
    })
  )

  it.scopedLive("fails reads once its log was removed", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const storage = yield* Layer.build(SqliteStorage.layer({ filename }))
      yield* Effect.provide(execute("1"), storage)
      const read = Effect.provide(Workflow.status("1"), storage)
      yield* read
      fs.rmSync(`${filename}-wal`)
      const failed = yield* eventually(Effect.either(read), Either.isLeft)
      const error = Either.isLeft(failed) ? failed.left : undefined
      assert.strictEqual(reasonOf(error), "Replaced")
    })
  )

  it.scopedLive("is no reason to drop the locks of another connection of this process", () =>
    Effect.gen(function* () {
      const filename = yield* temporaryFile("runs.db")
      const client = yield* Layer.build(SqliteClient.layer({ filename }))
      const { sql } = Context.get(client, SqliteClient.SqliteClient)
      yield* sql`CREATE TABLE mine (n INTEGER)`
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`INSERT INTO mine VALUES (1)`
          // Opening the file again must not close a descriptor of it.
          yield* Effect.scoped(Layer.build(SqliteClient.layer({ filename, busyTimeout: "50 millis" })))
          const other = childProcess.spawnSync(process.execPath, [
            "-e",
            `const d = new (require("better-sqlite3"))(${JSON.stringify(filename)}, { timeout: 0 })
             try { d.exec("INSERT INTO mine VALUES (2)"); console.log("wrote") } catch (e) { console.log(e.code) }`
          ])
          assert.strictEqual(other.stdout.toString().trim(), "SQLITE_BUSY", other.stderr.toString())
        })
      )
    })
  )
})
