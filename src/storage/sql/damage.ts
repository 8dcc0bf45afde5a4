/** What is wrong with rows, in words, in whatever database they are stored. */
import { rowProblem, signalChecksum } from "../checksum.js"
import type { Damage, Signal } from "../Store.js"
import { toLabels } from "../sqlite/rows.js"
import { type EntryRow, lineOf, lineProblem } from "../sqlite/runRows.js"
import type { Tables } from "./reading.js"
import { type RecordTableRow, recordProblem } from "./recordRows.js"
import { type FullRow, type SnapshotRow, snapshotProblem } from "./snapshotRows.js"

export type Found = ReadonlyArray<Damage>

export const damage = (what: string, run: string | undefined, problem: string | undefined): Found =>
  problem === undefined ? [] : [{ what, run, problem }]

/** A run as far as its other rows are compared with it. */
interface Run {
  readonly key: number
  readonly id: string
  readonly signals: number
}

export const damageOfLines = ({ id, key }: Run, lines: ReadonlyArray<EntryRow>): Found =>
  lines.flatMap((row, i) => damage(lineOf(row), id, lineProblem(key, row, lines[i - 1]?.seq ?? null, lines)))

/** A signal as it is stored, with its position. */
export interface StoredSignal extends Signal {
  readonly seq: number
  readonly checksum: number | null
}

export const damageOfSignals = ({ id, key, signals: count }: Run, signals: ReadonlyArray<StoredSignal>): Found => {
  const { length } = signals
  const ofSignal = ({ checksum, seq, ...signal }: StoredSignal, i: number): Found => {
    const problem = rowProblem(checksum, [signal.key, signal.payload], () => signalChecksum(key, signal))
    return damage(`signal "${signal.key}"`, id, problem ?? (seq === i + 1 ? undefined : `its position is ${seq}`))
  }
  // A run that counts too many is not woken by the next signal, one that counts too few never sleeps.
  const counted = count === length ? undefined : `it counts ${count} signals, and ${length} are stored`
  return [...damage("the run", id, counted), ...signals.flatMap(ofSignal)]
}

export const damageOfSnapshot = (row: FullRow): Found =>
  damage(`checkpoint "${row.name}" (${row.key})`, row.run ?? undefined, snapshotProblem(row, row.state))

export const damageOfRecord = (row: RecordTableRow): Found =>
  damage(`the record of ${row.kind} "${row.id}"`, undefined, recordProblem(row))

const excess = "the index of labels has one that the checkpoint has not"
const lack = "the index of labels lacks one of them"

/** A row that a statement found for `damageOfLabels`. */
export interface LabelDamage {
  readonly key: number
  /** Null if there is no such checkpoint. */
  readonly name: string | null
  readonly run: string | null
  readonly problem: string
}

export const damageOfLabels = ({ key, name, problem, run }: LabelDamage): Found =>
  damage(
    name === null ? `labels of checkpoint ${key}` : `labels of checkpoint "${name}" (${key})`,
    run ?? undefined,
    problem
  )

/** Compares the labels that are stored with a checkpoint and those by which it is found. */
export const labelDamageOf = (
  row: SnapshotRow,
  index: ReadonlyArray<{ readonly label: string; readonly value: string }>
): ReadonlyArray<LabelDamage> => {
  const { key, name, run } = row
  const own = toLabels(row.labels)
  const isOwn = ({ label, value }: (typeof index)[number]) => Object.hasOwn(own, label) && own[label] === value
  return [
    ...(index.every(isOwn) ? [] : [{ key, name, run, problem: excess }]),
    ...(index.filter(isOwn).length === Object.keys(own).length ? [] : [{ key, name, run, problem: lack }])
  ]
}

