import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { snapshotChecksum } from "../checksum.js"
import { type Answer, entryOfSave, leaseLost } from "../rows.js"
import type { LeaseLost } from "../StorageError.js"
import type { IfKeyExists, NewSnapshot, SaveOptions, SnapshotQuery, SnapshotStore } from "../Store.js"
import { sqliteDialect } from "../sql/dialect.js"
import type { Tables } from "../sql/reading.js"
import { countLabel, isByKey, leadingLabels, selectSnapshots } from "../sql/snapshotQuery.js"
import {
  type FullRow,
  refuseOtherLabels,
  type SnapshotRow,
  snapshotColumns,
  snapshotProblem,
  toFull,
  toSnapshot
} from "../sql/snapshotRows.js"
import type { Database, Statement } from "./driver.js"
import { removeEach } from "./removing.js"
import { fromLabels, marked, QueryCache } from "./rows.js"
import type { RunTable } from "./runTable.js"
import type { Access } from "./SqliteStore.js"

const about = snapshotColumns

/** The tables of the file. */
export const tables: Tables = { table: (name) => `recovery_${name}`, dialect: sqliteDialect }

/** The statements over snapshots. Call them while the connection is held. */
const prepareSnapshots = (database: Database) => {
  const columns =
    "(key, run, step, seq, name, own, kind, version, schema, digest, size, encoding, labels, about, at, rewound, checksum, state)"
  const values = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?"
  const insertRow = database.prepare(`INSERT INTO recovery_snapshots ${columns} VALUES (?, ${values})`)
  // If the key is not above all others it becomes one that exists, and nothing is inserted.
  const insertNewest = database.prepare(
    `INSERT OR IGNORE INTO recovery_snapshots ${columns}
     VALUES (MAX(?, COALESCE((SELECT MAX(key) FROM recovery_snapshots), 0)), ${values})`
  )
  const newestKey = database.prepare("SELECT max(key) AS key FROM recovery_snapshots")
  const lastKey = database.prepare(
    "SELECT key FROM recovery_snapshots WHERE run IS ? AND name = ? AND NOT rewound ORDER BY key DESC LIMIT 1"
  )
  const same = "name = ? AND own = ? AND run IS ? AND step = ? AND NOT rewound"
  const findSame = database.prepare(`SELECT 1 FROM recovery_snapshots WHERE ${same}`)
  const removeSame = database.prepare(`DELETE FROM recovery_snapshots WHERE ${same}`)
  let lastGiven = 0

  /** Rises with the clock and is never used again, even after a removal, at a quarter of the cost of AUTOINCREMENT. */
  const likelyKey = (at: number): number => {
    lastGiven = Math.max(lastGiven + 1, Math.floor(at) * 1_000)
    return lastGiven
  }

  const highestKey = (): number => (newestKey.get() as { readonly key: number | null }).key ?? 0

  const keyAbove = (highest: number, at: number): number => {
    lastGiven = Math.max(lastGiven, highest)
    return likelyKey(at)
  }

  /** Returns false if a snapshot with the same key is to be kept. */
  const makeRoom = ({ name, own, run, step }: NewSnapshot, ifKeyExists: IfKeyExists = "replace"): boolean => {
    if (own === undefined) return true
    const place = [name, own, run ?? null, step]
    if (ifKeyExists === "keep") return findSame.get(...place) === undefined
    removeSame.run(...place)
    return true
  }

  const insertAs = (statement: Statement, key: number, snapshot: NewSnapshot): boolean => {
    const labels = fromLabels(snapshot.labels)
    const { about, at, digest, encoding, kind, name, own, run, schema, seq, size, state, step, version } = snapshot
    // Field by field, as where it was made: copies by spreading cost more than the checksum.
    const checksum = snapshotChecksum(
      { run, step, seq, name, own, kind, version, schema, digest, size, encoding, labels, about, at, key },
      state
    )
    const inserted = statement.run(
      key,
      run ?? null,
      step,
      seq,
      name,
      own ?? null,
      kind,
      version,
      schema,
      digest,
      size,
      encoding,
      labels,
      about,
      at,
      checksum,
      state
    )
    return inserted.changes === 1
  }

  return {
    byKey: database.prepare(`SELECT ${about}, state FROM recovery_snapshots WHERE key = ?`),
    newestOf: database.prepare(
      `SELECT ${about}, state FROM recovery_snapshots WHERE run IS ? AND name = ? AND rewound = 0 ORDER BY key DESC LIMIT 1`
    ),
    remove: database.prepare("DELETE FROM recovery_snapshots WHERE key = ?"),
    /** Needs no transaction: one statement, and more only after another process has given a higher number. */
    insertSingle: (snapshot: NewSnapshot): number => {
      let key = likelyKey(snapshot.at)
      while (!insertAs(insertNewest, key, snapshot)) {
        const highest = highestKey()
        if (highest < key) {
          // It was not ignored for its number: this one throws what is wrong.
          insertAs(insertRow, key, snapshot)
          break
        }
        key = keyAbove(highest, snapshot.at)
      }
      return key
    },
    /** Returns `undefined` if the newest snapshot of the run and name is not `after`, or if one was kept. */
    insert: (snapshot: NewSnapshot, { after, ifKeyExists }: SaveOptions): number | undefined => {
      if (after !== undefined) {
        const last = lastKey.get(snapshot.run ?? null, snapshot.name) as { readonly key: number } | undefined
        if ((last?.key ?? 0) !== after) return undefined
      }
      // Before the other one is removed: it may have the highest number.
      const key = keyAbove(highestKey(), snapshot.at)
      if (!makeRoom(snapshot, ifKeyExists)) return undefined
      insertAs(insertRow, key, snapshot)
      return key
    }
  }
}

