import * as Effect from "effect/Effect"
import { messageOf } from "../../resilience/Foreign.js"
import type { Reason, StorageError } from "../StorageError.js"
import type { Damage } from "../Store.js"
import { type EntryRow, type RunRow, runColumns, runProblem } from "../sqlite/runRows.js"
import type { Access } from "./access.js"
import {
  damage,
  damageOfLabels,
  damageOfLines,
  damageOfOrphans,
  damageOfRecord,
  damageOfSignals,
  damageOfSnapshot,
  type Found,
  findLabelDamage,
  findOrphans,
  findOtherDamage,
  type LabelDamage,
  labelDamageOf,
  type Orphans,
  otherDamage,
  type StoredSignal
} from "./damage.js"
import { isOneOf, toNumbers } from "./reading.js"
import { type RecordTableRow, recordColumns, recordNumbers } from "./recordRows.js"
import { toRunNumbers } from "./runRows.js"
import { fullColumns, type StoredRow, snapshotNumbers, toFullRow } from "./snapshotRows.js"

/** Rows in one statement, which holds no transaction open after it. */
const page = 200

/** The database cannot read a part of what it stores. Any other failure ends the check. */
const unreadable: ReadonlyArray<Reason> = ["Corrupt", "Damaged", "Io", "Rejected"]

/**
 * Reads every row. A part that the database cannot read is damage, too, and does
 * not end the check. Postgres has no statement that compares its indexes with
 * their tables.
 */
export const makeSqlCheck = (access: Access): Effect.Effect<Found, StorageError> => {
  const isSqlite = access.dialect.name === "sqlite"
  const read = makeRead(access)
  const all = <R extends object>(what: string, text: string, damageOf: (row: R) => Found) =>
    Effect.map(read<R>(what, text), (rows) => (isRows(rows) ? rows.flatMap(damageOf) : [rows]))
  const ofSqlite = [
    all<{ readonly integrity_check: string }>(
      "the file",
      "PRAGMA integrity_check(100)",
      ({ integrity_check: result }) => damage("the file", undefined, result === "ok" ? undefined : result)
    ),
    all<LabelDamage>("the labels of checkpoints", findLabelDamage(access), damageOfLabels),
    all<{ readonly what: string }>("locks and counters", findOtherDamage(access), otherDamage)
  ]
  const orphans = all<Orphans>("rows without a run", findOrphans(access), (row) =>
    damageOfOrphans({ ...row, rows: Number(row.rows) })
  )
  const parts = [...(isSqlite ? ofSqlite : []), orphans, ...pagesOf(access)]
  return Effect.map(Effect.all(parts), (parts) => parts.flat())
}

const isRows = <A>(found: ReadonlyArray<A> | Damage): found is ReadonlyArray<A> => Array.isArray(found)

/** The rows of a statement, or that they cannot be read. */
const makeRead =
  (access: Access) =>
  <R extends object>(
    what: string,
    text: string,
    params: ReadonlyArray<unknown> = []
  ): Effect.Effect<ReadonlyArray<R> | Damage, StorageError> =>
    Effect.catchIf(
      access.read<R>(`Checking ${what}`, text, params),
      ({ reason }) => unreadable.includes(reason),
      ({ cause }) => Effect.succeed({ what, run: undefined, problem: messageOf(cause) })
    )

