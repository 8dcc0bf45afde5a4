/**
 * An `@effect/sql` client for SQLite. It begins transactions with `BEGIN
 * IMMEDIATE`, reports a failure of `COMMIT` as a typed error, serves requests in
 * order, lets waiting requests be interrupted, and does not block the event loop
 * while another process writes. `docs/ARCHITECTURE.md` lists the faults of the
 * stock client.
 *
 * @since 0.1.0
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type * as SqlConnection from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { millis } from "../../resilience/internal/kernel/options.js"
import type { StorageError } from "../StorageError.js"
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
  readonly sql: SqlClient.SqlClient
  readonly filename: string
  readonly readonly: boolean
  /** @internal */
  readonly database: driver.Database
  /** @internal */
  readonly writer: Writer
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = Effect.fnUntraced(function* (options: Options) {
  const { filename, durability = "power-loss", readonly = false } = options
  const opened = { filename, durability, readonly }
  const [database, file] = yield* driver.open(opened)
  const busyMillis = millis("busyTimeout", options.busyTimeout ?? "30 seconds")
  const writer = yield* makeWriter(database, file, busyMillis)
  yield* writer.whileBusy(`Opening ${filename}`, () => driver.configure(database, opened))
  const connection = makeConnection(database, file, writer)
  const client = yield* SqlClient.make({
    acquirer: acquirer(writer, connection),
    transactionAcquirer: acquirer(writer, connection),
    compiler: Statement.makeCompilerSqlite(),
    spanAttributes: [["db.system.name", "sqlite"]]
  })
  const sql = Object.assign(client, { withTransaction: withTransaction({ database, writer, connection, busyMillis }) })
  return { sql, filename, readonly, database, writer } satisfies Service
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
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<SqliteClient | SqlClient.SqlClient, StorageError> =>
  Layer.scopedContext(
    Effect.map(make(options), (service) =>
      Context.make(SqliteClient, service).pipe(Context.add(SqlClient.SqlClient, service.sql))
    )
  ).pipe(Layer.provide(Reactivity.layer))
