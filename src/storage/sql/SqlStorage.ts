/**
 * Runs and journals in the database of the program, over the `SqlClient` that it
 * has: SQLite or Postgres.
 *
 * @since 0.1.0
 */
import * as SqlClient from "@effect/sql/SqlClient"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { isGone, makeOwner } from "../../host/owner.js"
import { InvalidOption } from "../../resilience/InvalidOption.js"
import { millis } from "../../resilience/internal/kernel/options.js"
import * as Storage from "../Storage.js"
import type { StorageError } from "../StorageError.js"
import type { AccessOptions } from "./access.js"
import { makeAccess } from "./clients.js"
import { migrate } from "./migrations.js"
import { makeSqlStore } from "./SqlStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /**
   * What the names of the tables begin with: a letter or underscore, then at most 30
   * letters, digits and underscores. Defaults to `recovery_`, which `SqliteStorage`
   * and the command line use.
   */
  readonly prefix?: string | undefined
  /**
   * The schema of the tables, which is created if it is missing. Postgres only.
   * Defaults to the first one of the connection's search path.
   */
  readonly schema?: string | undefined
  /**
   * How long a run stays leased to a process that no longer renews the lease.
   * The leases of a process that died on this host end at once. Defaults to 30
   * seconds.
   */
  readonly lease?: Duration.DurationInput | undefined
  /** Encodes everything that programs store, such as by encryption. Defaults to none. */
  readonly payloads?: Storage.Payloads | undefined
  /**
   * The crashes that a commit survives. SQLite only: `power-loss` sets the
   * connection to `PRAGMA synchronous = FULL`, for the statements of the program
   * too. `process-crash` leaves it as it is: a power cut may lose the latest
   * commits. Defaults to `power-loss`.
   */
  readonly durability?: "power-loss" | "process-crash" | undefined
  /**
   * How long an operation tries again while another process has the file, or the
   * server cannot be reached. 0 does not try again. Defaults to 30 seconds.
   */
  readonly patience?: Duration.DurationInput | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface StoreOptions extends Omit<Options, "lease" | "payloads"> {
  /**
   * Which clock judges leases and due times: that of the Postgres server, or that of
   * the program, such as a test clock. SQLite has none of its own. Defaults to `server`.
   */
  readonly clock?: "server" | "program" | undefined
}

/**
 * Stores runs in tables beside those of the program, which are created and
 * migrated, and keeps leases alive. Steps commit their results together with the
 * rows that the program writes, with `Step.transactional`.
 *
 * A SqlClient of another database than SQLite and Postgres is refused with the
 * reason `Dialect`. The time that leases and due times compare with is that of the
 * server, for SQLite that of the host.
 *
 * @example
 * ```ts
 * import { Storage } from "effect-recovery"
 * import { SqlStorage } from "effect-recovery/sql"
 * import { SqliteClient } from "@effect/sql-sqlite-node"
 * import { Effect, Layer } from "effect"
 *
 * const database = SqliteClient.layer({ filename: ":memory:" })
 *
 * const program = Effect.gen(function* () {
 *   const storage = yield* Storage.Storage
 *   const runs = yield* storage.list({})
 *   return runs.length
 * })
 *
 * program.pipe(
 *   Effect.provide(Layer.provideMerge(SqlStorage.layer(), database)),
 *   Effect.runPromise
 * ).then(console.log) // 0
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<Storage.Storage, StorageError, SqlClient.SqlClient> =>
  Layer.scoped(
    Storage.Storage,
    Effect.gen(function* () {
      const { lease, payloads } = options
      const opened = yield* store(options)
      return yield* Storage.make(opened, { owner: yield* makeOwner, lease, payloads })
    })
  )

/**
 * The store without the service over it, for `Testing.crashEverywhere` and
 * `Testing.storageContract`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const store = (
  options: StoreOptions = {}
): Effect.Effect<Storage.Store, StorageError, SqlClient.SqlClient | Scope.Scope> =>
  Effect.gen(function* () {
    const access = yield* makeAccess(yield* SqlClient.SqlClient, {
      ...settings(options),
      clock: options.clock ?? "server"
    })
    yield* migrate(access, settings(options))
    return yield* makeSqlStore(access, isGone)
  })

/**
 * The options that name and reach the tables, checked.
 *
 * @internal
 */
export const settings = ({ durability, patience, prefix, schema }: Options): Omit<AccessOptions, "clock"> => ({
  prefix: name("prefix", prefix ?? "recovery_"),
  schema: schema === undefined ? undefined : name("schema", schema),
  patienceMillis: millis("patience", patience ?? "30 seconds"),
  durability: durability ?? "power-loss"
})

/** Of an identifier that needs no escapes and leaves room for the names of tables and indexes. */
const name = (option: string, value: string): string => {
  if (/^[a-z_][a-z0-9_]{0,30}$/i.test(value)) return value
  throw new InvalidOption({
    option,
    value,
    expected: "a letter or underscore, then at most 30 letters, digits and underscores"
  })
}
