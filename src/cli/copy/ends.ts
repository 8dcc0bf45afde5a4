/** The storages that a copy reads and writes, as the command line names them. */
import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { identityText } from "../../host/fileIdentity.js"
import { checked } from "../../resilience/internal/kernel/options.js"
import type { StorageError } from "../../storage/StorageError.js"
import type { Store } from "../../storage/Store.js"
import * as SqlStorage from "../../storage/sql/SqlStorage.js"
import type { Tables } from "../../storage/sqlite/migrations.js"
import * as SqliteClient from "../../storage/sqlite/SqliteClient.js"
import * as SqliteStorage from "../../storage/sqlite/SqliteStorage.js"
import { createFolder } from "../ask.js"
import type { Ended } from "../exit.js"
import { usage } from "../options.js"
import { absolute } from "../paths.js"
import { parseAddress, shownAddress } from "../serverAddress.js"
import { loadPostgres, requireTables, tablesOfFile, tablesOfServer } from "../tables.js"

export interface Given {
  /** The option that names it. */
  readonly option: "--from" | "--to"
  readonly name: string
  readonly prefix: string
  readonly schema: string | undefined
}

/** A storage that is named and not opened yet. */
export type Place =
  | { readonly _tag: "File"; readonly file: string; readonly where: string; readonly given: Given }
  | { readonly _tag: "Server"; readonly address: URL; readonly where: string; readonly given: Given }

/** Says what is wrong with the name, before anything is opened. */
export const placeOf = (given: Given): Effect.Effect<Place, Ended> =>
  Effect.gen(function* () {
    const { option, prefix, schema } = given
    const name = given.name.trim()
    if (name === "") return yield* usage(`${option} is empty. Name a SQLite file or a postgres:// address.`)
    if (name === ":memory:") return yield* usage(`${option} is ":memory:", which is empty and ends with the command.`)
    yield* Effect.catchTag(
      checked(() => SqlStorage.settings({ prefix, schema })),
      "InvalidOption",
      ({ message }) => usage(`${option}-${schema === undefined ? "prefix" : "prefix or -schema"}: ${message}`)
    )
    const address = yield* parseAddress(option, name, "Usage")
    if (address !== undefined) {
      return { _tag: "Server" as const, address, where: shownAddress(address), given }
    }
    if (/(?:^|[\\/])recovery\.config\.m?[jt]s$/.test(name)) {
      return yield* usage(`${option} is a configuration. Name the SQLite file or the address that its storage uses.`)
    }
    if (schema !== undefined) return yield* usage(`${option}-schema is for Postgres, and ${option} is a file.`)
    const file = yield* absolute(name)
    return { _tag: "File" as const, file, where: file, given }
  })

const identityOf = (file: string): string | undefined => {
  const found = fs.statSync(file, { bigint: true, throwIfNoEntry: false })
  return found && identityText(found)
}

/** Whether both names are of one storage, as far as the names tell. */
export const areSame = (from: Place, to: Place): boolean => {
  const names = ({ given: { prefix, schema } }: Place) => `${prefix} ${schema ?? ""}`
  if (names(from) !== names(to)) return false
  if (from._tag === "File" && to._tag === "File") {
    const identity = identityOf(from.file)
    return from.file === to.file || (identity !== undefined && identity === identityOf(to.file))
  }
  return from._tag === "Server" && to._tag === "Server" && from.where === to.where
}

const openServer = (
  { address, given, where }: Extract<Place, { readonly _tag: "Server" }>,
  readonly: boolean
): Effect.Effect<Store, StorageError | Ended, Scope.Scope> =>
  Effect.flatMap(loadPostgres, ({ store }) =>
    store(address, where, readonly, { prefix: given.prefix, schema: given.schema })
  )

const openFile = (file: string, prefix: string, readonly: boolean): Effect.Effect<Store, StorageError, Scope.Scope> =>
  prefix === "recovery_"
    ? SqliteStorage.store({ filename: file, readonly })
    : Effect.flatMap(Layer.build(SqliteClient.layer({ filename: file, readonly })), (client) =>
        Effect.provide(SqlStorage.store({ prefix }), client)
      )

const tablesIn = (place: Place): Effect.Effect<Tables, StorageError | Ended> => {
  const { given, where } = place
  return place._tag === "Server" ? tablesOfServer(place.address, where, given) : tablesOfFile(place.file, given.prefix)
}

export const openSource = (place: Place): Effect.Effect<Store, StorageError | Ended, Scope.Scope> => {
  if (place._tag === "File" && !fs.existsSync(place.file)) {
    return usage(`There is no database ${place.file}: --from must name one.`)
  }
  const store = place._tag === "Server" ? openServer(place, true) : openFile(place.file, place.given.prefix, true)
  return Effect.zipRight(requireTables(place.where, tablesIn(place)), store)
}

/** Creates the file and its folder, if they are missing. */
export const openTarget = (place: Place): Effect.Effect<Store, StorageError | Ended, Scope.Scope> => {
  if (place._tag === "Server") return openServer(place, false)
  return Effect.zipRight(createFolder(place.file), openFile(place.file, place.given.prefix, false))
}
