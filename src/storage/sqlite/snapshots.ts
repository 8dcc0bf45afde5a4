import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { rowProblem, snapshotChecksum } from "../checksum.js"
import { type Answer, entryOfSave, leaseLost, limitOf } from "../rows.js"
import type { LeaseLost } from "../StorageError.js"
import type {
  FullSnapshot,
  IfKeyExists,
  NewSnapshot,
  SaveOptions,
  Snapshot,
  SnapshotQuery,
  SnapshotStore
} from "../Store.js"
import type { Database, Statement } from "./driver.js"
import {
  fromLabels,
  givenConditions,
  hasProperties,
  isTime,
  marked,
  QueryCache,
  refuseDamaged,
  toLabels
} from "./rows.js"
import type { RunTable } from "./runTable.js"
import type { Access } from "./SqliteStore.js"

const about =
  "key, run, step, seq, name, own, kind, version, schema, digest, size, encoding, labels, about, at, rewound, checksum"

type Row = Omit<Snapshot, "run" | "own" | "labels" | "rewound" | "damaged"> & {
  readonly run: string | null
  readonly own: string | null
  readonly labels: string
  readonly rewound: number
  readonly checksum: number | null
}

/** A snapshot as it is stored. */
export type FullRow = Row & { readonly state: string | Uint8Array }

/** A condition of a query, with its parameters. */
interface Condition {
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
}

