/** The statements of a save, inside of its transaction. */
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { snapshotChecksum } from "../checksum.js"
import { leaseLost } from "../rows.js"
import type { LeaseLost } from "../StorageError.js"
import type { Lease, NewSnapshot, SaveOptions } from "../Store.js"
import { fromLabels } from "../sqlite/rows.js"
import type { Access, Run } from "./access.js"
import { isOrNull, type Part, part, runTogether, type Tables, whereAll } from "./reading.js"
import { fullColumns } from "./snapshotRows.js"

export interface Save extends Pick<SaveOptions, "after" | "ifKeyExists"> {
  readonly snapshot: NewSnapshot
}

/** Functions of one statement take few enough parameters. */
const locksAtOnce = 500

export const makeSaving = (access: Access) => {
  const { table } = access
  const keys = access.dialect.name === "sqlite" ? makeSqliteKeys(access) : makePgKeys(access)

  /**
   * Keeps other saves in these places out until the commit, so that each sees what
   * the others have saved. SQLite has one writer.
   */
  const lockPlaces = (run: Run, saves: ReadonlyArray<Save>): Effect.Effect<void, SqlError> => {
    if (access.dialect.name === "sqlite") return Effect.void
    // In order, so that two saves cannot wait for each other.
    const locks = [...new Map(saves.flatMap((save) => locksOf(table("snapshots"), save)))].sort(([a], [b]) =>
      a < b ? -1 : 1
    )
    const pages = Array.from({ length: Math.ceil(locks.length / locksAtOnce) }, (_, i) =>
      locks.slice(i * locksAtOnce, (i + 1) * locksAtOnce)
    )
    return Effect.forEach(
      pages,
      (page) =>
        run(
          `SELECT ${page.map(([, kind]) => `${kind}(hashtextextended(?, 0))`).join(", ")}`,
          page.map(([place]) => place)
        ),
      { discard: true }
    )
  }

  /** The newest snapshot of the run and name is still the one that the save follows. */
  const isAfter = (run: Run, { after, snapshot }: Save) => {
    if (after === undefined) return Effect.succeed(true)
    const where = whereAll([isOrNull("run", snapshot.run), part("name = ?", snapshot.name), part("rewound = 0")])
    const text = `SELECT key FROM ${table("snapshots")} ${where.text} ORDER BY key DESC LIMIT 1`
    return Effect.map(run<{ readonly key: unknown }>(text, where.params), ([last]) => Number(last?.key ?? 0) === after)
  }

  /** A snapshot of the same key is to be kept. */
  const isKept = (run: Run, { ifKeyExists, snapshot }: Save) => {
    if (ifKeyExists !== "keep" || snapshot.own === undefined) return Effect.succeed(false)
    const where = samePlace(snapshot)
    return Effect.map(
      run(`SELECT 1 AS one FROM ${table("snapshots")} ${where.text} LIMIT 1`, where.params),
      (found) => found.length > 0
    )
  }

  const save = (run: Run, save: Save, key: number): Effect.Effect<Option.Option<number>, SqlError> =>
    Effect.gen(function* () {
      const { snapshot } = save
      if (!(yield* isAfter(run, save)) || (yield* isKept(run, save))) return Option.none()
      const isReplacing = snapshot.own !== undefined && save.ifKeyExists !== "keep"
      const where = samePlace(snapshot)
      yield* runTogether(access, run, [
        ...(isReplacing ? [part(`DELETE FROM ${table("snapshots")} ${where.text}`, ...where.params)] : []),
        ...insertRow(access, snapshot, key)
      ])
      return Option.some(key)
    })

  return { lockPlaces, keys, save }
}

/** The places of a save, with how they are locked. */
const locksOf = (table: string, { after, snapshot }: Save): ReadonlyArray<readonly [place: string, kind: string]> => {
  const { name, own, run = null, step } = snapshot
  const isAlone = after !== undefined
  // A save that compares excludes all others of its name, and one that replaces those of its key.
  const ofName = [
    JSON.stringify([table, run, name]),
    isAlone ? "pg_advisory_xact_lock" : "pg_advisory_xact_lock_shared"
  ] as const
  return own === undefined
    ? [ofName]
    : [ofName, [JSON.stringify([table, run, name, step, own]), "pg_advisory_xact_lock"] as const]
}

