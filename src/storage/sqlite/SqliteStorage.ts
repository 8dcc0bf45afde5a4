/**
 * Runs and journals in a SQLite file. Several processes may share the file;
 * all of them must run on one host.
 *
 * @since 0.1.0
 */
import * as SqlClient from "@effect/sql/SqlClient"
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { isGone, makeOwner } from "../../host/owner.js"
import { InvalidOption } from "../../resilience/InvalidOption.js"
import { millis } from "../../resilience/internal/kernel/options.js"
import * as Storage from "../Storage.js"
import type { StorageError } from "../StorageError.js"
import { filenameProblem } from "./databaseFile.js"
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

/** The config of an option knows the name of its setting; the options as a whole do not. */
const withChecks = (options: Config.Config.Wrap<Options>): Config.Config.Wrap<Options> => {
  if (Config.isConfig(options)) {
    return Config.mapOrFail(options, (all) =>
      Either.map(Either.all([leaseIn(all.lease), busyTimeoutIn(all.busyTimeout)]), () => all)
    )
  }
  const { busyTimeout, filename, lease } = options
  return {
    ...options,
    filename: Config.mapOrFail(filename, (filename) => {
      const problem = filenameProblem(filename)
      return problem === undefined ? Either.right(filename) : Either.left(ConfigError.InvalidData([], problem))
    }),
    ...(lease === undefined ? {} : { lease: Config.mapOrFail(lease, leaseIn) }),
    ...(busyTimeout === undefined ? {} : { busyTimeout: Config.mapOrFail(busyTimeout, busyTimeoutIn) })
  }
}

/** Options of the program are refused by a defect, those of the configuration by a `ConfigError`. */
const durationIn =
  (option: string, min: number) =>
  <A extends Duration.DurationInput | undefined>(value: A): Either.Either<A, ConfigError.ConfigError> => {
    try {
      if (value !== undefined) millis(option, value, min)
      return Either.right(value)
    } catch (error) {
      if (error instanceof InvalidOption) return Either.left(ConfigError.InvalidData([], error.message))
      throw error
    }
  }

const leaseIn = durationIn("lease", 1)
const busyTimeoutIn = durationIn("busyTimeout", 0)

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
  yield* Effect.provideService(readonly ? upToDate : migrate, SqlClient.SqlClient, sql)
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