/** Whether one statement saves it: nothing is replaced, and neither a lease nor another snapshot decides. */
const isSingle = ({ own }: NewSnapshot, { after, entry, lease }: SaveOptions): boolean =>
  own === undefined && after === undefined && entry === undefined && lease === undefined

/** Whether a query names a run, or none, and a name, and nothing else: this is what programs ask for. */
const isOfPlace = (query: SnapshotQuery): boolean => {
  if (query.run === undefined || query.name === undefined) return false
  for (const key in query) {
    if (key === "run" || key === "name" || key === "limit") continue
    if (query[key as keyof SnapshotQuery] !== undefined) return false
  }
  return true
}

/** Queries over snapshots, each by the index that fits it. */
class Queries {
  private readonly cache: QueryCache
  private readonly countLabel: Statement

  constructor(database: Database) {
    this.cache = new QueryCache(database)
    this.countLabel = database.prepare(`SELECT ${countLabel(tables)} AS count`)
  }

  select(columns: string, query: SnapshotQuery) {
    const { params, text } = selectSnapshots(tables, columns, query, this.rarest(leadingLabels(query)))
    return { statement: this.cache.prepare(text), params }
  }

  private rarest(labels: ReadonlyArray<readonly [string, string]>): readonly [string, string] | undefined {
    if (labels.length < 2) return labels[0]
    const counted = labels.map((label) => ({ label, ...(this.countLabel.get(...label) as { readonly count: number }) }))
    return counted.reduce((rarest, one) => (one.count < rarest.count ? one : rarest)).label
  }
}

export const makeSqliteSnapshots = (database: Database, runs: RunTable, access: Access): SnapshotStore => {
  const sql = prepareSnapshots(database)
  const queries = new Queries(database)

  const save = (snapshot: NewSnapshot, options: SaveOptions): Answer<Option.Option<number>, LeaseLost> => {
    const { entry, lease } = options
    if (isSingle(snapshot, options)) return Exit.succeed(Option.some(sql.insertSingle(snapshot)))
    if (lease !== undefined && !runs.isLeased(lease)) return leaseLost(lease)
    const key = sql.insert(snapshot, options)
    if (key !== undefined && lease !== undefined && entry !== undefined) runs.insert(lease, entryOfSave(entry, key))
    return Exit.succeed(Option.fromNullable(key))
  }

  const saveAll = (
    saves: Parameters<SnapshotStore["saveAll"]>[0],
    lease: SaveOptions["lease"]
  ): Answer<ReadonlyArray<Option.Option<number>>, LeaseLost> =>
    lease !== undefined && !runs.isLeased(lease)
      ? leaseLost(lease)
      : Exit.succeed(
          saves.map(({ ifKeyExists, snapshot }) => Option.fromNullable(sql.insert(snapshot, { ifKeyExists })))
        )

  const all = <R extends SnapshotRow>(columns: string, query: SnapshotQuery): ReadonlyArray<R> => {
    const { params, statement } = queries.select(columns, query)
    const rows = statement.all(...params) as ReadonlyArray<R>
    if (query.labels !== undefined) for (const row of rows) refuseOtherLabels(row, query.labels)
    return rows
  }

  /** Sorting by key would carry the states of all matches along, so states are read after the sort. */
  const allFull = (query: SnapshotQuery): ReadonlyArray<FullRow> =>
    isByKey(query)
      ? all(about, query).map(({ key }) => sql.byKey.get(key) as FullRow)
      : all<FullRow>(`${about}, state`, query)

  const full = (row: unknown) => Option.map(Option.fromNullable(row as FullRow | undefined), toFull)

  return {
    save: (snapshot, options) =>
      access.attempt(
        "Saving a snapshot",
        () => save(snapshot, options),
        isSingle(snapshot, options) ? runs.single : runs.alone
      ),
    saveAll: (saves, lease) => access.attempt("Saving snapshots", () => saveAll(saves, lease), runs.alone),
    snapshots: (query) =>
      access.read("Listing snapshots", () =>
        all(about, query).map((row) => marked(toSnapshot(row), snapshotProblem(row)))
      ),
    fullSnapshots: (query) => access.read("Reading snapshots", () => allFull(query).map(toFull)),
    newest: (query) =>
      access.read("Reading a snapshot", () =>
        full(isOfPlace(query) ? sql.newestOf.get(query.run, query.name) : allFull({ ...query, limit: 1 })[0])
      ),
    snapshot: (key) => access.read("Reading a snapshot", () => full(sql.byKey.get(key))),
    remove: (keys) => removeEach(access, "Removing snapshots", keys, (key) => sql.remove.run(key).changes === 1)
  }
}