/** The statements over snapshots. Call them while the connection is held. */
const prepareSnapshots = (database: Database) => {
  const insertRow = database.prepare(
    `INSERT INTO recovery_snapshots
       (key, run, step, seq, name, own, kind, version, schema, digest, size, encoding, labels, about, at, rewound, checksum, state)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)`
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
  const nextKey = (at: number): number => {
    const { key } = newestKey.get() as { readonly key: number | null }
    lastGiven = Math.max(lastGiven + 1, (key ?? 0) + 1, Math.floor(at) * 1_000)
    return lastGiven
  }

  /** Returns false if a snapshot with the same key is to be kept. */
  const makeRoom = ({ name, own, run, step }: NewSnapshot, ifKeyExists: IfKeyExists = "replace"): boolean => {
    if (own === undefined) return true
    const place = [name, own, run ?? null, step]
    if (ifKeyExists === "keep") return findSame.get(...place) === undefined
    removeSame.run(...place)
    return true
  }

  return {
    byKey: database.prepare(`SELECT ${about}, state FROM recovery_snapshots WHERE key = ?`),
    remove: database.prepare("DELETE FROM recovery_snapshots WHERE key = ?"),
    /** Returns `undefined` if the newest snapshot of the run and name is not `after`, or if one was kept. */
    insert: (snapshot: NewSnapshot, { after, ifKeyExists }: SaveOptions): number | undefined => {
      if (after !== undefined) {
        const last = lastKey.get(snapshot.run ?? null, snapshot.name) as { readonly key: number } | undefined
        if ((last?.key ?? 0) !== after) return undefined
      }
      // Before the other one is removed: it may have the highest number.
      const key = nextKey(snapshot.at)
      if (!makeRoom(snapshot, ifKeyExists)) return undefined
      const labels = fromLabels(snapshot.labels)
      const { about, at, digest, encoding, kind, name, own, run, schema, seq, size, state, step, version } = snapshot
      // Field by field, as where it was made: copies by spreading cost more than the checksum.
      const facts = { run, step, seq, name, own, kind, version, schema, digest, size, encoding, labels, about, at }
      const checksum = snapshotChecksum({ ...facts, key }, state)
      const place = [key, run ?? null, step, seq, name, own ?? null, kind]
      insertRow.run(...place, version, schema, digest, size, encoding, labels, about, at, checksum, state)
      return key
    }
  }
}

/** Enough to tell a rare label from a common one. */
const sample = 200

/** Queries over snapshots, each by the index that fits it. */
class Queries {
  private readonly cache: QueryCache
  private readonly countLabel: Statement

  constructor(database: Database) {
    this.cache = new QueryCache(database)
    this.countLabel = database.prepare(
      `SELECT count(*) AS count FROM (SELECT 1 FROM recovery_labels WHERE label = ? AND value = ? LIMIT ${sample})`
    )
  }

  select(columns: string, query: SnapshotQuery) {
    const labels = Object.entries(query.labels ?? {})
    const isNarrow = typeof query.run === "string" || query.own !== undefined
    const rarest = isNarrow ? undefined : this.rarest(labels)
    const key = rarest === undefined ? "key" : "snapshot"
    const conditions = [
      ...(rarest === undefined ? [] : [{ sql: "label = ? AND value = ?", params: rarest }]),
      ...conditionsOf(query, key),
      ...labels.filter((label) => label !== rarest).map(hasLabel)
    ]
    const from = rarest === undefined ? "" : "recovery_labels CROSS JOIN "
    const on = rarest === undefined ? "" : "ON key = snapshot "
    const where = conditions.length === 0 ? "" : `WHERE ${conditions.map(({ sql }) => sql).join(" AND ")} `
    const tail = `ORDER BY ${orderOf(query, key)} LIMIT ${limitOf(query)}`
    const text = `SELECT ${columns} FROM ${from}recovery_snapshots ${on}${where}${tail}`
    return { statement: this.cache.prepare(text), params: conditions.flatMap(({ params }) => params) }
  }

  private rarest(labels: ReadonlyArray<readonly [string, string]>): readonly [string, string] | undefined {
    if (labels.length < 2) return labels[0]
    const counted = labels.map((label) => ({ label, ...(this.countLabel.get(...label) as { readonly count: number }) }))
    return counted.reduce((rarest, one) => (one.count < rarest.count ? one : rarest)).label
  }
}

const hasLabel = (label: readonly [string, string]): Condition => ({
  sql: "EXISTS (SELECT 1 FROM recovery_labels other WHERE other.label = ? AND other.value = ? AND other.snapshot = key)",
  params: label
})

/** `key` is the column with the number: that of the index which the statement reads in order. */
const conditionsOf = (query: SnapshotQuery, key: string): ReadonlyArray<Condition> => {
  const { own, past, metadata } = query
  const { conditions, params } = givenConditions([
    ["run IS ?", query.run],
    ["name = ?", query.name],
    ["kind = ?", query.kind],
    ["kind <> ?", query.except],
    [`${key} < ?`, query.before],
    [`${key} > ?`, query.after],
    ["at < ?", query.takenBefore],
    ["at > ?", query.takenAfter],
    ["own < ?", query.ownBefore],
    ["own > ?", query.ownAfter]
  ])
  return [
    { sql: conditions.join(" AND "), params },
    {
      sql: own === undefined ? "" : "own IN (SELECT value FROM json_each(?))",
      params: own ? [JSON.stringify(own)] : []
    },
    { sql: query.rewound === true ? "" : "NOT rewound", params: [] },
    { sql: isByKey(query) ? "own IS NOT NULL" : "", params: [] },
    past === undefined ? { sql: "", params: [] } : isPast(query, key, past),
    metadata === undefined ? { sql: "", params: [] } : { sql: hasProperties("about", "$.metadata"), params: [metadata] }
  ].filter(({ sql }) => sql !== "")
}

const isByKey = ({ order }: SnapshotQuery): boolean => order === "highestKey" || order === "lowestKey"

const isAscending = ({ order }: SnapshotQuery): boolean => order === "oldest" || order === "lowestKey"

const isPast = (query: SnapshotQuery, key: string, past: Pick<Snapshot, "key" | "own">): Condition => {
  const compare = isAscending(query) ? ">" : "<"
  return isByKey(query)
    ? { sql: `(own, ${key}) ${compare} (?, ?)`, params: [past.own ?? "", past.key] }
    : { sql: `${key} ${compare} ?`, params: [past.key] }
}

const orderOf = (query: SnapshotQuery, key: string): string => {
  const direction = isAscending(query) ? "ASC" : "DESC"
  return isByKey(query) ? `own ${direction}, ${key} ${direction}` : `${key} ${direction}`
}

export const makeSqliteSnapshots = (database: Database, runs: RunTable, access: Access): SnapshotStore => {
  const sql = prepareSnapshots(database)
  const queries = new Queries(database)

  const save = (snapshot: NewSnapshot, options: SaveOptions): Answer<Option.Option<number>, LeaseLost> => {
    const { entry, lease } = options
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

  const all = <R extends Row>(columns: string, query: SnapshotQuery): ReadonlyArray<R> => {
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
    save: (snapshot, options) => access.attempt("Saving a snapshot", () => save(snapshot, options), runs.alone),
    saveAll: (saves, lease) => access.attempt("Saving snapshots", () => saveAll(saves, lease), runs.alone),
    snapshots: (query) =>
      access.read("Listing snapshots", () =>
        all(about, query).map((row) => marked(toSnapshot(row), snapshotProblem(row)))
      ),
    fullSnapshots: (query) => access.read("Reading snapshots", () => allFull(query).map(toFull)),
    newest: (query) => access.read("Reading a snapshot", () => full(allFull({ ...query, limit: 1 })[0])),
    snapshot: (key) => access.read("Reading a snapshot", () => full(sql.byKey.get(key))),
    remove: (keys) =>
      access.write("Removing snapshots", () => keys.reduce((removed, key) => removed + sql.remove.run(key).changes, 0))
  }
}

/** Throws if the index of labels leads to a row that has other labels. A row that is damaged itself is marked instead. */
const refuseOtherLabels = (row: Row, wanted: Readonly<Record<string, string>>): void => {
  const own = toLabels(row.labels)
  const hasAll = Object.entries(wanted).every(([label, value]) => Object.hasOwn(own, label) && own[label] === value)
  if (hasAll || snapshotProblem(row) !== undefined) return
  refuseDamaged("the index leads to another row", () => `the labels of checkpoint "${row.name}" (${row.key})`)
}

/** A row without a digest can only be verified with its state. */
export const snapshotProblem = (row: Row, state?: string | Uint8Array): string | undefined => {
  const { about, at, checksum, digest, encoding, kind, labels, name, own, rewound, run, schema } = row
  if ([row.version, row.size].some((value) => typeof value !== "number") || !isTime(at)) {
    return "a number is stored as something else"
  }
  const isUnchecked = checksum === null || (digest === "" && state === undefined)
  const stored = isUnchecked ? null : rewound === 0 ? checksum : -1 - checksum
  const texts = [run ?? "", row.step, name, own ?? "", kind, schema, digest, encoding, labels, about]
  const facts = () => ({ ...row, run: run ?? undefined, own: own ?? undefined })
  return rowProblem(stored, texts, () => snapshotChecksum(facts(), state ?? ""))
}

const toSnapshot = (row: Row): Snapshot => {
  const { about, at, digest, encoding, key, kind, name, schema, seq, size, step, version } = row
  return {
    key,
    run: row.run ?? undefined,
    step,
    seq,
    name,
    own: row.own ?? undefined,
    kind,
    version,
    schema,
    digest,
    size,
    encoding,
    labels: toLabels(row.labels),
    about,
    at,
    rewound: row.rewound === 1
  }
}

const toFull = (row: FullRow): FullSnapshot => {
  refuseDamaged(snapshotProblem(row, row.state), () => `checkpoint "${row.name}" (${row.key})`)
  const { state } = row
  // The driver returns bytes as a `Buffer`, which is not the type that was saved.
  const plain = typeof state === "string" ? state : new Uint8Array(state.buffer, state.byteOffset, state.byteLength)
  return { ...toSnapshot(row), state: plain }
}
