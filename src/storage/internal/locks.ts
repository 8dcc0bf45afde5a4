import type { LockRow } from "../Storage.js"

/**
 * The next fencing token. No less than the time, so that it rises also after
 * the last one was forgotten: by a power cut, or because the lock was removed.
 */
export const nextToken = (last: number, now: number): number => Math.max(last + 1, Math.trunc(now))

export const isHeld = ({ leaseUntil, owner }: LockRow, now: number): boolean =>
  owner !== undefined && leaseUntil !== undefined && leaseUntil > now

/** The next token is made of the time alone then, and must not be one that was given out. */
export const isUnused = (row: LockRow, since: number, now: number): boolean =>
  !isHeld(row, now) && row.since < since && row.token < now
