import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { recordChecksum } from "../checksum.js"
import { compareKeys, limitOf } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import type { Count, Counter, RecordQuery, RecordRow, RecordStore, RecordWrite } from "../Store.js"
import { fromLabels, marked } from "../sqlite/rows.js"
import type { Access, Run } from "./access.js"
import { decoding, decodingEach } from "./errors.js"
import { asWhole, currentTime, type Part, part, removeByKey, type Tables, toNumbers, whereAll } from "./reading.js"
import {
  afterPrefix,
  checkedCounter,
  checkedRecord,
  type RecordTableRow,
  recordColumns,
  recordNumbers,
  recordProblem,
  toRecord
} from "./recordRows.js"

/** What a write stores. */
type Next = Omit<RecordTableRow, "key" | "revision"> & { readonly labels: string; readonly revision: number }

export const makeSqlRecords = (access: Access): RecordStore => {
  const { table } = access
  const numbered = toNumbers<RecordTableRow>(access, ...recordNumbers)
  const statements = makeStatements(access)

  const find = (kind: string, id: string): Effect.Effect<RecordTableRow | undefined, StorageError> =>
    Effect.flatMap(access.read<RecordTableRow>(finding, statements.find, [kind, id]), ([row]) =>
      decoding(finding, () => row && checkedRecord(kind, id, numbered(row)))
    )

  /** The time, and when the record was first written: the checksum covers both. None if there is no such record. */
  const timesOf = ({ id, kind, revision }: RecordWrite): Effect.Effect<Times | undefined, StorageError> =>
    revision === 0
      ? Effect.map(currentTime(access, writing), (now) => ({ now, at: now }))
      : Effect.flatMap(access.now, ({ params, text }) =>
          Effect.flatMap(
            access.read<RecordTableRow & { readonly now: unknown }>(writing, statements.findAt(text), [
              ...params,
              kind,
              id
            ]),
            ([row]) =>
              decoding(writing, () => row && { at: checkedRecord(kind, id, numbered(row)).at, now: Number(row.now) })
          )
        )

  const write = (
    record: RecordWrite,
    counts: ReadonlyArray<Count>
  ): Effect.Effect<Option.Option<RecordRow>, StorageError> =>
    Effect.gen(function* () {
      const { body, id, kind, revision, scope, status, subject } = record
      const times = yield* timesOf(record)
      if (times === undefined) return Option.none()
      const { at, now } = times
      const facts = { kind, id, subject, scope, status, labels: fromLabels(record.labels), at, updatedAt: now, body }
      const next = { ...facts, revision: revision + 1, checksum: recordChecksum({ ...facts, revision: revision + 1 }) }
      const key = yield* statements.write(next, counts)
      return Option.map(key, (key) => toRecord({ ...next, key }))
    })

  return {
    write,
    findRecord: (kind, id) => Effect.map(find(kind, id), (row) => Option.map(Option.fromNullable(row), toRecord)),
    records: (query) => {
      const { params, text } = statements.list(query)
      return Effect.flatMap(access.read<RecordTableRow>("Listing records", text, params), (rows) =>
        decodingEach("Listing records", rows, (stored) => {
          const row = numbered(stored)
          return marked(toRecord(row), recordProblem(row))
        })
      )
    },
    removeRecords: (keys) => {
      const { params, text } = removeByKey(access, "records", keys)
      return Effect.map(access.write("Removing records", text, params), ({ length }) => length)
    },
    count: statements.count,
    counters: (prefix) =>
      Effect.flatMap(
        access.read<Counter>(
          "Reading counters",
          `SELECT name, value FROM ${table("counters")} WHERE name >= ? AND name < ? AND value <> 0 ORDER BY name`,
          [prefix, afterPrefix(prefix)]
        ),
        (rows) => decoding("Reading counters", () => rows.map(toNumbers<Counter>(access, "value")).map(checkedCounter))
      )
  }
}

const finding = "Finding a record"
const writing = "Writing a record"

interface Times {
  readonly now: number
  readonly at: number
}