/** As `labelDamageOf`, of all checkpoints in SQLite, where no index leads from a checkpoint to its labels. */
export const findLabelDamage = ({ table }: Tables): string =>
  `SELECT snapshot AS key, name, run, '${excess}' AS problem
     FROM ${table("labels")} index_row LEFT JOIN ${table("snapshots")} ON key = snapshot
     WHERE NOT EXISTS (
       SELECT 1 FROM json_each(iif(json_valid(labels), labels, '{}')) own
       WHERE own.key = index_row.label AND own.value = index_row.value
     ) GROUP BY snapshot
   UNION ALL SELECT snapshots.key, name, run, '${lack}'
     FROM ${table("snapshots")} snapshots, json_each(iif(json_valid(labels), labels, '{}')) own
     WHERE own.type = 'text' AND NOT EXISTS (
       SELECT 1 FROM ${table("labels")}
       WHERE label = own.key AND value = own.value AND snapshot = snapshots.key
     ) GROUP BY snapshots.key`

/** A run whose labels differ from those by which it is found. */
export interface RunLabelDamage {
  readonly key: number
  /** Null if there is no such run. */
  readonly id: string | null
  readonly problem: string
}

export const damageOfRunLabels = ({ id, key, problem }: RunLabelDamage): Found =>
  id === null ? damage(`labels of run ${key}`, undefined, problem) : damage("labels of the run", id, problem)

/** The index of labels of all runs, compared with their labels, in SQLite. */
export const findRunLabelDamage = ({ table }: Tables): string =>
  `SELECT run AS key, id, 'the index of labels has one that the run has not' AS problem
     FROM ${table("run_labels")} index_row LEFT JOIN ${table("runs")} ON key = run
     WHERE NOT EXISTS (
       SELECT 1 FROM json_each(iif(json_valid(labels), labels, '{}')) own
       WHERE own.key = index_row.label AND own.value = index_row.value
     ) GROUP BY run
   UNION ALL SELECT runs.key, runs.id, '${lack}'
     FROM ${table("runs")} runs, json_each(iif(json_valid(labels), labels, '{}')) own
     WHERE own.type = 'text' AND NOT EXISTS (
       SELECT 1 FROM ${table("run_labels")} WHERE label = own.key AND value = own.value AND run = runs.key
     ) GROUP BY runs.key`

/** Rows of a run that is not stored. */
export interface Orphans {
  readonly what: string
  readonly run: string
  readonly rows: number
}

export const damageOfOrphans = ({ rows, run, what }: Orphans): Found =>
  damage(`${rows} ${what}`, run, "their run is not stored")

export const findOrphans = ({ table }: Tables): string => {
  const withoutRun = (name: string, what: string) =>
    `SELECT '${what}' AS what, 'number ' || one.run AS run, COUNT(*) AS rows FROM ${table(name)} one
       WHERE NOT EXISTS (SELECT 1 FROM ${table("runs")} owner WHERE owner.key = one.run) GROUP BY one.run`
  return `${withoutRun("journal", "lines")} UNION ALL ${withoutRun("signals", "signals")}
    UNION ALL SELECT 'checkpoints', one.run, COUNT(*) FROM ${table("snapshots")} one
      WHERE one.run IS NOT NULL AND NOT EXISTS (SELECT 1 FROM ${table("runs")} owner WHERE owner.id = one.run)
      GROUP BY one.run`
}

/** Columns of SQLite that hold something else. They have no checksum. */
export const findOtherDamage = ({ table }: Tables): string =>
  `SELECT 'lock "' || name || '"' AS what FROM ${table("locks")}
     WHERE typeof(name) <> 'text' OR typeof(token) NOT IN ('integer', 'real') OR typeof(since) NOT IN ('integer', 'real')
       OR typeof(owner) NOT IN ('text', 'null') OR typeof(lease_until) NOT IN ('integer', 'real', 'null')
   UNION ALL SELECT 'counter "' || name || '"' FROM ${table("counters")}
     WHERE typeof(name) <> 'text' OR typeof(value) NOT IN ('integer', 'real')`

export const otherDamage = ({ what }: { readonly what: string }): Found =>
  damage(what, undefined, "a column is stored as something else")
