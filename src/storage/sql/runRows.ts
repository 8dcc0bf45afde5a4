import type { Run } from "../Store.js"
import { marked, refuseDamaged } from "../sqlite/rows.js"
import { type RunRow, runOf, runProblem } from "../sqlite/runRows.js"
import { type Tables, toNumbers } from "./reading.js"

/** The columns of a run that are numbers: Postgres answers a BIGINT as text. */
const runNumbers = [
  "key",
  "createdAt",
  "token",
  "leaseUntil",
  "dueAt",
  "signals",
  "finishedAt",
  "checksum",
  "outcomeChecksum",
  "startedAt",
  "generation",
  "holdAt",
  "priority"
] as const satisfies ReadonlyArray<keyof RunRow>

export const toRunNumbers = (tables: Tables): ((row: RunRow) => RunRow) => toNumbers<RunRow>(tables, ...runNumbers)

/** How rows of runs are read. */
export interface RunReader {
  /** Throws if the row is damaged. An index that leads to the row of another run is damage, too. */
  readonly toRun: (row: RunRow, id?: string) => Run
  /** A damaged row is a row of a list. */
  readonly toListed: (row: RunRow) => Run
}

export const makeRunReader = (tables: Tables, isGone: (owner: string) => boolean): RunReader => {
  const numbered = toRunNumbers(tables)
  return {
    toRun: (row, id) => {
      const read = numbered(row)
      const problem = id === undefined || row.id === id ? runProblem(read) : "the index leads to another row"
      refuseDamaged(problem, () => `run "${row.id}"`)
      return runOf(read, isGone)
    },
    toListed: (row) => {
      const read = numbered(row)
      return marked(runOf(read, isGone), runProblem(read))
    }
  }
}
