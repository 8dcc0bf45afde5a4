import { limitOf } from "../internal/status.js"
import type { Count, Counter, RecordQuery, RecordRow, RecordWrite } from "../Storage.js"
import type { Database, Statement } from "./driver.js"
import { toLabels } from "./labels.js"

type Row = Omit<RecordRow, "labels" | "updatedAt"> & { readonly labels: string; readonly updated_at: number }

const columns = "key, kind, id, subject, scope, status, labels, at, updated_at, revision, body"

const toRecord = ({ labels, updated_at, ...row }: Row): RecordRow => ({
  ...row,
  labels: toLabels(labels),
  updatedAt: updated_at
})

/** Records and counters; synchronous, to be called where the connection is held. */
export const makeSqliteRecords = (database: Database) => {
  const insert = database.prepare(
    `INSERT INTO recovery_records (kind, id, subject, scope, status, labels, at, updated_at, revision, body)
     VALUES ($kind, $id, $subject, $scope, $status, $labels, $now, $now, 1, $body)
     ON CONFLICT (kind, id) DO NOTHING RETURNING ${columns}`
  )
  const update = database.prepare(
    `UPDATE recovery_records SET subject = $subject, scope = $scope, status = $status, labels = $labels,
       updated_at = $now, revision = revision + 1, body = $body
     WHERE kind = $kind AND id = $id AND revision = $revision RETURNING ${columns}`
  )
  const find = database.prepare(`SELECT ${columns} FROM recovery_records WHERE kind = ? AND id = ?`)
  const remove = database.prepare("DELETE FROM recovery_records WHERE key = ?")
  const add = database.prepare(
    `INSERT INTO recovery_counters (name, value) VALUES (?, ?)
     ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`
  )
  const counters = database.prepare(
    "SELECT name, value FROM recovery_counters WHERE name >= ? AND name < ? AND value <> 0 ORDER BY name"
  )
  const queries = new Map<string, Statement>()

  const count = (counts: ReadonlyArray<Count>): void => {
    for (const one of counts) add.run(one.name, one.add)
  }

  return {
    count,
    write: (record: RecordWrite, counts: ReadonlyArray<Count>, now: number): RecordRow | undefined => {
      const { revision, ...given } = record
      const values = { ...given, labels: JSON.stringify(record.labels), now }
      const row = revision === 0 ? insert.get(values) : update.get({ ...values, revision })
      if (row === undefined) return undefined
      count(counts)
      return toRecord(row as Row)
    },
    find: (kind: string, id: string): RecordRow | undefined => {
      const row = find.get(kind, id) as Row | undefined
      return row && toRecord(row)
    },
    list: (query: RecordQuery): ReadonlyArray<RecordRow> => {
      const { conditions, params } = filter(query)
      // A limit that is bound costs three times as much: SQLite plans such a statement again at each use.
      const text = `SELECT ${columns} FROM recovery_records WHERE ${conditions} ORDER BY key DESC LIMIT ${limitOf(query)}`
      const statement = queries.get(text) ?? database.prepare(text)
      if (queries.size >= maxQueries) queries.clear()
      queries.set(text, statement)
      return (statement.all(...params) as ReadonlyArray<Row>).map(toRecord)
    },
    counters: (prefix: string): ReadonlyArray<Counter> =>
      counters.all(prefix, `${prefix}\u{10ffff}`) as ReadonlyArray<Counter>,
    remove: (keys: ReadonlyArray<number>): number => keys.reduce((removed, key) => removed + remove.run(key).changes, 0)
  }
}

/** Programs have few shapes of queries; whoever makes them up as they go must not fill the memory. */
const maxQueries = 100

/** Only the conditions a query has, so that each shape of query can use its index. */
const filter = (query: RecordQuery) => {
  const given: ReadonlyArray<readonly [condition: string, value: unknown]> = [
    ["kind = ?", query.kind],
    ["subject = ?", query.subject],
    ["scope = ?", query.scope],
    ["status = ?", query.status],
    ["key < ?", query.before],
    ["updated_at <= ?", query.unchangedSince]
  ]
  const used = given.filter(([, value]) => value !== undefined)
  return {
    conditions: used.map(([condition]) => condition).join(" AND "),
    params: used.map(([, value]) => value)
  }
}
