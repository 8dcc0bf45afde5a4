/**
 * An `@effect/sql` client for SQLite. It begins transactions with `BEGIN
 * IMMEDIATE`, reports a failure of `COMMIT` as a typed error, serves requests in
 * order, lets waiting requests be interrupted, and does not block the event loop
 * while another process writes. `docs/ARCHITECTURE.md` lists the faults of the
 * stock client, `@effect/sql-sqlite-node`. Programs for that client run on this
 * one unchanged.
 *
 * It runs on better-sqlite3, on the SQLite of Node or on that of Bun. One process
 * must open a file through one of them only: the locks of two do not see each other.
 *
 * @since 0.1.0
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlConnection from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { millis } from "../../resilience/internal/kernel/options.js"
import { endsTransactions } from "../programClient.js"
import type { StorageError } from "../StorageError.js"
import { type BackupMetadata, makeBackup, makeExport } from "./backup.js"
import { busyTimeoutIn, clientFields } from "./config.js"
import { type Connection, makeConnection } from "./connection.js"
import * as driver from "./driver.js"
import { withTransaction } from "./transaction.js"
import { makeWriter, type Writer } from "./writer.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * The database file, or ":memory:" for a database of this layer alone that ends
   * with it. The folder must exist. A new file and its log can be read by its
   * owner alone (mode 0600); an existing file keeps its mode. An empty or blank name is
   * refused with `Filename`.
   */
  readonly filename: string
  /**
   * The crashes that a commit survives. `power-loss` waits for the disk at each
   * commit. `process-crash` does not: a power cut may lose the latest commits.
   * Defaults to `power-loss`.
   */
  readonly durability?: driver.Durability | undefined
  /** How long to wait while another process writes to the file. 0 does not wait. Defaults to 30 seconds. */
  readonly busyTimeout?: Duration.DurationInput | undefined
  /**
   * Opens an existing file and never changes it, such as a copy. Writes fail with
   * `ReadOnly`. Defaults to false.
   */
  readonly readonly?: boolean | undefined
  /**
   * What opens the file. `node:sqlite` needs Node 22.16 or later and no package.
   * Defaults to `bun:sqlite` on Bun; elsewhere to `better-sqlite3` if it is installed
   * and loads, and to `node:sqlite` otherwise.
   */
  readonly driver?: driver.DriverName | undefined
  /** Renames columns and tables of the program's statements, such as `String.camelToSnake`. Defaults to none. */
  readonly transformQueryNames?: ((name: string) => string) | undefined
  /**
   * Renames the columns of the rows that the program reads, such as
   * `String.snakeToCamel`. Defaults to none. Tables of this library keep their names.
   */
  readonly transformResultNames?: ((name: string) => string) | undefined
  /** Attributes of the span of each statement. Defaults to `db.system.name` alone. */
  readonly spanAttributes?: Readonly<Record<string, unknown>> | undefined
}

/**
 * The connection and the queue in front of it.
 *
 * @since 0.1.0
 * @category services
 */
export class SqliteClient extends Context.Tag("effect-recovery/SqliteClient")<SqliteClient, Service>() {}

/**
 * @since 0.1.0
 * @category models
 */
export interface Service {
  readonly sql: StockClient
  readonly filename: string
  readonly readonly: boolean
  /** What opened the file. */
  readonly driver: driver.DriverName
  /** @internal */
  readonly database: driver.Database
  /** @internal */
  readonly writer: Writer
}

/**
 * The client as programs for `@effect/sql-sqlite-node` know it.
 *
 * @since 0.1.0
 * @category models
 */
export interface StockClient extends SqlClient.SqlClient {
  readonly config: Pick<
    Options,
    "filename" | "readonly" | "spanAttributes" | "transformQueryNames" | "transformResultNames"
  >
  /** The bytes of a copy, as of one moment, without the changes of open transactions. */
  readonly export: Effect.Effect<Uint8Array, SqlError>
  /**
   * Copies the database to a file, as of one moment, while it is in use: neither
   * the event loop nor a writer waits for the copy. A new file can be read by its owner
   * alone. An existing database is overwritten, except by `bun:sqlite` and from
   * ":memory:", which fail.
   */
  readonly backup: (destination: string) => Effect.Effect<BackupMetadata, SqlError>
  /** Loads a native extension of SQLite. */
  readonly loadExtension: (path: string) => Effect.Effect<void, SqlError>
  /** SQLite does not support it. */
  readonly updateValues: never
}

/**
 * The tag of `@effect/sql-sqlite-node`, by its key: that package need not be
 * installed.
 *
 * @since 0.1.0
 * @category services
 */
