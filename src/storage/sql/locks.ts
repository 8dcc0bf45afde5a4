import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { StorageError } from "../StorageError.js"
import type { Locked, LockRow, LockStore } from "../Store.js"
import type { Access } from "./access.js"
import { decoding } from "./errors.js"
import { heldAt, type LockTableRow, lockColumns, toLockRow } from "./lockRows.js"
import { asWhole, toNumbers } from "./reading.js"

const acquiring = "Acquiring a lock"

/** Runs a statement with the time. The text gets its expression once, between the parameters. */
const makeTimed =
  (access: Access) =>
  <R extends object>(
    operation: string,
    how: "read" | "write",
    text: (now: string) => string,
    before: ReadonlyArray<unknown>,
    after: ReadonlyArray<unknown> = []
  ): Effect.Effect<ReadonlyArray<R>, StorageError> =>
    Effect.flatMap(access.now, (now) => access[how]<R>(operation, text(now.text), [...before, ...now.params, ...after]))

type Lock = (
  name: string,
  owner: string,
  leaseMillis: number,
  gone?: string | null
) => Effect.Effect<Locked, StorageError>

/** `gone` is an owner that is known to be dead. */
const makeAcquisition = (access: Access, toRow: (row: LockTableRow) => LockRow): Lock => {
  const { dialect, table } = access
  const locks = table("locks")
  const timed = makeTimed(access)
  // A lock whose row is damaged is refused. Postgres stores nothing else in such a column.
  const isSound =
    dialect.name === "sqlite"
      ? "typeof(known.token) IN ('integer', 'real') AND typeof(known.since) IN ('integer', 'real')"
      : "true"

  /** Acquires the lock unless it is held; `gone` is an owner that is known to be dead. Answers the token. */
  const acquire = (name: string, owner: string, leaseMillis: number, gone: string | null) =>
    timed<{ readonly token: unknown }>(
      acquiring,
      "write",
      // The token is at least the time, so that tokens rise even after a power cut or a removal erased the latest one.
      (now) => `INSERT INTO ${locks} AS known (name, token, owner, since, lease_until)
        SELECT ?, ${dialect.greatest("1", "now")}, ?, now, now + ? FROM (SELECT ${now} AS now) AS clock
        WHERE true ON CONFLICT (name) DO UPDATE SET token = ${dialect.greatest("known.token + 1", "excluded.since")},
          owner = excluded.owner, since = excluded.since, lease_until = excluded.lease_until
        WHERE ${isSound} AND (NOT ${heldAt("known.", "excluded.since")} OR known.owner = ?) RETURNING token`,
      [name, owner, asWhole(leaseMillis, Math.ceil)],
      [gone]
    )

  const look = (name: string) =>
    Effect.flatMap(
      timed<LockTableRow & { readonly held: unknown }>(
        acquiring,
        "read",
        (now) => `SELECT ${lockColumns}, CASE WHEN ${heldAt("", "now")} THEN 1 ELSE 0 END AS held
          FROM (SELECT ${now} AS now) AS clock, ${locks} WHERE name = ?`,
        [],
        [name]
      ),
      ([row]) =>
        decoding(acquiring, () => {
          if (row === undefined) return undefined
          const { held, ...found } = row
          const lock = toRow(found)
          return Number(held) === 1 ? { owner: row.owner, row: lock } : undefined
        })
    )

  const lock: Lock = (name, owner, leaseMillis, gone = null) =>
    Effect.flatMap(acquire(name, owner, leaseMillis, gone), ([acquired]) => {
      if (acquired !== undefined) {
        return Effect.succeed<Locked>({ _tag: "Locked", lease: { name, token: Number(acquired.token), owner } })
      }
      return Effect.flatMap(look(name), (held): Effect.Effect<Locked, StorageError> => {
        // It became free between the two statements.
        if (held === undefined) return lock(name, owner, leaseMillis)
        if (held.row.owner === undefined) return lock(name, owner, leaseMillis, held.owner)
        return Effect.succeed<Locked>({ _tag: "Held", row: held.row })
      })
    })
  return lock
}

/** Changes of a lock check its owner, which is unique to each acquisition. Each is one statement. */
export const makeSqlLocks = (access: Access, isGone: (owner: string) => boolean = () => false): LockStore => {
  const { dialect, table } = access
  const locks = table("locks")
  const numbered = toNumbers<LockTableRow>(access, "token", "since", "leaseUntil")
  const toRow = (row: LockTableRow) => toLockRow(numbered(row), isGone)
  const timed = makeTimed(access)
  const lock = makeAcquisition(access, toRow)

  const find = (operation: string, where: string, params: ReadonlyArray<unknown>) =>
    Effect.flatMap(
      access.read<LockTableRow>(operation, `SELECT ${lockColumns} FROM ${locks} ${where}`, params),
      (rows) => decoding(operation, (): ReadonlyArray<LockRow> => rows.map(toRow))
    )

  const isChanged = Effect.map((rows: ReadonlyArray<object>) => rows.length === 1)
  return {
    lock: (name, owner, leaseMillis) => lock(name, owner, leaseMillis),
    renewLock: ({ name, owner }, leaseMillis) =>
      isChanged(
        Effect.flatMap(access.now, (now) =>
          access.write(
            "Renewing a lock",
            `UPDATE ${locks} SET lease_until = ${now.text} + ? WHERE name = ? AND owner = ? RETURNING name`,
            [...now.params, asWhole(leaseMillis, Math.ceil), name, owner],
            { idempotent: true }
          )
        )
      ),
    unlock: (name, owner) =>
      isChanged(
        timed(
          "Releasing a lock",
          "write",
          (now) => `UPDATE ${locks} SET owner = NULL, lease_until = NULL, since = ${now}
            WHERE name = ? AND owner = ? RETURNING name`,
          [],
          [name, owner]
        )
      ),
    findLock: (name) =>
      Effect.map(find("Finding a lock", "WHERE name = ?", [name]), ([row]) => Option.fromNullable(row)),
    locks: find("Listing locks", "ORDER BY name", []),
    removeLocks: (unusedSince) =>
      Effect.map(
        timed(
          "Removing locks",
          "write",
          // The next token of a removed lock comes from the clock alone, so the clock must have passed its last one.
          (now) => `DELETE FROM ${locks} WHERE name IN (
            SELECT name FROM (SELECT ${now} AS now) AS clock, ${locks} AS known
            WHERE NOT ${heldAt("", "now")} AND since < ? AND token < now ORDER BY name${dialect.lock("update", "known")}
          ) RETURNING name`,
          [],
          [asWhole(unusedSince, Math.ceil)]
        ),
        ({ length }) => length
      )
  }
}
