import { limitOf } from "../internal/status.js"
import type { FullSnapshot, Rewound, Snapshot, SnapshotQuery } from "../Storage.js"
import type { Database, Statement } from "./driver.js"
import { toLabels } from "./labels.js"

const about = "key, run, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at, rewound"

/** Programs have few shapes of queries; whoever makes them up as they go must not fill the memory. */
const maxQueries = 100

type Row = Omit<Snapshot, "run" | "labels" | "rewound"> & {
  readonly run: string | null
  readonly labels: string
  readonly rewound: number
}

type FullRow = Row & { readonly state: string | Uint8Array }

/** The statements over snapshots; synchronous, to be called where the connection is held. */
export const makeSqliteSnapshots = (database: Database) => {
  const insert = database.prepare(
    `INSERT INTO recovery_snapshots
       (key, run, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at, rewound, state)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)`
  )
  const newestKey = database.prepare("SELECT max(key) AS key FROM recovery_snapshots")
  const lastKey = database.prepare(
    "SELECT key FROM recovery_snapshots WHERE run IS ? AND name = ? AND NOT rewound ORDER BY key DESC LIMIT 1"
  )
  const get = database.prepare(`SELECT ${about}, state FROM recovery_snapshots WHERE key = ?`)
  const remove = database.prepare("DELETE FROM recovery_snapshots WHERE key = ?")
  const markRewound = database.prepare(
    `UPDATE recovery_snapshots SET rewound = 1
     WHERE run = $run AND seq > $after AND substr(step, 1, length($within)) = $within`
  )
  const queries = new Map<string, Statement>()

  /**
   * Rises with the clock, and never names another snapshot, also when the newest one was removed: AUTOINCREMENT does the
   * same for a quarter of an insert's time.
   */
  let lastGiven = 0
  const nextKey = (at: number): number => {
    const { key } = newestKey.get() as { readonly key: number | null }
    lastGiven = Math.max(lastGiven + 1, (key ?? 0) + 1, Math.floor(at) * 1_000)
    return lastGiven
  }

  const prepared = (columns: string, query: SnapshotQuery) => {
    const { conditions, params } = filter(query)
    const where = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`
    // A limit that is bound costs three times as much: SQLite plans such a statement again at each use.
    const text = `SELECT ${columns} FROM recovery_snapshots ${where} ORDER BY key DESC LIMIT ${limitOf(query)}`
    const statement = queries.get(text) ?? database.prepare(text)
    if (queries.size >= maxQueries) queries.clear()
    queries.set(text, statement)
    return { statement, params }
  }

  return {
    save: (snapshot: Omit<FullSnapshot, "key" | "rewound">, after: number | undefined): number | undefined => {
      const { digest, encoding, kind, name, schema, seq, size, state, step, version } = snapshot
      const run = snapshot.run ?? null
      if (after !== undefined) {
        const last = lastKey.get(run, name) as { readonly key: number } | undefined
        if ((last?.key ?? 0) !== after) return undefined
      }
      const { about, at } = snapshot
      const labels = labelsOf(snapshot.labels)
      const key = nextKey(at)
      insert.run(key, run, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at, state)
      return key
    },
    list: (query: SnapshotQuery): ReadonlyArray<Snapshot> => {
      const { params, statement } = prepared(about, query)
      return (statement.all(...params) as ReadonlyArray<Row>).map((row) => toSnapshot(row))
    },
    newest: (query: SnapshotQuery): FullSnapshot | undefined => {
      const { params, statement } = prepared(`${about}, state`, { ...query, limit: 1 })
      const row = statement.get(...params) as FullRow | undefined
      return row && toSnapshot(row)
    },
    get: (key: number): FullSnapshot | undefined => {
      const row = get.get(key) as FullRow | undefined
      return row && toSnapshot(row)
    },
    markRewound: (run: string, rewound: Rewound) => {
      markRewound.run({ run, ...rewound })
    },
    remove: (keys: ReadonlyArray<number>): number => keys.reduce((removed, key) => removed + remove.run(key).changes, 0)
  }
}

/** Only the conditions a query has, so that each shape of query can use its index. */
const filter = (query: SnapshotQuery) => {
  const given: ReadonlyArray<readonly [condition: string, value: unknown]> = [
    ["run IS ?", query.run],
    ["name = ?", query.name],
    ["kind = ?", query.kind],
    ["kind <> ?", query.except],
    ["key < ?", query.before],
    ["at < ?", query.takenBefore]
  ]
  const used = given.filter(([, value]) => value !== undefined)
  const labels = Object.entries(query.labels ?? {})
  return {
    conditions: [
      ...used.map(([condition]) => condition),
      ...labels.map(
        () =>
          "EXISTS (SELECT 1 FROM json_each(iif(json_valid(labels), labels, '{}')) label WHERE label.key = ? AND label.value = ?)"
      ),
      ...(query.rewound === true ? [] : ["NOT rewound"])
    ],
    params: [...used.map(([, value]) => value), ...labels.flat()]
  }
}

const labelsOf = (labels: Readonly<Record<string, string>>): string => {
  for (const _ in labels) return JSON.stringify(labels)
  return "{}"
}

const toSnapshot = <R extends Row>(row: R): Omit<R, keyof Row> & Snapshot => ({
  ...row,
  run: row.run ?? undefined,
  labels: toLabels(row.labels),
  rewound: row.rewound === 1
})
