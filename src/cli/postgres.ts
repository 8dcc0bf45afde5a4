import * as PgClient from "@effect/sql-pg/PgClient"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type { Storage } from "../storage/Storage.js"
import type { StorageError } from "../storage/StorageError.js"
import { toStorageError } from "../storage/sql/errors.js"
import * as SqlStorage from "../storage/sql/SqlStorage.js"

/** The server refuses each write, whatever the command does. */
const readOnly = "-c default_transaction_read_only=on"

const addressFor = (address: URL, readonly: boolean): string => {
  if (!readonly) return address.href
  const changed = new URL(address)
  const given = changed.searchParams.get("options")
  changed.searchParams.set("options", given === null ? readOnly : `${given} ${readOnly}`)
  return changed.href
}

/** The tables of `SqlStorage` or `PgStorage` on a server. `where` is its address in messages. */
export const layer = (address: URL, where: string, readonly: boolean): Layer.Layer<Storage, StorageError> =>
  SqlStorage.layer().pipe(
    Layer.provide(
      PgClient.layer({
        url: Redacted.make(addressFor(address, readonly)),
        maxConnections: 4,
        applicationName: "recovery"
      })
    ),
    Layer.mapError(toStorageError(`Connecting to ${where}`))
  )
