import type { Outcome, Run } from "../Store.js"
import { isTime, marked, refuseDamaged, toLabels } from "../sqlite/rows.js"
import { type RunRow, runProblem } from "../sqlite/runRows.js"
import { type Tables, toNumbers } from "./reading.js"

/** The table of the first version admits only `completed` and `failed`. */
export const statusColumn = "CASE WHEN status = 'failed' AND exhausted IS NOT NULL THEN 'exhausted' ELSE status END"

/** Of a run, as a `RunRow` has them. */
export const runColumns = `key, id, workflow, version, input, labels, created_at AS "createdAt", token, owner,
  lease_until AS "leaseUntil", due_at AS "dueAt", waiting, signals, ${statusColumn} AS status, exit,
  finished_at AS "finishedAt", checksum, outcome_checksum AS "outcomeChecksum"`

/** The columns of a run that are numbers: Postgres answers a BIGINT as text. */
export const runNumbers = [
  "key",
  "createdAt",
  "token",
  "leaseUntil",
  "dueAt",
  "signals",
  "finishedAt",
  "checksum",
  "outcomeChecksum"
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

/** The lease of a dead process has ended, whatever its row says. */
const runOf = (row: RunRow, isGone: (owner: string) => boolean): Run => {
  const { createdAt, dueAt, exit, finishedAt, id, input, key, owner, signals, status, token, version, workflow } = row
  const isLeased = typeof owner === "string" && !isGone(owner)
  return {
    key,
    id,
    workflow,
    version,
    input,
    labels: toLabels(row.labels),
    // Lists show damaged rows too, as marked.
    createdAt: isTime(createdAt) ? createdAt : 0,
    token,
    owner: isLeased ? owner : undefined,
    leaseUntil: isLeased ? (row.leaseUntil ?? undefined) : undefined,
    dueAt,
    waiting: row.waiting ?? undefined,
    signals,
    outcome: status === null ? undefined : outcomeOf(status, exit, finishedAt)
  }
}

const outcomeOf = (status: Outcome["status"], exit: string | null, at: number | null): Outcome => ({
  status,
  exit: exit ?? "",
  at: isTime(at) ? (at ?? 0) : 0
})
