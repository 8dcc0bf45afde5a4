import * as Option from "effect/Option"
import { recordChecksum } from "../checksum.js"
import { limitOf } from "../rows.js"
import type { Count, Counter, RecordQuery, RecordRow, RecordStore, RecordWrite } from "../Store.js"
import {
  afterPrefix,
  checkedCounter,
  checkedRecord,
  type RecordTableRow,
  recordColumns,
  recordProblem,
  toRecord
} from "../sql/recordRows.js"
import type { Database } from "./driver.js"
import { removeEach } from "./removing.js"
import { fromLabels, givenConditions, hasProperties, marked, QueryCache } from "./rows.js"
import type { Access } from "./SqliteStore.js"

export const makeSqliteRecords = (database: Database, access: Access): RecordStore => {
  const insert = database.prepare(
    `INSERT INTO recovery_records (kind, id, subject, scope, status, labels, at, updated_at, revision, body, checksum)
     VALUES ($kind, $id, $subject, $scope, $status, $labels, $at, $updatedAt, 1, $body, $checksum)
     ON CONFLICT (kind, id) DO NOTHING RETURNING ${recordColumns}`
  )
  const update = database.prepare(
    `UPDATE recovery_records SET subject = $subject, scope = $scope, status = $status, labels = $labels,
       updated_at = $updatedAt, revision = revision + 1, body = $body, checksum = $checksum
     WHERE kind = $kind AND id = $id AND revision = $revision RETURNING ${recordColumns}`
  )
  const find = database.prepare(`SELECT ${recordColumns} FROM recovery_records WHERE kind = ? AND id = ?`)
  const remove = database.prepare("DELETE FROM recovery_records WHERE key = ?")
  const add = database.prepare(
    `INSERT INTO recovery_counters (name, value) VALUES (?, ?)
     ON CONFLICT (name) DO UPDATE SET value = value + excluded.value`
  )
  const counters = database.prepare(
    "SELECT name, value FROM recovery_counters WHERE name >= ? AND name < ? AND value <> 0 ORDER BY name"
  )
  const queries = new QueryCache(database)

  /** Throws if the row is damaged. */
  const findRow = (kind: string, id: string): RecordTableRow | undefined => {
    const row = find.get(kind, id) as RecordTableRow | undefined
    return row && checkedRecord(kind, id, row)
  }

  const count = (counts: ReadonlyArray<Count>): void => {
    for (const one of counts) add.run(one.name, one.add)
  }

  const write = (record: RecordWrite, counts: ReadonlyArray<Count>, now: number): Option.Option<RecordRow> => {
    const { body, id, kind, revision, scope, status, subject } = record
    // The checksum covers when the record was first written, which a change keeps.
    const at = revision === 0 ? now : findRow(kind, id)?.at
    if (at === undefined) return Option.none()
    const next = { kind, id, subject, scope, status, labels: fromLabels(record.labels), at, updatedAt: now, body }
    const values = { ...next, checksum: recordChecksum({ ...next, revision: revision + 1 }) }
    const row = (revision === 0 ? insert.get(values) : update.get({ ...values, revision })) as
      | RecordTableRow
      | undefined
    if (row === undefined) return Option.none()
    count(counts)
    return Option.some(toRecord(row))
  }

  const list = (query: RecordQuery): ReadonlyArray<RecordRow> => {
    const { conditions, params } = givenConditions([
      ["kind = ?", query.kind],
      ["subject = ?", query.subject],
      ["scope = ?", query.scope],
      ["status = ?", query.status],
      ["key < ?", query.before],
      ["updated_at <= ?", query.unchangedSince],
      [hasProperties("body"), query.body]
    ])
    const where = conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`
    const text = `SELECT ${recordColumns} FROM recovery_records ${where} ORDER BY key DESC LIMIT ${limitOf(query)}`
    return (queries.prepare(text).all(...params) as ReadonlyArray<RecordTableRow>).map((row) =>
      marked(toRecord(row), recordProblem(row))
    )
  }

  return {
    write: (record, counts) => access.write("Writing a record", (now) => write(record, counts, now)),
    findRecord: (kind, id) =>
      access.read("Finding a record", () => Option.map(Option.fromNullable(findRow(kind, id)), toRecord)),
    records: (query) => access.read("Listing records", () => list(query)),
    removeRecords: (keys) => removeEach(access, "Removing records", keys, (key) => remove.run(key).changes === 1),
    count: (counts) => access.write("Counting", () => count(counts)),
    counters: (prefix) =>
      access.read("Reading counters", () =>
        (counters.all(prefix, afterPrefix(prefix)) as ReadonlyArray<Counter>).map(checkedCounter)
      )
  }
}
