import { isGone } from "../../../host/owner.js"
import type { LockStatus } from "../../../lock/LockError.js"

/** Who acquired a lock, or gave it back, and when. */
export interface Record {
  readonly token: number
  readonly since: number
  readonly owner?: string
}

/** How each record begins, so that other files are not taken for one. */
export const beginning = `{"token":`

/** The first line counts: behind it may be the rest of a longer one. */
export const parseRecord = (text: string): Record | undefined => {
  try {
    const { owner, since, token }: Partial<Record> = JSON.parse(text.split("\n", 1)[0] ?? "")
    if (!Number.isSafeInteger(token) || typeof token !== "number" || typeof since !== "number") return undefined
    return typeof owner === "string" ? { token, since, owner } : { token, since }
  } catch {
    return undefined
  }
}

/** Nobody, if the record is empty or damaged: then it decides nothing but the next token. */
export const statusOf = (lock: string, record: Record | undefined): LockStatus => {
  const { owner, since, token = 0 } = record ?? {}
  const state = owner === undefined ? "free" : isGone(owner) ? "stale" : "held"
  return { lock, state, token, owner, since }
}
