import * as Option from "effect/Option"
import { isHeld, isUnused, nextToken } from "../rows.js"
import type { Locked, LockRow, LockStore } from "../Store.js"
import { type LockTableRow, lockColumns, toLockRow } from "../sql/lockRows.js"
import type { Database } from "./driver.js"
import type { Access } from "./SqliteStore.js"

/** Changes of a lock check its owner, which is unique to each acquisition. */
export const makeSqliteLocks = (database: Database, isGone: (owner: string) => boolean, access: Access): LockStore => {
  const find = database.prepare(`SELECT ${lockColumns} FROM recovery_locks WHERE name = ?`)
  const list = database.prepare(`SELECT ${lockColumns} FROM recovery_locks ORDER BY name`)
  const take = database.prepare(
    `INSERT INTO recovery_locks (name, token, owner, since, lease_until) VALUES ($name, $token, $owner, $now, $until)
     ON CONFLICT (name) DO UPDATE SET token = $token, owner = $owner, since = $now, lease_until = $until`
  )
  const renew = database.prepare(`UPDATE recovery_locks SET lease_until = ? WHERE name = ? AND owner = ?`)
  const unlock = database.prepare(
    `UPDATE recovery_locks SET owner = NULL, lease_until = NULL, since = ? WHERE name = ? AND owner = ?`
  )
  const remove = database.prepare(`DELETE FROM recovery_locks WHERE name = ?`)

  const toRow = (row: LockTableRow) => toLockRow(row, isGone)

  const findLock = (name: string): LockRow | undefined => {
    const row = find.get(name) as LockTableRow | undefined
    return row && toRow(row)
  }

  const locks = () => (list.all() as ReadonlyArray<LockTableRow>).map(toRow)

  const lock = (name: string, owner: string, leaseMillis: number, now: number): Locked => {
    const row = findLock(name)
    if (row !== undefined && isHeld(row, now)) return { _tag: "Held", row }
    const token = nextToken(row?.token ?? 0, now)
    take.run({ name, token, owner, now, until: now + leaseMillis })
    return { _tag: "Locked", lease: { name, token, owner } }
  }

  const removeUnused = (since: number, now: number): number => {
    const unused = locks().filter((row) => isUnused(row, since, now))
    for (const { name } of unused) remove.run(name)
    return unused.length
  }

  return {
    lock: (name, owner, leaseMillis) => access.write("Acquiring a lock", (now) => lock(name, owner, leaseMillis, now)),
    renewLock: ({ name, owner }, leaseMillis) =>
      access.write("Renewing a lock", (now) => renew.run(now + leaseMillis, name, owner).changes === 1),
    unlock: (name, owner) => access.write("Releasing a lock", (now) => unlock.run(now, name, owner).changes === 1),
    findLock: (name) => access.read("Finding a lock", () => Option.fromNullable(findLock(name))),
    locks: access.read("Listing locks", locks),
    removeLocks: (unusedSince) => access.write("Removing locks", (now) => removeUnused(unusedSince, now))
  }
}
