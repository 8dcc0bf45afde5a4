import type { Run, Status } from "../Storage.js"

/** How a run stands, derived: no flag can be left behind by a process that died. */
export const statusOf = (run: Pick<Run, "outcome" | "leaseUntil" | "dueAt">, now: number): Status => {
  if (run.outcome !== undefined) return run.outcome.status
  if (run.leaseUntil !== undefined && run.leaseUntil > now) return "running"
  return run.dueAt > now ? "suspended" : "stopped"
}

/** Since when a run that nobody advances could go on. */
export const dueSince = ({ dueAt, leaseUntil }: Pick<Run, "leaseUntil" | "dueAt">): number =>
  Math.max(dueAt, leaseUntil ?? 0)

/** How many to list, whatever was asked for; 100 unless it says otherwise. */
export const limitOf = ({ limit = 100 }: { readonly limit?: number | undefined }): number =>
  Number.isNaN(limit) ? 100 : Math.min(Math.max(0, Math.trunc(limit)), Number.MAX_SAFE_INTEGER)
