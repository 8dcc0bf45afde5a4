import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { hasProperties, limitOf, parseJson } from "../rows.js"
import type { Count, Counter, RecordQuery, RecordRow, RecordStore, RecordWrite, StoredRow } from "../Store.js"

type RestoredRow = Extract<StoredRow, { readonly _tag: "Record" | "Counter" }>

export const makeMemoryRecords = () => {
  /** By kind and id. */
  const rows = new Map<string, RecordRow>()
  const counts = new Map<string, number>()
  let lastKey = 0
  const placeOf = (kind: string, id: string) => JSON.stringify([kind, id])

  const count = (added: ReadonlyArray<Count>): void => {
    for (const { add, name } of added) counts.set(name, (counts.get(name) ?? 0) + add)
  }

  const write = (record: RecordWrite, added: ReadonlyArray<Count>, now: number): RecordRow | undefined => {
    const place = placeOf(record.kind, record.id)
    const known = rows.get(place)
    if ((known?.revision ?? 0) !== record.revision) return undefined
    const labels = { ...record.labels }
    const revision = record.revision + 1
    const row = { ...record, labels, revision, key: known?.key ?? ++lastKey, at: known?.at ?? now, updatedAt: now }
    rows.set(place, row)
    count(added)
    return row
  }

  /** What has the place of this row. A counter at 0 counts as absent. */
  const inPlaceOf = (row: RestoredRow): RestoredRow | undefined => {
    if (row._tag === "Counter") {
      const value = counts.get(row.counter.name) ?? 0
      return value === 0 ? undefined : { _tag: "Counter", counter: { name: row.counter.name, value } }
    }
    const record = rows.get(placeOf(row.record.kind, row.record.id))
    return record && { _tag: "Record", record }
  }

  const restore = (row: RestoredRow): void => {
    if (row._tag === "Counter") {
      counts.set(row.counter.name, row.counter.value)
      return
    }
    const { damaged: _, ...record } = row.record
    rows.set(placeOf(record.kind, record.id), { ...record, labels: { ...record.labels }, key: ++lastKey })
  }

  const list = (query: RecordQuery): ReadonlyArray<RecordRow> =>
    [...rows.values()]
      .filter((row) => matches(row, query))
      .sort((a, b) => b.key - a.key)
      .slice(0, limitOf(query))

  const counters = (prefix: string): ReadonlyArray<Counter> =>
    [...counts]
      .filter(([name, value]) => value !== 0 && name.startsWith(prefix))
      .map(([name, value]) => ({ name, value }))
      .sort((a, b) => (a.name < b.name ? -1 : 1))

  const remove = (keys: ReadonlyArray<number>): number => {
    const wanted = new Set(keys)
    return [...rows].filter(([place, { key }]) => wanted.has(key) && rows.delete(place)).length
  }

  const store: RecordStore = {
    write: (record, added) =>
      Effect.map(Clock.currentTimeMillis, (now) => Option.fromNullable(write(record, added, now))),
    findRecord: (kind, id) => Effect.sync(() => Option.fromNullable(rows.get(placeOf(kind, id)))),
    records: (query) => Effect.sync(() => list(query)),
    removeRecords: (keys) => Effect.sync(() => remove(keys)),
    count: (added) => Effect.sync(() => count(added)),
    counters: (prefix) => Effect.sync(() => counters(prefix))
  }
  const usage = () => ({
    records: rows.size,
    bytes: [...rows.values()].reduce((sum, { body }) => sum + body.length, 0)
  })
  return { store, usage, inPlaceOf, restore }
}

const matches = (row: RecordRow, query: RecordQuery): boolean =>
  (query.kind === undefined || row.kind === query.kind) &&
  (query.subject === undefined || row.subject === query.subject) &&
  (query.scope === undefined || row.scope === query.scope) &&
  (query.status === undefined || row.status === query.status) &&
  (query.before === undefined || row.key < query.before) &&
  (query.unchangedSince === undefined || row.updatedAt <= query.unchangedSince) &&
  (query.body === undefined || hasProperties(parseJson(row.body), query.body))