/** The tables that are read page by page. */
const pagesOf = (access: Access): ReadonlyArray<Effect.Effect<Found, StorageError>> => {
  const { table } = access
  const read = makeRead(access)

  const pages = <R extends { readonly key: number }>(
    what: string,
    columns: string,
    name: string,
    toRow: (row: R) => R,
    damageOf: (rows: ReadonlyArray<R>) => Effect.Effect<Found, StorageError>
  ): Effect.Effect<Found, StorageError> =>
    Effect.gen(function* () {
      const text = `SELECT ${columns} FROM ${table(name)} WHERE key > ? ORDER BY key LIMIT ${page}`
      const found: Array<Found> = []
      for (let last = Number.MIN_SAFE_INTEGER; ; ) {
        const rows = yield* read<R>(what, text, [last])
        if (!isRows(rows)) return [...found.flat(), rows]
        const numbered = rows.map(toRow)
        found.push(yield* damageOf(numbered))
        const next = numbered.at(-1)
        if (next === undefined || rows.length < page) return found.flat()
        last = next.key
      }
    })

  return [
    pages<RunRow>("runs", runColumns, "runs", toRunNumbers(access), (rows) =>
      Effect.map(Effect.forEach(rows, damageOfRun(access)), (found) => found.flat())
    ),
    pages<StoredRow>(
      "checkpoints",
      fullColumns(access),
      "snapshots",
      toNumbers<StoredRow>(access, ...snapshotNumbers),
      (rows) =>
        Effect.map(damageOfIndex(access, rows), (ofIndex) => [
          ...rows.map(toFullRow).flatMap(damageOfSnapshot),
          ...ofIndex
        ])
    ),
    pages<RecordTableRow>(
      "records",
      recordColumns,
      "records",
      toNumbers<RecordTableRow>(access, ...recordNumbers),
      (rows) => Effect.succeed(rows.flatMap(damageOfRecord))
    )
  ]
}

/** The row, the lines and the signals of one run. */
const damageOfRun = (access: Access) => {
  const { table } = access
  const read = makeRead(access)
  const toLine = toNumbers<EntryRow>(
    access,
    ...(["seq", "attempt", "at", "checksum", "payloadChecksum", "previous"] as const)
  )
  const toSignal = toNumbers<StoredSignal>(access, "seq", "at", "checksum")
  return (run: RunRow): Effect.Effect<Found, StorageError> =>
    Effect.gen(function* () {
      const { id, key } = run
      const lines = yield* read<EntryRow>(
        `the journal of run "${id}"`,
        `SELECT seq, kind, step, attempt, at, payload, 0 AS omitted, checksum, payload_checksum AS "payloadChecksum", previous
         FROM ${table("journal")} WHERE run = ? ORDER BY seq`,
        [key]
      )
      const signals = yield* read<StoredSignal>(
        `the signals of run "${id}"`,
        `SELECT seq, key, payload, at, checksum FROM ${table("signals")} WHERE run = ? ORDER BY seq`,
        [key]
      )
      return [
        ...damage("the run", String(id), runProblem(run)),
        ...(isRows(lines) ? damageOfLines(run, lines.map(toLine)) : [{ ...lines, run: id }]),
        ...(isRows(signals) ? damageOfSignals(run, signals.map(toSignal)) : [{ ...signals, run: id }])
      ]
    })
}

/** In Postgres an index leads from a checkpoint to its labels. In SQLite one statement compares all. */
const damageOfIndex = (access: Access, rows: ReadonlyArray<StoredRow>): Effect.Effect<Found, StorageError> => {
  if (access.dialect.name === "sqlite" || rows.length === 0) return Effect.succeed([])
  const of = isOneOf(
    access,
    "snapshot",
    rows.map(({ key }) => key),
    "number"
  )
  const text = `SELECT label, value, snapshot FROM ${access.table("labels")} WHERE ${of.text}`
  return Effect.map(makeRead(access)<LabelRow>("the labels of checkpoints", text, of.params), (labels) => {
    if (!isRows(labels)) return [labels]
    const byKey = groupBy(labels)
    return rows.flatMap((row) => labelDamageOf(row, byKey.get(row.key) ?? [])).flatMap(damageOfLabels)
  })
}

const groupBy = (labels: ReadonlyArray<LabelRow>): ReadonlyMap<number, ReadonlyArray<LabelRow>> => {
  const groups = new Map<number, Array<LabelRow>>()
  for (const label of labels) {
    const key = Number(label.snapshot)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [label])
    else group.push(label)
  }
  return groups
}

interface LabelRow {
  readonly label: string
  readonly value: string
  readonly snapshot: unknown
}