/** The snapshot of the same key of the program, unless a rewind revoked it. */
const samePlace = ({ name, own, run, step }: NewSnapshot): Part =>
  whereAll([part("name = ? AND own = ?", name, own), isOrNull("run", run), part("step = ? AND rewound = 0", step)])

const insertRow = (tables: Tables, snapshot: NewSnapshot, key: number): ReadonlyArray<Part> => {
  const { about, digest, encoding, kind, name, own, run, schema, seq, size, state, step, version } = snapshot
  const labels = fromLabels(snapshot.labels)
  // A BIGINT is whole.
  const at = Math.trunc(snapshot.at)
  const facts = { key, run, step, seq, name, own, kind, version, schema, digest, size, encoding, labels, about, at }
  const checksum = snapshotChecksum(facts, state)
  const place = [key, run ?? null, step, seq, name, own ?? null, kind]
  const values = [...place, version, schema, digest, size, encoding, labels, about, at, 0, checksum]
  const isSqlite = tables.dialect.name === "sqlite"
  const states = isSqlite ? [state] : typeof state === "string" ? [state, null] : [null, state]
  const marks = [...values, ...states].map(() => "?").join(", ")
  const row = part(
    `INSERT INTO ${tables.table("snapshots")} (${fullColumns(tables)}) VALUES (${marks})`,
    ...values,
    ...states
  )
  // A trigger does it in SQLite. That of Postgres could not read a label with a NUL.
  if (isSqlite || labels === "{}") return [row]
  const index = part(
    `INSERT INTO ${tables.table("labels")} (label, value, snapshot)
     SELECT label, value, ?::bigint FROM unnest(?::text[], ?::text[]) AS given (label, value)`,
    key,
    Object.keys(snapshot.labels),
    Object.values(snapshot.labels)
  )
  return [row, index]
}

/** The numbers of so many new snapshots. Fails if the lease is lost. */
type Keys = (
  run: Run,
  saves: ReadonlyArray<Save>,
  lease: Lease | undefined
) => Effect.Effect<ReadonlyArray<number>, SqlError | LeaseLost>

const leased = "key = ? AND token = ? AND owner = ?"

/** From a sequence: its numbers rise, and are never used again. */
const makePgKeys = ({ dialect, table }: Tables): Keys => {
  const sequence = table("snapshot_keys").replaceAll("'", "''")
  const runs = table("runs")
  const numbers = `SELECT nextval('${sequence}') AS key FROM generate_series(1, ?::int) AS number`
  const fenced = `SELECT nextval('${sequence}') AS key
    FROM (SELECT 1 FROM ${runs} WHERE ${leased}${dialect.lock("share")}) AS lease, generate_series(1, ?::int) AS number`
  return (run, saves, lease) => {
    const count = Math.max(saves.length, lease === undefined ? 0 : 1)
    if (count === 0) return Effect.succeed([])
    const rows =
      lease === undefined
        ? run<{ readonly key: unknown }>(numbers, [count])
        : run<{ readonly key: unknown }>(fenced, [lease.key, lease.token, lease.owner, count])
    return Effect.flatMap(rows, (found) =>
      lease !== undefined && found.length === 0 ? leaseLost(lease) : Effect.succeed(found.map(({ key }) => Number(key)))
    )
  }
}

/** Rise with the clock and are never used again, even after a removal, at a quarter of the cost of AUTOINCREMENT. */
const makeSqliteKeys = ({ table }: Tables): Keys => {
  let lastGiven = 0
  return (run, saves, lease) =>
    Effect.gen(function* () {
      if (lease !== undefined) {
        const found = yield* run(`SELECT 1 AS one FROM ${table("runs")} WHERE ${leased}`, [
          lease.key,
          lease.token,
          lease.owner
        ])
        if (found.length === 0) return yield* leaseLost(lease)
      }
      const [newest] = yield* run<{ readonly key: number | null }>(`SELECT max(key) AS key FROM ${table("snapshots")}`)
      return saves.map(({ snapshot }) => {
        lastGiven = Math.max(lastGiven + 1, (newest?.key ?? 0) + 1, Math.floor(snapshot.at) * 1_000)
        return lastGiven
      })
    })
}
