import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import { entryChecksums } from "../checksum.js"
import { leaseLost } from "../rows.js"
import type { LeaseLost } from "../StorageError.js"
import type { Entry, Lease } from "../Store.js"
import type { Run } from "./access.js"
import type { Tables } from "./reading.js"

export const appending = "Appending to the journal"

/**
 * Inserts a line if the lease is in force, and keeps other owners from claiming
 * the run until the commit. Answers whether it did. The line names the one before it.
 */
export const insertLine = (tables: Tables) => {
  const { dialect, table } = tables
  const text = `INSERT INTO ${table("journal")}
      (run, seq, kind, step, attempt, at, payload, checksum, payload_checksum, previous)
    SELECT key, CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS INTEGER), CAST(? AS BIGINT), CAST(? AS TEXT),
      CAST(? AS INTEGER), CAST(? AS INTEGER), (SELECT MAX(seq) FROM ${table("journal")} WHERE run = held.key)
    FROM (SELECT key FROM ${table("runs")} WHERE key = ? AND token = ? AND owner = ?${dialect.lock("share")}) AS held
    RETURNING seq`
  const params = (lease: Lease, entry: Entry): ReadonlyArray<unknown> => {
    const { at, attempt, kind, payload = null, seq, step } = storable(entry)
    const { checksum, payloadChecksum } = entryChecksums(lease.key, storable(entry))
    return [seq, kind, step, attempt, at, payload, checksum, payloadChecksum, lease.key, lease.token, lease.owner]
  }
  const insert = (run: Run, lease: Lease, entry: Entry): Effect.Effect<boolean, SqlError> =>
    Effect.map(run(text, params(lease, entry)), (rows) => rows.length === 1)
  return Object.assign(insert, { text, params })
}

/** Of Postgres: as `insertLine`, if the line `after` of the run is there. The commit of `unsynced` does not wait for the disk. */
export const insertLineAfter = (tables: Tables) => {
  const { params, text } = insertLine(tables)
  const isThere = `(CAST(? AS BIGINT) IS NULL OR EXISTS (
      SELECT 1 FROM ${tables.table("journal")} AS before WHERE before.run = key AND before.seq = ?))`
  const synced = text.replace("AND owner = ?", `AND owner = ? AND ${isThere}`)
  const unsynced = `WITH unsynced AS (SELECT set_config('synchronous_commit', 'off', true))
    ${synced.replace("AS held", "AS held, unsynced")}`
  return {
    synced,
    unsynced,
    params: ({ after, lease }: Append, entry: Entry) => [...params(lease, entry), after ?? null, after ?? null]
  }
}

/** A BIGINT is whole. */
export const storable = (entry: Entry): Entry =>
  Number.isInteger(entry.at) ? entry : { ...entry, at: Math.trunc(entry.at) }

/** Lines that are written under one lease, all or none. */
export interface Append {
  readonly lease: Lease
  readonly entries: ReadonlyArray<Entry>
  /** As that of `RunStore.append`. */
  readonly durability?: "process-crash" | undefined
  /** A line of the run that must be there; none of them if it is undefined. */
  readonly after?: number | undefined
}

interface Line {
  readonly lease: Lease
  readonly entry: Entry
  /** The line before it in the same statement. */
  readonly previous: number | null
  readonly after: number | undefined
}

/** The lines of a lease are written all or none, so each may name the one before it. */
export const linesOf = (appends: ReadonlyArray<Append>): ReadonlyArray<Line> => {
  const lasts = new Map<string, number>()
  return appends.flatMap(({ after, entries, lease }) =>
    entries.map((entry): Line => {
      const place = `${lease.key}/${lease.token}/${lease.owner}`
      const previous = lasts.get(place) ?? null
      lasts.set(place, entry.seq)
      return { lease, entry: storable(entry), previous, after }
    })
  )
}

/**
 * Of Postgres: the lines of many runs as one statement, which returns those whose lease is in force, and whose line
 * `after` is there.
 */
export const lineSet = ({ table }: Tables) => {
  const text = `WITH given AS (
      SELECT * FROM unnest(?::bigint[], ?::bigint[], ?::text[], ?::bigint[], ?::text[], ?::text[], ?::int[], ?::bigint[],
        ?::text[], ?::int[], ?::int[], ?::bigint[], ?::bigint[])
        AS lines (run, token, owner, seq, kind, step, attempt, at, payload, checksum, payload_checksum, previous, after)
    ), held AS (
      SELECT key, token, owner FROM ${table("runs")} WHERE key = ANY(?::bigint[]) ORDER BY key FOR SHARE
    )
    INSERT INTO ${table("journal")} (run, seq, kind, step, attempt, at, payload, checksum, payload_checksum, previous)
    SELECT run, seq, kind, step, attempt, at, payload, checksum, payload_checksum,
      COALESCE(previous, (SELECT MAX(seq) FROM ${table("journal")} AS before WHERE before.run = given.run))
    FROM given JOIN held ON held.key = given.run AND held.token = given.token AND held.owner = given.owner
    WHERE after IS NULL OR EXISTS (
      SELECT 1 FROM ${table("journal")} AS before WHERE before.run = given.run AND before.seq = after)
    RETURNING run, seq`
  const params = (appends: ReadonlyArray<Append>): ReadonlyArray<unknown> => {
    const lines = linesOf(appends)
    const column = (valueOf: (line: Line) => unknown) => lines.map(valueOf)
    const sums = lines.map(({ entry, lease }) => entryChecksums(lease.key, entry))
    return [
      column(({ lease }) => lease.key),
      column(({ lease }) => lease.token),
      column(({ lease }) => lease.owner),
      column(({ entry }) => entry.seq),
      column(({ entry }) => entry.kind),
      column(({ entry }) => entry.step),
      column(({ entry }) => entry.attempt),
      column(({ entry }) => entry.at),
      column(({ entry }) => entry.payload ?? null),
      sums.map(({ checksum }) => checksum),
      sums.map(({ payloadChecksum }) => payloadChecksum),
      column(({ previous }) => previous),
      column(({ after }) => after ?? null),
      [...new Set(appends.map(({ lease }) => lease.key))]
    ]
  }
  return { text, params }
}

/** Inserts all lines, or fails if the lease is lost. Postgres takes more than one line as a set. */
export const insertLines = (tables: Tables) => {
  const insert = insertLine(tables)
  const set = lineSet(tables)
  const isPg = tables.dialect.name === "pg"
  return (run: Run, lease: Lease, entries: ReadonlyArray<Entry>): Effect.Effect<void, SqlError | LeaseLost> => {
    if (isPg && entries.length > 1) {
      return Effect.flatMap(run(set.text, set.params([{ lease, entries }])), (rows) =>
        rows.length === entries.length ? Effect.void : leaseLost(lease)
      )
    }
    // The insert of the first line checks the lease for all of them.
    return Effect.forEach(
      entries,
      (entry) => Effect.flatMap(insert(run, lease, entry), (isThere) => (isThere ? Effect.void : leaseLost(lease))),
      { discard: true }
    )
  }
}
