/** Rows of locks, in whatever database they are stored. */
import { clockTolerance } from "../rows.js"
import type { LockRow } from "../Store.js"
import { isTime, refuseDamaged } from "../sqlite/rows.js"

export const lockColumns = 'name, token, owner, since, lease_until AS "leaseUntil"'

/** A lock as it is stored. */
export type LockTableRow = Omit<LockRow, "owner" | "leaseUntil"> & {
  readonly owner: string | null
  readonly leaseUntil: number | null
}

/** Throws if a column holds something else. The lock of a dead process is free, whatever its row says. */
export const toLockRow = ({ leaseUntil, owner, ...row }: LockTableRow, isGone: (owner: string) => boolean): LockRow => {
  const { name, since, token } = row
  const isRight = typeof token === "number" && isTime(since) && typeof (leaseUntil ?? 0) === "number"
  const problem = isRight && typeof (owner ?? "") === "string" ? undefined : "a column is stored as something else"
  refuseDamaged(problem, () => `lock "${name}"`)
  const isOwned = owner !== null && !isGone(owner)
  return { ...row, owner: isOwned ? owner : undefined, leaseUntil: isOwned ? (leaseUntil ?? undefined) : undefined }
}

/** As `isHeld`, of a row in SQL at the time `now`. */
export const heldAt = (row: string, now: string): string =>
  `(${row}owner IS NOT NULL AND COALESCE(${row}lease_until, 0) > ${now}
    AND NOT (${row}since - ${now} > ${clockTolerance} AND COALESCE(${row}lease_until, 0) >= ${row}since))`
