import * as SqlClient from "@effect/sql/SqlClient"
import * as SqliteClient from "@effect/sql-sqlite-node/SqliteClient"
import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { Storage } from "effect-recovery"
import { SqlStorage } from "effect-recovery/sql"

/** A process of a program: its client, and the store over it. */
export interface Opened {
  readonly sql: SqlClient.SqlClient
  readonly store: Storage.Store
}

export const open = <E>(
  client: Layer.Layer<SqlClient.SqlClient, E>,
  options?: SqlStorage.StoreOptions
): Effect.Effect<Opened, E | Storage.StorageError, Scope.Scope> =>
  Effect.flatMap(Layer.build(client), (context) =>
    Effect.map(Effect.provide(SqlStorage.store(options), context), (store) => ({
      sql: Context.get(context, SqlClient.SqlClient),
      store
    }))
  )

/** A client that calls `note` with each statement. Its connections are wrapped, so their statements have no names on Postgres. */
export const noting = (note: (text: string) => void) =>
  Layer.effect(
    SqlClient.SqlClient,
    Effect.map(SqlClient.SqlClient, (client) => {
      const reserve = Effect.map(client.reserve, (connection) =>
        Object.assign(Object.create(connection), {
          execute: (...[text, ...rest]: Parameters<typeof connection.execute>) => {
            note(text)
            return connection.execute(text, ...rest)
          }
        })
      )
      return Object.assign(Object.create(client), { reserve }) as SqlClient.SqlClient // all else is that of the prototype
    })
  )

export const stock = (filename: string, options?: Partial<SqliteClient.SqliteClientConfig>) =>
  SqliteClient.layer({ filename, ...options })

export const request = (id: string): Storage.OpenRequest => ({
  id,
  workflow: "Order",
  version: "1",
  input: "{}",
  labels: {}
})

export const entry = (seq: number, payload = `{"line":${seq}}`): Storage.Entry => ({
  seq,
  kind: "StepCompleted",
  step: `step-${seq}`,
  attempt: 1,
  at: 1_000 + seq,
  payload
})

const minute = 60_000

/** Opens a run that must be free. */
export const leased = (store: Storage.Store, id: string, owner = `${id}/1`) =>
  Effect.map(store.open(request(id), owner, minute), (opened): Storage.Lease => {
    if (!("lease" in opened)) return assert.fail(`expected a lease, got ${opened._tag}`)
    return opened.lease
  })

/** The numbers of the lines of a run. */
export const lines = (store: Storage.Store, run: number) =>
  Effect.map(store.journal(run), (journal) => journal.map(({ seq }) => seq))

/** The reason of a storage's failure, or the tag of another one. */
export const reasonOf = <A, E extends { readonly _tag: string }, R>(
  operation: Effect.Effect<A, E, R>
): Effect.Effect<string, never, R> =>
  Effect.match(operation, {
    onFailure: (error) => ("reason" in error ? String(error.reason) : error._tag),
    onSuccess: () => "Success"
  })