const makeStatements = (access: Access) => {
  const { dialect, table } = access
  const records = table("records")
  const isSqlite = dialect.name === "sqlite"

  /** Answers the key of the row, unless another revision is stored. */
  const writeRow = (next: Next): Part => {
    const { at, body, checksum, id, kind, labels, revision, scope, status, subject, updatedAt } = next
    if (revision === 1) {
      return part(
        `INSERT INTO ${records} (kind, id, subject, scope, status, labels, at, updated_at, revision, body, checksum)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (kind, id) DO NOTHING RETURNING key`,
        ...[kind, id, subject, scope, status, labels, at, updatedAt, body, checksum]
      )
    }
    return part(
      `UPDATE ${records} SET subject = ?, scope = ?, status = ?, labels = ?, updated_at = ?, revision = ?, body = ?, checksum = ?
       WHERE kind = ? AND id = ? AND revision = ? AND at = ? RETURNING key`,
      ...[subject, scope, status, labels, updatedAt, revision, body, checksum, kind, id, revision - 1, at]
    )
  }

  type Written = { readonly key: unknown }
  const keyOf = ([row]: ReadonlyArray<Written>) => Option.map(Option.fromNullable(row), ({ key }) => Number(key))

  return {
    find: `SELECT ${recordColumns} FROM ${records} WHERE kind = ? AND id = ?`,
    findAt: (now: string) => `SELECT ${recordColumns}, ${now} AS now FROM ${records} WHERE kind = ? AND id = ?`,
    write: (next: Next, counts: ReadonlyArray<Count>): Effect.Effect<Option.Option<number>, StorageError> => {
      const row = writeRow(next)
      const added = addAll(access, counts)
      if (added === undefined) return Effect.map(access.write<Written>(writing, row.text, row.params), keyOf)
      if (isSqlite) {
        const both = (run: Run): Effect.Effect<Option.Option<number>, SqlError> =>
          Effect.tap(Effect.map(run<Written>(row.text, row.params), keyOf), (key) =>
            Option.isNone(key) ? Effect.void : run(added.text, added.params)
          )
        return access.transaction(writing, both)
      }
      // The row is written first, because the counters wait for whether it was.
      const counted = addAll(access, counts, "EXISTS (SELECT 1 FROM written)")
      const text = `WITH written AS (${row.text}), counted AS (${counted?.text}) SELECT key FROM written`
      return Effect.map(access.write<Written>(writing, text, [...row.params, ...(counted?.params ?? [])]), keyOf)
    },
    count: (counts: ReadonlyArray<Count>): Effect.Effect<void, StorageError> => {
      const added = addAll(access, counts)
      return added === undefined ? Effect.void : Effect.asVoid(access.write("Counting", added.text, added.params))
    },
    list: (query: RecordQuery): Part => {
      const { before, body, kind, scope, status, subject, unchangedSince } = query
      const given = [
        ["kind = ?", kind],
        ["subject = ?", subject],
        ["scope = ?", scope],
        ["status = ?", status],
        ["key < ?", before === undefined ? undefined : asWhole(before, Math.ceil)],
        ["updated_at <= ?", unchangedSince === undefined ? undefined : asWhole(unchangedSince, Math.floor)],
        [dialect.hasProperties("body"), body]
      ] as const
      const where = whereAll(given.flatMap(([text, value]) => (value === undefined ? [] : [part(text, value)])))
      const tail = `ORDER BY key DESC LIMIT ${limitOf(query)}`
      return part(`SELECT ${recordColumns} FROM ${records} ${where.text} ${tail}`, ...where.params)
    }
  }
}

/** Adds to counters in order of their names, so that two statements cannot wait for each other. */
const addAll = ({ dialect, table }: Tables, counts: ReadonlyArray<Count>, condition = "true"): Part | undefined => {
  const sums = new Map<string, number>()
  for (const { add, name } of counts) sums.set(name, (sums.get(name) ?? 0) + add)
  if (sums.size === 0) return undefined
  const added = [...sums].sort(([a], [b]) => compareKeys(a, b))
  const given =
    dialect.name === "sqlite"
      ? part(`(VALUES ${added.map(() => "(?, ?)").join(", ")}) AS given`, ...added.flat())
      : part(
          "unnest(?::text[], ?::bigint[]) AS given (name, value)",
          added.map(([name]) => name),
          added.map(([, value]) => value)
        )
  const columns = dialect.name === "sqlite" ? "column1, column2" : "name, value"
  return part(
    `INSERT INTO ${table("counters")} AS known (name, value) SELECT ${columns} FROM ${given.text} WHERE ${condition}
     ON CONFLICT (name) DO UPDATE SET value = known.value + excluded.value`,
    ...given.params
  )
}
