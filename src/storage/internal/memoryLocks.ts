import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { isHeld, isUnused, nextToken, type Plain } from "../rows.js"
import type { Locked, LockRow, LockStore } from "../Store.js"

export const makeMemoryLocks = (): LockStore => {
  const locks = new Map<string, LockRow>()

  const lock = (name: string, owner: string, leaseMillis: number, now: number): Locked => {
    const row = locks.get(name)
    if (row !== undefined && isHeld(row, now)) return { _tag: "Held", row }
    const token = nextToken(row?.token ?? 0, now)
    locks.set(name, { name, token, owner, since: now, leaseUntil: now + leaseMillis })
    return { _tag: "Locked", lease: { name, token, owner } }
  }

  /** Returns false if the lock is not the owner's. */
  const change = (name: string, owner: string, changes: Partial<LockRow>): boolean => {
    const row = locks.get(name)
    if (row?.owner !== owner) return false
    locks.set(name, { ...row, ...changes })
    return true
  }

  const timed = <A extends Plain>(operation: (now: number) => A) => Effect.map(Clock.currentTimeMillis, operation)

  return {
    lock: (name, owner, leaseMillis) => timed((now) => lock(name, owner, leaseMillis, now)),
    renewLock: ({ name, owner }, leaseMillis) => timed((now) => change(name, owner, { leaseUntil: now + leaseMillis })),
    unlock: (name, owner) =>
      timed((now) => change(name, owner, { owner: undefined, leaseUntil: undefined, since: now })),
    findLock: (name) => Effect.sync(() => Option.fromNullable(locks.get(name))),
    locks: Effect.sync(() => [...locks.values()].sort((a, b) => (a.name < b.name ? -1 : 1))),
    removeLocks: (unusedSince) =>
      timed(
        (now) => [...locks.values()].filter((row) => isUnused(row, unusedSince, now) && locks.delete(row.name)).length
      )
  }
}
