import type { Count, Counter, RecordQuery, RecordRow, RecordWrite } from "../Storage.js"
import { limitOf } from "./status.js"

/** Records by kind and id, oldest first, and counters by name. */
export const makeMemoryRecords = () => {
  const all = new Map<string, RecordRow>()
  const counted = new Map<string, number>()
  let last = 0
  const place = (kind: string, id: string) => JSON.stringify([kind, id])

  const count = (counts: ReadonlyArray<Count>): void => {
    for (const { add, name } of counts) counted.set(name, (counted.get(name) ?? 0) + add)
  }

  const write = (record: RecordWrite, counts: ReadonlyArray<Count>, now: number): RecordRow | undefined => {
    const at = place(record.kind, record.id)
    const known = all.get(at)
    if ((known?.revision ?? 0) !== record.revision) return undefined
    const labels = { ...record.labels }
    const revision = record.revision + 1
    const row = { ...record, labels, revision, key: known?.key ?? ++last, at: known?.at ?? now, updatedAt: now }
    all.set(at, row)
    count(counts)
    return row
  }

  const list = (query: RecordQuery): ReadonlyArray<RecordRow> =>
    [...all.values()]
      .filter((row) => matches(row, query))
      .sort((a, b) => b.key - a.key)
      .slice(0, limitOf(query))

  const counters = (prefix: string): ReadonlyArray<Counter> =>
    [...counted]
      .filter(([name, value]) => value !== 0 && name.startsWith(prefix))
      .map(([name, value]) => ({ name, value }))
      .sort((a, b) => (a.name < b.name ? -1 : 1))

  const remove = (keys: ReadonlyArray<number>): number => {
    const wanted = new Set(keys)
    return [...all].filter(([at, { key }]) => wanted.has(key) && all.delete(at)).length
  }

  const usage = () => ({ records: all.size, bytes: [...all.values()].reduce((sum, { body }) => sum + body.length, 0) })

  return { write, count, list, counters, remove, usage, find: (kind: string, id: string) => all.get(place(kind, id)) }
}

const matches = (row: RecordRow, query: RecordQuery): boolean =>
  row.kind === query.kind &&
  (query.subject === undefined || row.subject === query.subject) &&
  (query.scope === undefined || row.scope === query.scope) &&
  (query.status === undefined || row.status === query.status) &&
  (query.before === undefined || row.key < query.before) &&
  (query.unchangedSince === undefined || row.updatedAt <= query.unchangedSince)
