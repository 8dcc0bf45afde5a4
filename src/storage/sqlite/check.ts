import * as Effect from "effect/Effect"
import type { StorageError } from "../StorageError.js"
import type { Damage } from "../Store.js"
import {
  damage,
  damageOfLabels,
  damageOfLines,
  damageOfOrphans,
  damageOfRecord,
  damageOfRunLabels,
  damageOfSignals,
  damageOfSnapshot,
  type Found,
  findLabelDamage,
  findOrphans,
  findOtherDamage,
  findRunLabelDamage,
  type LabelDamage,
  type Orphans,
  otherDamage,
  type RunLabelDamage
} from "../sql/damage.js"
import { type RecordTableRow, recordColumns } from "../sql/recordRows.js"
import type { FullRow } from "../sql/snapshotRows.js"
import type { Database, Statement } from "./driver.js"
import { isBusy } from "./errors.js"
import { type EntryRow, type RunRow, runColumns, runProblem, type SignalRow } from "./runRows.js"
import type { RunTable } from "./runTable.js"
import type { Access } from "./SqliteStore.js"
import { tables } from "./snapshots.js"

/** Rows in one job, so that other statements get their turn. */
const page = 200

/**
 * Reads every row. A part of the file that SQLite cannot read is damage, too, and
 * does not end the check.
 */
export const makeSqliteCheck = (
  database: Database,
  table: RunTable,
  access: Access
): Effect.Effect<Found, StorageError> => {
  const sql = prepareCheck(database)

  const read = <A>(what: string, part: () => ReadonlyArray<A>): ReadonlyArray<A> | Damage => {
    try {
      return part()
    } catch (cause) {
      if (isBusy(cause)) throw cause
      return { what, run: undefined, problem: cause instanceof Error ? cause.message : String(cause) }
    }
  }

  /** The problems of the rows after `key`, page by page. */
  const pages = <R extends { readonly key: number }>(
    what: string,
    statement: Statement,
    damageOf: (row: R) => Found
  ): Effect.Effect<Found, StorageError> => {
    const from = (key: number): Effect.Effect<Found, StorageError> =>
      Effect.flatMap(
        access.read(`Checking ${what}`, () => read(what, () => statement.all(key, page) as ReadonlyArray<R>)),
        (rows) => {
          if (!isRows(rows)) return Effect.succeed([rows])
          const found = rows.flatMap(damageOf)
          const last = rows.at(-1)?.key
          if (last === undefined || rows.length < page) return Effect.succeed(found)
          return Effect.map(from(last), (more) => [...found, ...more])
        }
      )
    return from(Number.MIN_SAFE_INTEGER)
  }

  /** The lines and signals of one run. */
  const ofRun = (run: RunRow): Found => {
    const { id, key } = run
    const lines = read(`the journal of run "${id}"`, () => table.sql.journal.all(key) as ReadonlyArray<EntryRow>)
    const signals = read(`the signals of run "${id}"`, () => table.sql.signals.all(key, 0) as ReadonlyArray<SignalRow>)
    return [
      ...(isRows(lines) ? damageOfLines(run, lines) : [{ ...lines, run: id }]),
      ...(isRows(signals) ? damageOfSignals(run, signals) : [{ ...signals, run: id }])
    ]
  }

  const whole = access.read("Checking the file", () => {
    const results = read("the file", () => sql.integrity.all() as ReadonlyArray<{ readonly integrity_check: string }>)
    if (!isRows(results)) return [results]
    return results.flatMap(({ integrity_check: result }) =>
      damage("the file", undefined, result === "ok" ? undefined : result)
    )
  })

  const orphans = access.read("Checking for rows without a run", () => {
    const found = read("rows without a run", () => sql.orphans.all() as ReadonlyArray<Orphans>)
    if (!isRows(found)) return [found]
    return found.flatMap(damageOfOrphans)
  })

  const labels = access.read("Checking the labels of checkpoints", () => {
    const found = read("the labels of checkpoints", () => sql.labels.all() as ReadonlyArray<LabelDamage>)
    if (!isRows(found)) return [found]
    return found.flatMap(damageOfLabels)
  })

  const runLabels = access.read("Checking the labels of runs", () => {
    const found = read("the labels of runs", () => sql.runLabels.all() as ReadonlyArray<RunLabelDamage>)
    if (!isRows(found)) return [found]
    return found.flatMap(damageOfRunLabels)
  })

  const others = access.read("Checking locks and counters", () => {
    const found = read("locks and counters", () => sql.others.all() as ReadonlyArray<{ readonly what: string }>)
    if (!isRows(found)) return [found]
    return found.flatMap(otherDamage)
  })

  return Effect.map(
    Effect.all([
      whole,
      pages<RunRow>("runs", sql.runs, (row) => [...damage("the run", String(row.id), runProblem(row)), ...ofRun(row)]),
      orphans,
      pages<FullRow>("checkpoints", sql.snapshots, damageOfSnapshot),
      pages<RecordTableRow>("records", sql.records, damageOfRecord),
      labels,
      runLabels,
      others
    ]),
    (parts) => parts.flat()
  )
}

const isRows = <A>(found: ReadonlyArray<A> | Damage): found is ReadonlyArray<A> => Array.isArray(found)

const prepareCheck = (database: Database) => ({
  // Compares indexes with their tables, which `quick_check` does not.
  integrity: database.prepare("PRAGMA integrity_check(100)"),
  // Without the index by id, which may be what is damaged.
  runs: database.prepare(`SELECT ${runColumns} FROM recovery_runs WHERE key > ? ORDER BY key LIMIT ?`),
  orphans: database.prepare(findOrphans(tables)),
  snapshots: database.prepare("SELECT * FROM recovery_snapshots WHERE key > ? ORDER BY key LIMIT ?"),
  records: database.prepare(`SELECT ${recordColumns} FROM recovery_records WHERE key > ? ORDER BY key LIMIT ?`),
  labels: database.prepare(findLabelDamage(tables)),
  runLabels: database.prepare(findRunLabelDamage(tables)),
  others: database.prepare(findOtherDamage(tables))
})
