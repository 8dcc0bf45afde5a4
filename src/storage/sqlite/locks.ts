import { isHeld, isUnused, nextToken } from "../internal/locks.js"
import type { Locked, LockLease, LockRow } from "../Storage.js"
import type { Database } from "./driver.js"

interface Row {
  readonly name: string
  readonly token: number
  readonly owner: string | null
  readonly since: number
  readonly lease_until: number | null
}

const toLockRow = ({ lease_until, owner, ...row }: Row): LockRow => ({
  ...row,
  owner: owner ?? undefined,
  leaseUntil: lease_until ?? undefined
})

/** Locks by name, each change fenced by the owner, who is another one at each acquisition. */
export const makeSqliteLocks = (database: Database, isGone: (owner: string) => boolean) => {
  const find = database.prepare(`SELECT name, token, owner, since, lease_until FROM recovery_locks WHERE name = ?`)
  const list = database.prepare(`SELECT name, token, owner, since, lease_until FROM recovery_locks ORDER BY name`)
  const take = database.prepare(
    `INSERT INTO recovery_locks (name, token, owner, since, lease_until) VALUES ($name, $token, $owner, $now, $until)
     ON CONFLICT (name) DO UPDATE SET token = $token, owner = $owner, since = $now, lease_until = $until`
  )
  const renew = database.prepare(`UPDATE recovery_locks SET lease_until = ? WHERE name = ? AND owner = ?`)
  const unlock = database.prepare(
    `UPDATE recovery_locks SET owner = NULL, lease_until = NULL, since = ? WHERE name = ? AND owner = ?`
  )
  const remove = database.prepare(`DELETE FROM recovery_locks WHERE name = ?`)

  /** The lock of a process that is gone has ended, whatever it says. */
  const toLiving = (found: unknown): LockRow => {
    const row = toLockRow(found as Row)
    return row.owner !== undefined && isGone(row.owner) ? { ...row, owner: undefined, leaseUntil: undefined } : row
  }

  const findLock = (name: string): LockRow | undefined => {
    const found = find.get(name)
    return found === undefined ? undefined : toLiving(found)
  }

  return {
    find: findLock,
    list: () => list.all().map(toLiving),
    lock: (name: string, owner: string, now: number, leaseMillis: number): Locked => {
      const row = findLock(name)
      if (row !== undefined && isHeld(row, now)) return { _tag: "Held", row }
      const token = nextToken(row?.token ?? 0, now)
      take.run({ name, token, owner, now, until: now + leaseMillis })
      return { _tag: "Locked", lease: { name, token, owner } }
    },
    renew: ({ name, owner }: LockLease, until: number) => renew.run(until, name, owner).changes === 1,
    unlock: (name: string, owner: string, now: number) => unlock.run(now, name, owner).changes === 1,
    remove: (unusedSince: number, now: number) => {
      const unused = list
        .all()
        .map(toLiving)
        .filter((row) => isUnused(row, unusedSince, now))
      for (const { name } of unused) remove.run(name)
      return unused.length
    }
  }
}
