import * as Exit from "effect/Exit"
import { RestoreConflict } from "../StorageError.js"
import type { Store } from "../Store.js"
import type { Database } from "./driver.js"
import { restoring, type Tables } from "./restoring.js"
import { QueryCache } from "./rows.js"
import type { Access } from "./SqliteStore.js"

const tables: Tables = { isSqlite: true, table: (name) => `recovery_${name}` }

/** A job is one transaction. A conflict is found before anything is written. */
export const makeSqliteRestore = (database: Database, access: Access): Store["restore"] => {
  const statements = new QueryCache(database)
  return (rows) =>
    access.attempt("Restoring rows", () => {
      const steps = restoring(tables, rows)
      try {
        let step = steps.next([])
        while (!step.done) {
          const { answers, params, text } = step.value
          const statement = statements.prepare(text)
          if (!answers) statement.run(...params)
          // A row of SQLite is an object of its columns.
          step = steps.next(answers ? (statement.all(...params) as ReadonlyArray<Record<string, unknown>>) : [])
        }
        return Exit.succeed(step.value)
      } catch (error) {
        if (error instanceof RestoreConflict) return Exit.fail(error)
        throw error
      }
    })
}
