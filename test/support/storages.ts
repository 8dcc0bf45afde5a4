import * as fs from "node:fs"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Storage } from "effect-recovery"
import { SqliteClient, SqliteStorage } from "effect-recovery/sqlite"
import { inject } from "vitest"
import { makeSqliteStore } from "../../src/storage/sqlite/SqliteStore.js"
import { drivers } from "./drivers.js"
import { temporaryFile } from "./files.js"

/**
 * A store for runs and any number of processes on it: each
 * `join` is the storage of another process.
 */
export interface Place {
  readonly store: Storage.Store
  /** The store of another process. */
  readonly open: Effect.Effect<Storage.Store, unknown, Scope.Scope>
  readonly join: (lease?: Duration.DurationInput) => Layer.Layer<Storage.Storage, Storage.StorageError>
}

export interface Backend {
  readonly name: string
  readonly make: Effect.Effect<Place, unknown, Scope.Scope>
}

let processes = 0

export const memory: Backend = {
  name: "memory",
  make: Effect.sync(() => {
    const store = Storage.memoryStore()
    const join: Place["join"] = (lease) =>
      Layer.scoped(Storage.Storage, Storage.make(store, { owner: `process-${++processes}`, lease }))
    return { store, open: Effect.succeed(store), join }
  })
}

const sqliteOn = (driver?: SqliteClient.Options["driver"]): Backend => ({
  name: driver === undefined ? "sqlite" : `sqlite on ${driver}`,
  make: Effect.gen(function* () {
    const filename = yield* temporaryFile("runs.db")
    fs.copyFileSync(inject("tables"), filename)
    const options = { filename, driver, durability: "process-crash" } as const
    const join: Place["join"] = (lease) => SqliteStorage.layer({ ...options, lease })
    yield* Layer.build(join())
    const open = Effect.gen(function* () {
      const client = yield* Layer.build(SqliteClient.layer(options))
      const { database, sql, writer } = yield* Effect.provide(SqliteClient.SqliteClient, client)
      return makeSqliteStore({ client: sql, database, writer, isGone: () => false })
    })
    return { store: yield* open, open, join }
  })
})

export const sqlite: Backend = sqliteOn()

export const backends: ReadonlyArray<Backend> = [memory, sqlite]

/** With each driver of SQLite that this Node has. */
export const allBackends: ReadonlyArray<Backend> = [memory, ...drivers.map(({ name }) => sqliteOn(name))]
