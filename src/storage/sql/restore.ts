import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { RestoreConflict } from "../StorageError.js"
import type { Store, StoredRow } from "../Store.js"
import { restoring, type Statement, type Tables } from "../sqlite/restoring.js"
import type { Access, Run } from "./access.js"

type Rows = ReadonlyArray<Readonly<Record<string, unknown>>>
type Step = IteratorResult<Statement, number>

/** Its repetition finds the rows, and writes nothing. */
export const makeSqlRestore = (access: Access): Store["restore"] => {
  const tables: Tables = { isSqlite: access.dialect.name === "sqlite", table: access.table }
  return (rows) => access.transaction("Restoring rows", restored(tables, rows), { idempotent: true })
}

/** The transaction may run more than once, so each time has its own generator. */
const restored =
  (tables: Tables, rows: ReadonlyArray<StoredRow>) =>
  (run: Run): Effect.Effect<number, SqlError | RestoreConflict> =>
    Effect.suspend(() => {
      const steps = restoring(tables, rows)
      const go = (answer: Rows): Effect.Effect<number, SqlError | RestoreConflict> =>
        Effect.flatMap(
          stepOf(() => steps.next(answer)),
          (step) =>
            step.done === true
              ? Effect.succeed(step.value)
              : Effect.flatMap(run<Readonly<Record<string, unknown>>>(step.value.text, step.value.params), go)
        )
      return go([])
    })

const stepOf = (next: () => Step): Effect.Effect<Step, RestoreConflict> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(next())
    } catch (error) {
      return error instanceof RestoreConflict ? error : Effect.die(error)
    }
  })
