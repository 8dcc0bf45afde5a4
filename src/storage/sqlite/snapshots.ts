import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import { rowProblem, snapshotChecksum } from "../checksum.js"
import { type Answer, leaseLost, limitOf } from "../rows.js"
import type { LeaseLost } from "../StorageError.js"
import type { FullSnapshot, SaveOptions, Snapshot, SnapshotQuery, SnapshotStore } from "../Store.js"
import type { Database } from "./driver.js"
import { fromLabels, givenConditions, marked, QueryCache, refuseDamaged, toLabels } from "./rows.js"
import type { RunTable } from "./runs.js"
import type { Access } from "./SqliteStore.js"

const about =
  "key, run, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at, rewound, checksum"

type Row = Omit<Snapshot, "run" | "labels" | "rewound" | "damaged"> & {
  readonly run: string | null
  readonly labels: string
  readonly rewound: number
  readonly checksum: number | null
}

type FullRow = Row & { readonly state: string | Uint8Array }

type New = Omit<FullSnapshot, "key" | "rewound" | "damaged">

/** The statements over snapshots. Call them while the connection is held. */
const prepareSnapshots = (database: Database) => {
  const insertRow = database.prepare(
    `INSERT INTO recovery_snapshots
       (key, run, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at, rewound, checksum, state)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)`
  )
  const newestKey = database.prepare("SELECT max(key) AS key FROM recovery_snapshots")
  const lastKey = database.prepare(
    "SELECT key FROM recovery_snapshots WHERE run IS ? AND name = ? AND NOT rewound ORDER BY key DESC LIMIT 1"
  )
  const queries = new QueryCache(database)
  let lastGiven = 0

  /** Rises with the clock and is never used again, even after a removal, at a quarter of the cost of AUTOINCREMENT. */
  const nextKey = (at: number): number => {
    const { key } = newestKey.get() as { readonly key: number | null }
    lastGiven = Math.max(lastGiven + 1, (key ?? 0) + 1, Math.floor(at) * 1_000)
    return lastGiven
  }

  return {
    byKey: database.prepare(`SELECT ${about}, state FROM recovery_snapshots WHERE key = ?`),
    remove: database.prepare("DELETE FROM recovery_snapshots WHERE key = ?"),
    select: (columns: string, query: SnapshotQuery) => {
      const { params, where } = filter(query)
      const text = `SELECT ${columns} FROM recovery_snapshots ${where} ORDER BY key DESC LIMIT ${limitOf(query)}`
      return { statement: queries.prepare(text), params }
    },
    /** Returns `undefined` if the newest snapshot of the run and name is not `after`. */
    insert: (snapshot: New, after: number | undefined): number | undefined => {
      if (after !== undefined) {
        const last = lastKey.get(snapshot.run ?? null, snapshot.name) as { readonly key: number } | undefined
        if ((last?.key ?? 0) !== after) return undefined
      }
      const labels = fromLabels(snapshot.labels)
      const key = nextKey(snapshot.at)
      const { about, at, digest, encoding, kind, name, run, schema, seq, size, state, step, version } = snapshot
      // Field by field, as where it was made: copies by spreading cost more than the checksum.
      const facts = { run, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at }
      const checksum = snapshotChecksum({ ...facts, key })
      const values = [run ?? null, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at]
      insertRow.run(key, ...values, checksum, state)
      return key
    }
  }
}

export const makeSqliteSnapshots = (database: Database, runs: RunTable, access: Access): SnapshotStore => {
  const sql = prepareSnapshots(database)
  const save = (snapshot: New, { after, entry, lease }: SaveOptions): Answer<Option.Option<number>, LeaseLost> => {
    if (lease !== undefined && !runs.isLeased(lease)) return leaseLost(lease)
    const key = sql.insert(snapshot, after)
    if (key !== undefined && lease !== undefined && entry !== undefined) runs.insert(lease, entry(key))
    return Exit.succeed(Option.fromNullable(key))
  }
  const full = (row: unknown): Option.Option<FullSnapshot> =>
    Option.map(Option.fromNullable(row as FullRow | undefined), (row) => {
      refuseDamaged(problemOf(row), () => `checkpoint "${row.name}" (${row.key})`)
      return { ...toSnapshot(row), state: row.state }
    })
  return {
    save: (snapshot, options) => access.attempt("Saving a snapshot", () => save(snapshot, options), runs.isAlone),
    snapshots: (query) =>
      access.read("Listing snapshots", () => {
        const { params, statement } = sql.select(about, query)
        return (statement.all(...params) as ReadonlyArray<Row>).map((row) => marked(toSnapshot(row), problemOf(row)))
      }),
    newest: (query) =>
      access.read("Reading a snapshot", () => {
        const { params, statement } = sql.select(`${about}, state`, { ...query, limit: 1 })
        return full(statement.get(...params))
      }),
    snapshot: (key) => access.read("Reading a snapshot", () => full(sql.byKey.get(key))),
    remove: (keys) =>
      access.write("Removing snapshots", () => keys.reduce((removed, key) => removed + sql.remove.run(key).changes, 0))
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
  const all = [
    ...conditions,
    ...labels.map(
      () =>
        "EXISTS (SELECT 1 FROM json_each(iif(json_valid(labels), labels, '{}')) label WHERE label.key = ? AND label.value = ?)"
    ),
    ...(query.rewound === true ? [] : ["NOT rewound"])
  ]
  return { where: all.length === 0 ? "" : `WHERE ${all.join(" AND ")}`, params: [...params, ...labels.flat()] }
}

const problemOf = (row: Row): string | undefined => {
  const { about, at, checksum, digest, encoding, kind, labels, name, rewound, run, schema, size, step, version } = row
  if ([version, size, at].some((value) => typeof value !== "number")) return "a number is stored as something else"
  const stored = rewound === 0 || checksum === null ? checksum : -1 - checksum
  return rowProblem(stored, [run ?? "", step, name, kind, schema, digest, encoding, labels, about], () =>
    snapshotChecksum({ ...row, run: run ?? undefined })
  )
}

const toSnapshot = (row: Row): Snapshot => {
  const { about, at, digest, encoding, key, kind, name, schema, seq, size, step, version } = row
  return {
    key,
    run: row.run ?? undefined,
    step,
    seq,
    name,
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
