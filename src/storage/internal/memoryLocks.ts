import type { Locked, LockLease, LockRow } from "../Storage.js"
import { isHeld, isUnused, nextToken } from "./locks.js"

/** Locks by name. */
export const makeMemoryLocks = () => {
  const all = new Map<string, LockRow>()

  const lock = (name: string, owner: string, now: number, leaseMillis: number): Locked => {
    const row = all.get(name)
    if (row !== undefined && isHeld(row, now)) return { _tag: "Held", row }
    const token = nextToken(row?.token ?? 0, now)
    all.set(name, { name, token, owner, since: now, leaseUntil: now + leaseMillis })
    return { _tag: "Locked", lease: { name, token, owner } }
  }

  /** Changes the row of a lock that still is its owner's. */
  const change = (name: string, owner: string, more: Partial<LockRow>): boolean => {
    const row = all.get(name)
    if (row?.owner !== owner) return false
    all.set(name, { ...row, ...more })
    return true
  }

  return {
    lock,
    renew: ({ name, owner }: LockLease, leaseUntil: number) => change(name, owner, { leaseUntil }),
    unlock: (name: string, owner: string, now: number) =>
      change(name, owner, { owner: undefined, leaseUntil: undefined, since: now }),
    find: (name: string) => all.get(name),
    list: () => [...all.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
    remove: (unusedSince: number, now: number) =>
      [...all.values()].filter((row) => isUnused(row, unusedSince, now) && all.delete(row.name)).length
  }
}
