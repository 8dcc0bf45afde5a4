import * as Effect from "effect/Effect"
import { rowProblem, signalChecksum } from "../checksum.js"
import type { StorageError } from "../StorageError.js"
import type { Damage } from "../Store.js"
import type { Database, Statement } from "./driver.js"
import { isBusy } from "./errors.js"
import { type RecordTableRow, recordProblem } from "./records.js"
import { type EntryRow, lineOf, lineProblem, type RunRow, runProblem, type SignalRow } from "./runRows.js"
import { runColumns } from "./runStatements.js"
import type { RunTable } from "./runTable.js"
import type { Access } from "./SqliteStore.js"
import { type FullRow, snapshotProblem } from "./snapshots.js"

/** Rows in one job, so that other statements get their turn. */
const page = 200

type Found = ReadonlyArray<Damage>

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

  const damage = (what: string, run: string | undefined, problem: string | undefined): Found =>
    problem === undefined ? [] : [{ what, run, problem }]

  /** The lines and signals of one run. */
  const ofRun = ({ id, key, signals: count }: RunRow): Found => {
    const lines = read(`the journal of run "${id}"`, () => table.sql.journal.all(key) as ReadonlyArray<EntryRow>)
    const ofSignal = ({ checksum, seq, ...signal }: SignalRow, i: number): Found => {
      const texts = [signal.key, signal.payload]
      const problem = rowProblem(checksum, texts, () => signalChecksum(key, signal))
      return damage(`signal "${signal.key}"`, id, problem ?? (seq === i + 1 ? undefined : `its position is ${seq}`))
    }
    // A run that counts too many is not woken by the next signal, one that counts too few never sleeps.
    const counted = ({ length }: ReadonlyArray<SignalRow>): Found =>
      damage("the run", id, count === length ? undefined : `it counts ${count} signals, and ${length} are stored`)
    const signals = read(`the signals of run "${id}"`, () => table.sql.signals.all(key, 0) as ReadonlyArray<SignalRow>)
    return [
      ...(isRows(lines)
        ? lines.flatMap((row, i) => damage(lineOf(row), id, lineProblem(key, row, lines[i - 1]?.seq ?? null, lines)))
        : [{ ...lines, run: id }]),
      ...(isRows(signals) ? [...counted(signals), ...signals.flatMap(ofSignal)] : [{ ...signals, run: id }])
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
    return found.flatMap(({ rows, run, what }) => damage(`${rows} ${what}`, run, "their run is not stored"))
  })

  const labels = access.read("Checking the labels of checkpoints", () => {
    const found = read("the labels of checkpoints", () => sql.labels.all() as ReadonlyArray<LabelDamage>)
    if (!isRows(found)) return [found]
    return found.flatMap(({ key, name, problem, run }) =>
      damage(
        name === null ? `labels of checkpoint ${key}` : `labels of checkpoint "${name}" (${key})`,
        run ?? undefined,
        problem
      )
    )
  })

  const others = access.read("Checking locks and counters", () => {
    const found = read("locks and counters", () => sql.others.all() as ReadonlyArray<{ readonly what: string }>)
    if (!isRows(found)) return [found]
    return found.flatMap(({ what }) => damage(what, undefined, "a column is stored as something else"))
  })

  return Effect.map(
    Effect.all([
      whole,
      pages<RunRow>("runs", sql.runs, (row) => [...damage("the run", String(row.id), runProblem(row)), ...ofRun(row)]),
      orphans,
      pages<FullRow>("checkpoints", sql.snapshots, (row) =>
        damage(`checkpoint "${row.name}" (${row.key})`, row.run ?? undefined, snapshotProblem(row, row.state))
      ),
      pages<RecordTableRow>("records", sql.records, (row) =>
        damage(`the record of ${row.kind} "${row.id}"`, undefined, recordProblem(row))
      ),
      labels,
      others
    ]),
    (parts) => parts.flat()
  )
}

const isRows = <A>(found: ReadonlyArray<A> | Damage): found is ReadonlyArray<A> => Array.isArray(found)

interface LabelDamage {
  readonly key: number
  /** Null if there is no such checkpoint. */
  readonly name: string | null
  readonly run: string | null
  readonly problem: string
}

interface Orphans {
  readonly what: string
  readonly run: string
  readonly rows: number
}

const prepareCheck = (database: Database) => ({
  // Compares indexes with their tables, which `quick_check` does not.
  integrity: database.prepare("PRAGMA integrity_check(100)"),
  // Without the index by id, which may be what is damaged.
  runs: database.prepare(`SELECT ${runColumns} FROM recovery_runs WHERE key > ? ORDER BY key LIMIT ?`),
  orphans: database.prepare(
    `SELECT 'lines' AS what, 'number ' || run AS run, COUNT(*) AS rows FROM recovery_journal
       WHERE run NOT IN (SELECT key FROM recovery_runs) GROUP BY run
     UNION ALL SELECT 'signals', 'number ' || run, COUNT(*) FROM recovery_signals
       WHERE run NOT IN (SELECT key FROM recovery_runs) GROUP BY run
     UNION ALL SELECT 'checkpoints', run, COUNT(*) FROM recovery_snapshots
       WHERE run IS NOT NULL AND run NOT IN (SELECT id FROM recovery_runs) GROUP BY run`
  ),
  snapshots: database.prepare("SELECT * FROM recovery_snapshots WHERE key > ? ORDER BY key LIMIT ?"),
  records: database.prepare(
    `SELECT key, kind, id, subject, scope, status, labels, at, updated_at AS updatedAt, revision, body, checksum
     FROM recovery_records WHERE key > ? ORDER BY key LIMIT ?`
  ),
  // Labels are stored with the checkpoint, and again in the index by which they are found.
  labels: database.prepare(
    `SELECT snapshot AS key, name, run, 'the index of labels has one that the checkpoint has not' AS problem
       FROM recovery_labels index_row LEFT JOIN recovery_snapshots ON key = snapshot
       WHERE NOT EXISTS (
         SELECT 1 FROM json_each(iif(json_valid(labels), labels, '{}')) own
         WHERE own.key = index_row.label AND own.value = index_row.value
       ) GROUP BY snapshot
     UNION ALL SELECT snapshots.key, name, run, 'the index of labels lacks one of them'
       FROM recovery_snapshots snapshots, json_each(iif(json_valid(labels), labels, '{}')) own
       WHERE own.type = 'text' AND NOT EXISTS (
         SELECT 1 FROM recovery_labels
         WHERE label = own.key AND value = own.value AND snapshot = snapshots.key
       ) GROUP BY snapshots.key`
  ),
  others: database.prepare(
    `SELECT 'lock "' || name || '"' AS what FROM recovery_locks
       WHERE typeof(name) <> 'text' OR typeof(token) NOT IN ('integer', 'real') OR typeof(since) NOT IN ('integer', 'real')
         OR typeof(owner) NOT IN ('text', 'null') OR typeof(lease_until) NOT IN ('integer', 'real', 'null')
     UNION ALL SELECT 'counter "' || name || '"' FROM recovery_counters
       WHERE typeof(name) <> 'text' OR typeof(value) NOT IN ('integer', 'real')`
  )
})
