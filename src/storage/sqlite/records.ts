import * as Option from "effect/Option"
import { limitOf } from "../rows.js"
import type { Count, Counter, RecordQuery, RecordRow, RecordStore, RecordWrite } from "../Store.js"
import type { Database } from "./driver.js"
import { fromLabels, givenConditions, QueryCache, toLabels } from "./rows.js"
import type { Access } from "./SqliteStore.js"

type Row = Omit<RecordRow, "labels"> & { readonly labels: string }

const columns = "key, kind, id, subject, scope, status, labels, at, updated_at AS updatedAt, revision, body"

const toRecord = (row: Row): RecordRow => ({ ...row, labels: toLabels(row.labels) })

export const makeSqliteRecords = (database: Database, access: Access): RecordStore => {
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
  const queries = new QueryCache(database)

  const toOption = (row: unknown) => Option.map(Option.fromNullable(row as Row | undefined), toRecord)

  const count = (counts: ReadonlyArray<Count>): void => {
    for (const one of counts) add.run(one.name, one.add)
  }

  const write = (record: RecordWrite, counts: ReadonlyArray<Count>, now: number): Option.Option<RecordRow> => {
    const { revision, ...given } = record
    const values = { ...given, labels: fromLabels(record.labels), now }
    const row = revision === 0 ? insert.get(values) : update.get({ ...values, revision })
    if (row !== undefined) count(counts)
    return toOption(row)
  }

  const list = (query: RecordQuery): ReadonlyArray<RecordRow> => {
    const { conditions, params } = givenConditions([
      ["kind = ?", query.kind],
      ["subject = ?", query.subject],
      ["scope = ?", query.scope],
      ["status = ?", query.status],
      ["key < ?", query.before],
      ["updated_at <= ?", query.unchangedSince]
    ])
    const where = conditions.join(" AND ")
    const text = `SELECT ${columns} FROM recovery_records WHERE ${where} ORDER BY key DESC LIMIT ${limitOf(query)}`
    return (queries.prepare(text).all(...params) as ReadonlyArray<Row>).map(toRecord)
  }

  return {
    write: (record, counts) => access.write("Writing a record", (now) => write(record, counts, now)),
    findRecord: (kind, id) => access.read("Finding a record", () => toOption(find.get(kind, id))),
    records: (query) => access.read("Listing records", () => list(query)),
    removeRecords: (keys) =>
      access.write("Removing records", () => keys.reduce((removed, key) => removed + remove.run(key).changes, 0)),
    count: (counts) => access.write("Counting", () => count(counts)),
    counters: (prefix) =>
      access.read("Reading counters", () => counters.all(prefix, `${prefix}\u{10ffff}`) as ReadonlyArray<Counter>)
  }
}
