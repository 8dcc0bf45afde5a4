import * as fs from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqliteClient } from "effect-recovery/sqlite"
import { inject } from "vitest"
import { inMemory } from "../../src/storage/sqlite/databaseFile.js"
import type { Database, Statement } from "../../src/storage/sqlite/driver.js"
import { makeSqliteStore } from "../../src/storage/sqlite/SqliteStore.js"
import { makeWriter } from "../../src/storage/sqlite/writer.js"
import { temporaryFile } from "./files.js"

/** One execution of a statement. */
export interface Ran {
  readonly sql: string
  /** The rows that it answered or changed. */
  readonly rows: number
}

/** A database that records what it runs, and the statements that it prepares. */
const recording = (database: Database, ran: Array<Ran>, prepared: Set<string>): Database => {
  const record = (sql: string, statement: Statement): Statement => ({
    reader: statement.reader,
    run: (...params) => {
      const result = statement.run(...params)
      ran.push({ sql, rows: result.changes })
      return result
    },
    get: (...params) => {
      const row = statement.get(...params)
      ran.push({ sql, rows: row === undefined ? 0 : 1 })
      return row
    },
    all: (...params) => {
      const rows = statement.all(...params)
      ran.push({ sql, rows: rows.length })
      return rows
    },
    iterate: function* (...params) {
      let rows = 0
      try {
        for (const row of statement.iterate(...params)) {
          rows++
          yield row
        }
      } finally {
        ran.push({ sql, rows })
      }
    },
    raw: (toggle) => record(sql, statement.raw(toggle)),
    safeIntegers: (toggle) => record(sql, statement.safeIntegers(toggle))
  })
  return {
    get inTransaction() {
      return database.inTransaction
    },
    prepare: (sql) => {
      prepared.add(sql)
      return record(sql, database.prepare(sql))
    },
    exec: (sql) => {
      ran.push({ sql, rows: 0 })
      return database.exec(sql)
    },
    loadExtension: (path) => database.loadExtension(path),
    close: () => database.close()
  }
}

/** A store of SQLite, with the statements it has run and those it has prepared. */
export const recordingStore = Effect.gen(function* () {
  const filename = yield* temporaryFile("runs.db")
  fs.copyFileSync(inject("tables"), filename)
  const open = Effect.gen(function* () {
    const context = yield* Layer.build(SqliteClient.layer({ filename, durability: "process-crash" }))
    const { database, sql } = yield* Effect.provide(SqliteClient.SqliteClient, context)
    const ran: Array<Ran> = []
    const prepared = new Set<string>()
    const recorded = recording(database, ran, prepared)
    // By a clock that stands still no turn takes long, so what runs does not depend on the machine.
    const writer = yield* makeWriter(recorded, inMemory, 1_000, () => 0)
    const store = makeSqliteStore({ client: sql, database: recorded, writer, isGone: () => false })
    return { store, ran, prepared, database }
  })
  return { ...(yield* open), open }
})
