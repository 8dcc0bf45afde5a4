/** What the parts of a store over SQL share: pieces of statements, and rows that become values. */
import * as Effect from "effect/Effect"
import { clockTolerance } from "../rows.js"
import type { StorageError } from "../StorageError.js"
import type { Access, Run } from "./access.js"

/** A piece of a statement with its parameters, in the order of their `?`. */
export interface Part {
  readonly text: string
  readonly params: ReadonlyArray<unknown>
}

/** The names and the dialect of the tables, all that a text needs. */
export type Tables = Pick<Access, "dialect" | "table">

export const part = (text: string, ...params: ReadonlyArray<unknown>): Part => ({ text, params })

/** The conditions, all of which must hold; empty for none. */
export const whereAll = (conditions: ReadonlyArray<Part>): Part =>
  conditions.length === 0
    ? part("")
    : part(`WHERE ${conditions.map(({ text }) => text).join(" AND ")}`, ...conditions.flatMap(({ params }) => params))

/** The column is one of the values. Lists are one parameter, so their length changes no text. */
export const isOneOf = (
  { dialect }: Tables,
  column: string,
  values: ReadonlyArray<unknown>,
  type: "text" | "number"
): Part =>
  dialect.name === "sqlite"
    ? part(`${column} IN (SELECT value FROM json_each(?))`, JSON.stringify(values))
    : // An array and no JSON, which Postgres cannot turn into text where it has a NUL.
      part(`${column} = ANY(?::${type === "text" ? "text" : "bigint"}[])`, values)

/** The column is null, or equal. An index serves both, which it does not for a null-safe equality in Postgres. */
export const isOrNull = (column: string, value: string | null | undefined): Part =>
  value === null || value === undefined ? part(`${column} IS NULL`) : part(`${column} = ?`, value)

/** A limit for a whole number: Postgres refuses a fraction where it expects one. */
export const asWhole = (value: number, round: (value: number) => number): number | null =>
  Number.isNaN(value) ? null : Math.min(Math.max(round(value), Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)

/** A number of a row as a parameter. No row has one that is not whole. */
export const asKey = (key: number): number | null => (Number.isSafeInteger(key) ? key : null)

/** Postgres answers a BIGINT as text, or as the client of the program parses it. SQLite answers what is stored. */
export const toNumbers =
  <R extends object>({ dialect }: Tables, ...columns: ReadonlyArray<keyof R & string>) =>
  (row: R): R => {
    if (dialect.name === "sqlite") return row
    const numbers = columns.flatMap((column) => {
      const value = row[column]
      return value === null || value === undefined ? [] : [[column, Number(value)] as const]
    })
    return { ...row, ...Object.fromEntries(numbers) }
  }

/** Rows are removed in order of their keys, so that two removals cannot wait for each other. */
export const removeByKey = (tables: Tables, table: "snapshots" | "records", keys: ReadonlyArray<number>): Part => {
  const given = isOneOf(tables, "key", keys.filter(Number.isSafeInteger), "number")
  const found = `SELECT key FROM ${tables.table(table)} WHERE ${given.text} ORDER BY key${tables.dialect.lock("update")}`
  return part(`DELETE FROM ${tables.table(table)} WHERE key IN (${found}) RETURNING key`, ...given.params)
}

/** The store's clock in JavaScript. Asks the server only if the clock is the server's. */
export const currentTime = (access: Access, operation: string): Effect.Effect<number, StorageError> =>
  Effect.flatMap(access.now, ({ params, text }) => {
    const [known] = params
    if (known !== undefined) return Effect.succeed(known)
    return Effect.map(access.read<{ readonly now: unknown }>(operation, `SELECT ${text} AS now`), ([row]) =>
      Number(row?.now)
    )
  })

/**
 * Statements that change rows, none of which sees what the others change. Postgres
 * runs them as one statement, SQLite one after another.
 */
export const runTogether = ({ dialect }: Tables, run: Run, parts: ReadonlyArray<Part>) => {
  const last = parts.at(-1)
  if (last === undefined) return Effect.void
  if (dialect.name === "sqlite") {
    return Effect.forEach(parts, ({ params, text }) => run(text, params), { discard: true })
  }
  const others = parts.slice(0, -1)
  const before = others.map(({ text }, i) => `part_${i} AS (${text})`)
  const text = before.length === 0 ? last.text : `WITH ${before.join(", ")} ${last.text}`
  return Effect.asVoid(
    run(
      text,
      parts.flatMap(({ params }) => params)
    )
  )
}

/** When a run can be claimed, as the indexes of open runs have it. */
export const dueSince = ({ dialect }: Tables): string => dialect.greatest("due_at", "COALESCE(lease_until, 0)")

/** Whether an open run is claimed without a look at its queue, as an index has it. */
export const isFree = "status IS NULL AND hold_id IS NULL AND (queue IS NULL OR cancel IS NOT NULL)"

/** Whether an open run is claimed within the limits of its queue, as two indexes have it. */
export const isQueued = "status IS NULL AND hold_id IS NULL AND cancel IS NULL AND queue IS NOT NULL"

/** When a run that is leased now was started, see `isStart`. */
export const startedAt = (now: string, isVisit = false): string =>
  `CASE WHEN started_at IS NULL AND (queue IS NULL${isVisit ? "" : " OR cancel IS NULL"}) THEN ${now} ELSE started_at END`

/** Whether a lease is in force: a run is due when it is claimed, so one that is due much later was claimed before the clock was set back. */
export const isLeasedAt = (now: string): string => `(lease_until > ${now} AND due_at <= ${now} + ${clockTolerance})`
