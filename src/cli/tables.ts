/** Which tables a database has: what commands look at before they open a database that they must not create. */
import * as Effect from "effect/Effect"
import { messageOf } from "../resilience/Foreign.js"
import type { StorageError } from "../storage/StorageError.js"
import { type Tables, tablesOf } from "../storage/sqlite/migrations.js"
import * as SqliteClient from "../storage/sqlite/SqliteClient.js"
import { type Ended, ended } from "./exit.js"

/** The names of the tables on a server or in a file. */
export interface Names {
  readonly prefix?: string | undefined
  readonly schema?: string | undefined
}

/** The module of servers, whose driver is an optional package. */
export const loadPostgres = Effect.tryPromise({
  try: () => import("./postgres.js"),
  catch: (cause) => ended("Config", `A server needs the package pg: npm install pg (${messageOf(cause)})`)
})

/** The tables of a file, read without a change. */
export const tablesOfFile = (filename: string, prefix = "recovery_"): Effect.Effect<Tables, StorageError> =>
  Effect.provide(tablesOf(prefix), SqliteClient.layer({ filename, readonly: true }))

/** The tables on a server, read without a change. */
export const tablesOfServer = (
  address: URL,
  where: string,
  names: Names = {}
): Effect.Effect<Tables, StorageError | Ended> =>
  Effect.flatMap(loadPostgres, ({ tables }) => tables(address, where, names))

/** What creates a database. */
export const creators =
  "A program creates them when it opens its storage, and so do recovery exec, report and checkpoint create."

/** Refuses a database without tables. */
export const requireTables = (
  where: string,
  tables: Effect.Effect<Tables, StorageError | Ended>
): Effect.Effect<void, Ended> =>
  Effect.matchEffect(tables, {
    onFailure: (error) =>
      Effect.fail(error._tag === "Ended" ? error : ended("Storage", `${error.message} (${where})`, error._tag)),
    onSuccess: ({ version }) =>
      version > 0
        ? Effect.void
        : ended(
            "Storage",
            `${where} has no tables of effect-recovery: name the database of your program. ${creators}`,
            "NoTables"
          )
  })
