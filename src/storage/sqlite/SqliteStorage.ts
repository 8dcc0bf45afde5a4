/**
 * Runs and journals in a SQLite file. Several processes may share the file;
 * all of them must run on one host.
 *
 * @since 0.1.0
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Config from "effect/Config"
import type * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { isGone, makeOwner } from "../../host/owner.js"
import * as Storage from "../Storage.js"
import type { StorageError } from "../StorageError.js"
import { busyTimeoutIn, clientFields, durationIn } from "./config.js"
import { migrate, upToDate } from "./migrations.js"
import * as SqliteClient from "./SqliteClient.js"
import { makeSqliteStore } from "./SqliteStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options extends SqliteClient.Options {
  /**
   * How long a run stays leased to a process that no longer renews the lease.
   * The leases of a process that died on this host end at once. Defaults to 30
   * seconds.
   */
  readonly lease?: Duration.DurationInput | undefined
  /** Encodes everything that programs store, such as by encryption. Defaults to none. */
  readonly payloads?: Storage.Payloads | undefined
}

/**
 * Opens the file, creates or migrates its tables, and keeps leases alive.
 *
 * @example
 * ```ts
 * import { Storage } from "effect-recovery"
 * import { SqliteStorage } from "effect-recovery/sqlite"
 * import { Effect } from "effect"
 *
 * const program = Effect.gen(function* () {
 *   const storage = yield* Storage.Storage
 *   const runs = yield* storage.list({})
 *   return runs.length
 * })
 *
 * program.pipe(Effect.provide(SqliteStorage.layer({ filename: ":memory:" })), Effect.runPromise).then(console.log) // 0
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: Options): Layer.Layer<Storage.Storage, StorageError> =>
  Layer.provide(layerClient(options), SqliteClient.layer(options))

/**
 * As `layer`, with options from the configuration. An empty or blank filename, and
 * a lease or busy timeout outside of its bounds, is a `ConfigError` that names the
 * setting.
 *
 * @example
 * ```ts
 * import { SqliteStorage } from "effect-recovery/sqlite"
 * import { Config } from "effect"
 *
 * export const storage = SqliteStorage.layerConfig({
 *   filename: Config.string("RECOVERY_DATABASE").pipe(Config.withDefault("recovery.db"))
 * })
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  options: Config.Config.Wrap<Options>
): Layer.Layer<Storage.Storage, StorageError | ConfigError.ConfigError> =>
  Layer.unwrapEffect(Effect.map(Config.unwrap(withChecks(options)), layer))

const withChecks = (options: Config.Config.Wrap<Options>): Config.Config.Wrap<Options> => {
  if (Config.isConfig(options)) {
    return Config.mapOrFail(options, (all) =>
      Either.map(Either.all([leaseIn(all.lease), busyTimeoutIn(all.busyTimeout)]), () => all)
    )
  }
  const { lease } = options
  return {
    ...options,
    ...clientFields(options),
    ...(lease === undefined ? {} : { lease: Config.mapOrFail(lease, leaseIn) })
  }
}

const leaseIn = durationIn("lease", 1)

/**
 * As `layer`, over a client that the program uses for its own tables too.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerClient = (options?: {
  readonly lease?: Duration.DurationInput | undefined
  /** As of `layer`. */
  readonly payloads?: Storage.Payloads | undefined
}): Layer.Layer<Storage.Storage, StorageError, SqliteClient.SqliteClient> =>
  Layer.scoped(
    Storage.Storage,
    Effect.flatMap(Effect.all([prepare, makeOwner]), ([store, owner]) =>
      Storage.make(store, { owner, lease: options?.lease, payloads: options?.payloads })
    )
  )

/** Creates or migrates the tables. A read-only file must have them already. */
const prepare = Effect.gen(function* () {
  const { database, readonly, sql, writer } = yield* SqliteClient.SqliteClient
  yield* Effect.provideService(readonly ? upToDate : migrate, SqlClient.SqlClient, sql.withoutTransforms())
  return yield* writer.whileBusy("Preparing the storage", () =>
    makeSqliteStore({ client: sql, database, writer, isGone })
  )
})

/**
 * The store without the service over it, for `Testing.crashEverywhere` and
 * `Testing.storageContract`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const store = (options: SqliteClient.Options): Effect.Effect<Storage.Store, StorageError, Scope.Scope> =>
  Effect.flatMap(Layer.build(SqliteClient.layer(options)), (client) => Effect.provide(prepare, client))
