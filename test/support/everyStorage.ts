import type { SqlClient } from "@effect/sql/SqlClient"
import * as StockClient from "@effect/sql-sqlite-node/SqliteClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Storage } from "effect-recovery"
import { SqlStorage } from "effect-recovery/sql"
import { beforeAll, describe } from "vitest"
import { temporaryFile } from "./files.js"
import { type Database, inPostgres } from "./postgres.js"
import { type Backend, backends, type Place } from "./storages.js"

let processes = 0
let places = 0

/** Each process has a client of its own. The test's clock is the store's. */
const placeOf = <E>(client: Layer.Layer<SqlClient, E>, prefix: string): Effect.Effect<Place, unknown, Scope.Scope> => {
  const open = Effect.flatMap(Layer.build(client), (context) =>
    Effect.provide(SqlStorage.store({ prefix, clock: "program", durability: "process-crash" }), context)
  )
  const join: Place["join"] = (lease) =>
    Layer.scoped(
      Storage.Storage,
      Effect.flatMap(Effect.orDie(open), (store) => Storage.make(store, { owner: `process-${++processes}`, lease }))
    )
  return Effect.map(open, (store) => ({ store, open, join }))
}

const stock: Backend = {
  name: "the stock client of SQLite",
  make: Effect.flatMap(temporaryFile("runs.db"), (filename) => placeOf(StockClient.layer({ filename }), "recovery_"))
}

const on = (database: Database): Backend => ({
  name: "Postgres",
  make: Effect.suspend(() => placeOf(database.client({ maxConnections: 4 }), `place_${++places}_`))
})

/** The part of a campaign that a kind of storage runs: the more one operation takes, the less. */
const shares: Readonly<Record<string, number>> = { memory: 1, sqlite: 1 / 3 }

const leastShare = 1 / 20

/** The same tests on each kind of storage, which get their share of a campaign. */
export const inEveryStorage = (title: string, tests: (backend: Backend, share: number) => void): void => {
  for (const backend of [...backends, stock]) {
    describe(`${backend.name}: ${title}`, () => tests(backend, shares[backend.name] ?? leastShare))
  }
  inPostgresStorage(title, (backend) => tests(backend, leastShare))
}

/** Tests whose operations take long, on the storage of a server. */
export const inPostgresStorage = (title: string, tests: (backend: Backend) => void): void => {
  inPostgres(`Postgres: ${title}`, (database) => {
    // Nothing here outlives the server, so no commit waits for the disk.
    beforeAll(() =>
      Effect.runPromise(database.query(`ALTER DATABASE ${database.address.database} SET synchronous_commit = off`))
    )
    tests(on(database))
  })
}
