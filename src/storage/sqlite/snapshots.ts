import type { FullSnapshot, Rewound, Snapshot, SnapshotQuery } from "../Storage.js"
import type { Database, Statement } from "./driver.js"

const about = "key, run, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at, rewound"

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
       (run, step, seq, name, kind, version, schema, digest, size, encoding, labels, about, at, rewound, state)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)`
  )
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

  const all = (columns: string, query: SnapshotQuery): ReadonlyArray<unknown> => {
    const { conditions, params } = filter(query)
    const where = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`
    const text = `SELECT ${columns} FROM recovery_snapshots ${where} ORDER BY key DESC LIMIT ?`
    const statement = queries.get(text) ?? database.prepare(text)
    queries.set(text, statement)
    return statement.all(...params, query.limit ?? 100)
  }

  return {
    save: (snapshot: Omit<FullSnapshot, "key" | "rewound">, after: number | undefined): number | undefined => {
      const { digest, encoding, kind, name, schema, seq, size, state, step, version } = snapshot
      const run = snapshot.run ?? null
      if (after !== undefined) {
        const last = lastKey.get(run, name) as { readonly key: number } | undefined
        if ((last?.key ?? 0) !== after) return undefined
      }
      const what = [run, step, seq, name, kind, version, schema, digest, size, encoding]
      const result = insert.run(...what, JSON.stringify(snapshot.labels), snapshot.about, snapshot.at, state)
      return Number(result.lastInsertRowid)
    },
    list: (query: SnapshotQuery): ReadonlyArray<Snapshot> =>
      (all(about, query) as ReadonlyArray<Row>).map((row) => toSnapshot(row)),
    newest: (query: SnapshotQuery): FullSnapshot | undefined => {
      const [row] = all(`${about}, state`, { ...query, limit: 1 }) as ReadonlyArray<FullRow>
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
    ["key < ?", query.before],
    ["at < ?", query.takenBefore]
  ]
  const used = given.filter(([, value]) => value !== undefined)
  const labels = Object.entries(query.labels ?? {})
  return {
    conditions: [
      ...used.map(([condition]) => condition),
      ...labels.map(() => "EXISTS (SELECT 1 FROM json_each(labels) label WHERE label.key = ? AND label.value = ?)"),
      ...(query.rewound === true ? [] : ["NOT rewound"])
    ],
    params: [...used.map(([, value]) => value), ...labels.flat()]
  }
}

const toSnapshot = <R extends Row>(row: R): Omit<R, keyof Row> & Snapshot => ({
  ...row,
  run: row.run ?? undefined,
  labels: JSON.parse(row.labels),
  rewound: row.rewound === 1
})
