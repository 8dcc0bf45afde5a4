/** Queries over snapshots, each by the index that fits it. */
import { limitOf } from "../rows.js"
import type { SnapshotQuery } from "../Store.js"
import { asWhole, isOneOf, isOrNull, type Part, part, type Tables, whereAll } from "./reading.js"

type Label = readonly [label: string, value: string]

/** Enough to tell a rare label from a common one. */
const sample = 200

/** How often the label occurs, counted up to what tells a rare one from a common one. */
export const countLabel = ({ table }: Tables): string =>
  `(SELECT count(*) FROM (SELECT 1 FROM ${table("labels")} WHERE label = ? AND value = ? ORDER BY snapshot DESC LIMIT ${sample}) counted)`

/** The labels of which the rarest leads to the snapshots. Empty if another condition leads to few of them. */
export const leadingLabels = ({ labels = {}, own, run }: SnapshotQuery): ReadonlyArray<Label> =>
  typeof run === "string" || own !== undefined ? [] : Object.entries(labels)

/** `rarest` is the label whose index is read; the others are looked up for each row. */
export const selectSnapshots = (tables: Tables, columns: string, query: SnapshotQuery, rarest?: Label): Part => {
  const { dialect, table } = tables
  const key = rarest === undefined ? "key" : "snapshot"
  const others = Object.entries(query.labels ?? {}).filter(
    ([label, value]) => label !== rarest?.[0] || value !== rarest[1]
  )
  const where = whereAll([
    ...(rarest === undefined ? [] : [part("label = ? AND value = ?", ...rarest)]),
    ...conditionsOf(tables, query, key),
    ...others.map((label) => hasLabel(tables, label))
  ])
  const snapshots = table("snapshots")
  // SQLite joins in the order that is written after CROSS JOIN; Postgres knows how common a label is.
  const join = dialect.name === "sqlite" ? "CROSS JOIN" : "JOIN"
  const from = rarest === undefined ? snapshots : `${table("labels")} ${join} ${snapshots} ON key = snapshot`
  const text = `SELECT ${columns} FROM ${from} ${where.text} ORDER BY ${orderOf(query, key)} LIMIT ${limitOf(query)}`
  return part(text, ...where.params)
}

/** As `selectSnapshots`, with the states, which are read after the sort: a sort by key would carry those of all matches along. */
export const selectFullSnapshots = (tables: Tables, columns: string, query: SnapshotQuery, rarest?: Label): Part => {
  if (!isByKey(query)) return selectSnapshots(tables, columns, query, rarest)
  const found = selectSnapshots(tables, "key", query, rarest)
  const text = `SELECT ${columns} FROM ${tables.table("snapshots")} WHERE key IN (${found.text}) ORDER BY ${orderOf(query, "key")}`
  return part(text, ...found.params)
}

const hasLabel = ({ table }: Tables, [label, value]: Label): Part =>
  part(
    `EXISTS (SELECT 1 FROM ${table("labels")} other WHERE other.label = ? AND other.value = ? AND other.snapshot = key)`,
    label,
    value
  )

/** `key` is the column with the number: that of the index which the statement reads in order. */
const conditionsOf = (tables: Tables, query: SnapshotQuery, key: string): ReadonlyArray<Part> => {
  const { metadata, own, past, run } = query
  const given = [
    ["name = ?", query.name],
    ["kind = ?", query.kind],
    ["kind <> ?", query.except],
    [`${key} < ?`, query.before === undefined ? undefined : asWhole(query.before, Math.ceil)],
    [`${key} > ?`, query.after === undefined ? undefined : asWhole(query.after, Math.floor)],
    ["at < ?", query.takenBefore === undefined ? undefined : asWhole(query.takenBefore, Math.ceil)],
    ["at > ?", query.takenAfter === undefined ? undefined : asWhole(query.takenAfter, Math.floor)],
    ["own < ?", query.ownBefore],
    ["own > ?", query.ownAfter]
  ] as const
  return [
    ...(run === undefined ? [] : [isOrNull("run", run)]),
    ...given.flatMap(([text, value]) => (value === undefined ? [] : [part(text, value)])),
    ...(own === undefined ? [] : [isOneOf(tables, "own", own, "text")]),
    ...(query.rewound === true ? [] : [part("rewound = 0")]),
    ...(isByKey(query) ? [part("own IS NOT NULL")] : []),
    ...(past === undefined ? [] : [isPast(query, key, past)]),
    ...(metadata === undefined ? [] : [part(tables.dialect.hasProperties("about", "metadata"), metadata)])
  ]
}

export const isByKey = ({ order }: SnapshotQuery): boolean => order === "highestKey" || order === "lowestKey"

const isAscending = ({ order }: SnapshotQuery): boolean => order === "oldest" || order === "lowestKey"

const isPast = (query: SnapshotQuery, key: string, past: NonNullable<SnapshotQuery["past"]>): Part => {
  const compare = isAscending(query) ? ">" : "<"
  return isByKey(query)
    ? part(`(own, ${key}) ${compare} (?, ?)`, past.own ?? "", past.key)
    : part(`${key} ${compare} ?`, past.key)
}

const orderOf = (query: SnapshotQuery, key: string): string => {
  const direction = isAscending(query) ? "ASC" : "DESC"
  return isByKey(query) ? `own ${direction}, ${key} ${direction}` : `${key} ${direction}`
}
