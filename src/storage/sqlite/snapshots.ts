import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { leaseLost, limitOf } from "../rows.js"
import type { LeaseLost } from "../StorageError.js"
import type { FullSnapshot, SaveOptions, Snapshot, SnapshotQuery, SnapshotStore } from "../Store.js"
import type { Database } from "./driver.js"
import { fromLabels, givenConditions, QueryCache, toLabels } from "./rows.js"
import type { RunTable } from "./runs.js"
import type { Access } from "./SqliteStore.js"

const about = "key, run, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at, rewound"

type Row = Omit<Snapshot, "run" | "labels" | "rewound"> & {
  readonly run: string | null
  readonly labels: string
  readonly rewound: number
}

type FullRow = Row & { readonly state: string | Uint8Array }

type New = Omit<FullSnapshot, "key" | "rewound">

/** The statements over snapshots. Call its methods while the connection is held. */
export class SnapshotTable {
  private readonly insertRow
  private readonly newestKey
  private readonly lastKey
  private readonly byKey
  private readonly removeRow
  private readonly queries: QueryCache
  private lastGiven = 0

  constructor(database: Database) {
    this.insertRow = database.prepare(
      `INSERT INTO recovery_snapshots
         (key, run, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at, rewound, state)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)`
    )
    this.newestKey = database.prepare("SELECT max(key) AS key FROM recovery_snapshots")
    this.lastKey = database.prepare(
      "SELECT key FROM recovery_snapshots WHERE run IS ? AND name = ? AND NOT rewound ORDER BY key DESC LIMIT 1"
    )
    this.byKey = database.prepare(`SELECT ${about}, state FROM recovery_snapshots WHERE key = ?`)
    this.removeRow = database.prepare("DELETE FROM recovery_snapshots WHERE key = ?")
    this.queries = new QueryCache(database)
  }

  /** Returns `undefined` if the newest snapshot of the run and name is not `after`. */
  insert(snapshot: New, after: number | undefined): number | undefined {
    const { about, at, digest, encoding, kind, name, schema, seq, size, state, step, version } = snapshot
    const run = snapshot.run ?? null
    if (after !== undefined) {
      const last = this.lastKey.get(run, name) as { readonly key: number } | undefined
      if ((last?.key ?? 0) !== after) return undefined
    }
    const labels = fromLabels(snapshot.labels)
    const key = this.nextKey(at)
    this.insertRow.run(
      key,
      run,
      step,
      seq,
      name,
      kind,
      version,
      schema,
      digest,
      size,
      encoding,
      labels,
      about,
      at,
      state
    )
    return key
  }

  /** Rises with the clock and is never used again, even after a removal, at a quarter of the cost of AUTOINCREMENT. */
  private nextKey(at: number): number {
    const { key } = this.newestKey.get() as { readonly key: number | null }
    this.lastGiven = Math.max(this.lastGiven + 1, (key ?? 0) + 1, Math.floor(at) * 1_000)
    return this.lastGiven
  }

  list(query: SnapshotQuery): ReadonlyArray<Snapshot> {
    const { params, statement } = this.select(about, query)
    return (statement.all(...params) as ReadonlyArray<Row>).map((row) => toSnapshot(row))
  }

  newest(query: SnapshotQuery): FullSnapshot | undefined {
    const { params, statement } = this.select(`${about}, state`, { ...query, limit: 1 })
    const row = statement.get(...params) as FullRow | undefined
    return row && toSnapshot(row)
  }

  get(key: number): FullSnapshot | undefined {
    const row = this.byKey.get(key) as FullRow | undefined
    return row && toSnapshot(row)
  }

  remove(key: number): boolean {
    return this.removeRow.run(key).changes === 1
  }

  private select(columns: string, query: SnapshotQuery) {
    const { conditions, params } = filter(query)
    const where = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`
    const text = `SELECT ${columns} FROM recovery_snapshots ${where} ORDER BY key DESC LIMIT ${limitOf(query)}`
    return { statement: this.queries.prepare(text), params }
  }
}

export const makeSqliteSnapshots = (table: SnapshotTable, runs: RunTable, access: Access): SnapshotStore => {
  const save = (
    snapshot: New,
    { after, entry, lease }: SaveOptions
  ): Effect.Effect<Option.Option<number>, LeaseLost> => {
    if (lease !== undefined && !runs.isLeased(lease)) return leaseLost(lease)
    const key = table.insert(snapshot, after)
    if (key !== undefined && lease !== undefined && entry !== undefined) runs.insert(lease, entry(key))
    return Effect.succeed(Option.fromNullable(key))
  }
  return {
    save: (snapshot, options) => access.attempt("Saving a snapshot", () => save(snapshot, options), runs.isAlone),
    snapshots: (query) => access.read("Listing snapshots", () => table.list(query)),
    newest: (query) => access.read("Reading a snapshot", () => Option.fromNullable(table.newest(query))),
    snapshot: (key) => access.read("Reading a snapshot", () => Option.fromNullable(table.get(key))),
    remove: (keys) => access.write("Removing snapshots", () => keys.filter((key) => table.remove(key)).length)
  }
}

const filter = (query: SnapshotQuery) => {
  const { conditions, params } = givenConditions([
    ["run IS ?", query.run],
    ["name = ?", query.name],
    ["kind = ?", query.kind],
    ["kind <> ?", query.except],
    ["key < ?", query.before],
    ["at < ?", query.takenBefore]
  ])
  const labels = Object.entries(query.labels ?? {})
  return {
    conditions: [
      ...conditions,
      ...labels.map(
        () =>
          "EXISTS (SELECT 1 FROM json_each(iif(json_valid(labels), labels, '{}')) label WHERE label.key = ? AND label.value = ?)"
      ),
      ...(query.rewound === true ? [] : ["NOT rewound"])
    ],
    params: [...params, ...labels.flat()]
  }
}

const toSnapshot = <R extends Row>(row: R): Omit<R, keyof Row> & Snapshot => ({
  ...row,
  run: row.run ?? undefined,
  labels: toLabels(row.labels),
  rewound: row.rewound === 1
})