export const StockClient = Context.GenericTag<StockClient>("@effect/sql-sqlite-node/SqliteClient")

const stockTypeId = Symbol.for("@effect/sql-sqlite-node/SqliteClient")

/**
 * Opens the file, and closes it with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { durability = "power-loss", filename, readonly = false, transformQueryNames, transformResultNames } = options
  const openOptions = { filename, durability, readonly, driver: options.driver }
  const opened = yield* driver.open(openOptions)
  const { database, file } = opened
  const busyMillis = millis("busyTimeout", options.busyTimeout ?? "30 seconds")
  const writer = yield* makeWriter(database, file, busyMillis)
  yield* writer.whileBusy(`Opening ${filename}`, () => driver.configure(database, openOptions))
  const connection = makeConnection(database, file, writer)
  const make = (
    compiler: Statement.Compiler,
    transformRows?: <A extends object>(rows: ReadonlyArray<A>) => ReadonlyArray<A>
  ) =>
    Effect.map(
      SqlClient.make({
        acquirer: acquirer(writer, connection),
        transactionAcquirer: acquirer(writer, connection),
        compiler,
        transformRows,
        spanAttributes: [...Object.entries(options.spanAttributes ?? {}), ["db.system.name", "sqlite"]]
      }),
      (client) =>
        Object.assign(client, {
          withTransaction: withTransaction({ database, writer, connection, busyMillis }),
          [endsTransactions]: true as const
        })
    )
  const plain = yield* make(Statement.makeCompilerSqlite())
  const backup = makeBackup(opened, filename, plain)
  const ofStock = {
    [stockTypeId]: stockTypeId,
    config: options,
    export: makeExport(backup),
    backup,
    loadExtension: (path: string) =>
      Effect.try({
        try: () => void database.loadExtension(path),
        catch: (cause) => new SqlError({ cause, message: `Failed to load the extension ${path}` })
      })
  }
  const untransformed = Object.assign(plain, ofStock)
  // The one of @effect/sql keeps the query's names transformed if only they are.
  const withoutTransforms = () => untransformed
  const isPlain = transformQueryNames === undefined && transformResultNames === undefined
  const client = isPlain
    ? untransformed
    : Object.assign(
        yield* make(
          Statement.makeCompilerSqlite(transformQueryNames),
          transformResultNames && Statement.defaultTransforms(transformResultNames).array
        ),
        { ...ofStock, withoutTransforms }
      )
  const sql = client as SqlClient.SqlClient as StockClient // `updateValues` is there and fails; the type takes it from programs
  return { sql, filename, readonly, driver: opened.driver.name, database, writer } satisfies Service
})

/** A stream reads all rows and releases the connection before it emits the first. */
const acquirer = (writer: Writer, connection: Connection): SqlConnection.Connection.Acquirer =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.mapError(restore(writer.acquire), toSqlError), () => {
      let isReleased = false
      const release = Effect.suspend(() => {
        if (isReleased) return Effect.void
        isReleased = true
        return writer.release
      })
      const executeStream: Connection["executeStream"] = (sql, params, transform) =>
        Stream.unwrap(
          Effect.map(Effect.ensuring(connection.execute(sql, params, transform), release), Stream.fromIterable)
        )
      return Effect.as(
        Effect.addFinalizer(() => release),
        { ...connection, executeStream }
      )
    })
  )

const toSqlError = (error: StorageError): SqlError => new SqlError({ cause: error, message: error.message })

/**
 * Provides the client under the tag of this module, of `@effect/sql` and of
 * `@effect/sql-sqlite-node`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SqliteClient | SqlClient.SqlClient | StockClient, StorageError> =>
  Layer.scopedContext(
    Effect.map(make(options), (service) =>
      Context.make(SqliteClient, service).pipe(
        Context.add(SqlClient.SqlClient, service.sql),
        Context.add(StockClient, service.sql)
      )
    )
  ).pipe(Layer.provide(Reactivity.layer))

/**
 * As `layer`, with options from the configuration. An empty or blank filename, and
 * a busy timeout outside of its bounds, is a `ConfigError` that names the setting.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<SqliteClient | SqlClient.SqlClient | StockClient, StorageError | ConfigError.ConfigError> => {
  const checked = Config.isConfig(options)
    ? Config.mapOrFail(options, (all) => Either.map(busyTimeoutIn(all.busyTimeout), () => all))
    : { ...options, ...clientFields(options) }
  return Layer.unwrapEffect(Effect.map(Config.unwrap(checked), layer))
}
