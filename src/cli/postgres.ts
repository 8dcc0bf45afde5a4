import * as SqlClient from "@effect/sql/SqlClient"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type { Storage } from "../storage/Storage.js"
import type { StorageError } from "../storage/StorageError.js"
import type { Store } from "../storage/Store.js"
import { makeAccess } from "../storage/sql/clients.js"
import { toStorageError } from "../storage/sql/errors.js"
import { tablesOf } from "../storage/sql/migrations.js"
import * as SqlStorage from "../storage/sql/SqlStorage.js"
import type { Tables } from "../storage/sqlite/migrations.js"

/** The server refuses each write, whatever the command does. */
const readOnly = "-c default_transaction_read_only=on"

const addressFor = (address: URL, readonly: boolean): string => {
  if (!readonly) return address.href
  const changed = new URL(address)
  const given = changed.searchParams.get("options")
  changed.searchParams.set("options", given === null ? readOnly : `${given} ${readOnly}`)
  return changed.href
}

const clientFor = (address: URL, readonly: boolean) =>
  PgClient.layer({
    url: Redacted.make(addressFor(address, readonly)),
    maxConnections: 4,
    applicationName: "recovery"
  })

/** The tables of `SqlStorage` or `PgStorage` on a server. `where` is its address in messages. */
export const layer = (address: URL, where: string, readonly: boolean): Layer.Layer<Storage, StorageError> =>
  SqlStorage.layer().pipe(
    Layer.provide(clientFor(address, readonly)),
    Layer.mapError(toStorageError(`Connecting to ${where}`))
  )

/** The tables on a server, read without a change. */
export const tables = (
  address: URL,
  where: string,
  names: Pick<SqlStorage.Options, "prefix" | "schema">
): Effect.Effect<Tables, StorageError> =>
  Effect.scoped(
    Effect.flatMap(Layer.build(clientFor(address, true)), (client) => {
      const settings = SqlStorage.settings(names)
      const access = makeAccess(Context.get(client, SqlClient.SqlClient), { ...settings, clock: "server" })
      return Effect.flatMap(access, (access) => tablesOf(access, settings))
    })
  ).pipe(Effect.mapError(toStorageError(`Connecting to ${where}`)))

/** As `layer`, without the service. */
export const store = (
  address: URL,
  where: string,
  readonly: boolean,
  tables: Pick<SqlStorage.Options, "prefix" | "schema">
): Effect.Effect<Store, StorageError, Scope.Scope> =>
  Effect.mapError(
    Effect.flatMap(Layer.build(clientFor(address, readonly)), (client) =>
      Effect.provide(SqlStorage.store(tables), client)
    ),
    toStorageError(`Connecting to ${where}`)
  )
