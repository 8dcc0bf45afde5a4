import type { SqlClient } from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { StorageError } from "../StorageError.js"
import type { AccessOptions, ClientAccess } from "./access.js"
import { dialectOf } from "./dialect.js"
import { makePgAccess } from "./pgAccess.js"
import { makeSqliteAccess } from "./sqliteAccess.js"

/** The access for the dialect of a client. */
export const makeAccess = (
  client: SqlClient,
  options: AccessOptions
): Effect.Effect<ClientAccess, StorageError, Scope.Scope> =>
  Effect.suspend((): Effect.Effect<ClientAccess, StorageError, Scope.Scope> => {
    const dialect = dialectOf(client)
    if (dialect === "pg") return Effect.succeed(makePgAccess(client, options))
    if (dialect === "sqlite") return makeSqliteAccess(client, options)
    return Effect.fail(new StorageError({ reason: "Dialect", operation: "Opening the storage" }))
  })
