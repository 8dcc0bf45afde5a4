import type { Run, Status } from "../Storage.js"

/** How a run stands, derived: no flag can be left behind by a process that died. */
export const statusOf = (run: Pick<Run, "outcome" | "leaseUntil">, now: number): Status => {
  if (run.outcome !== undefined) return run.outcome.status
  return run.leaseUntil !== undefined && run.leaseUntil > now ? "running" : "stopped"
}

/** How many to list, whatever was asked for; 100 unless it says otherwise. */
export const limitOf = ({ limit = 100 }: { readonly limit?: number | undefined }): number =>
  Number.isNaN(limit) ? 100 : Math.min(Math.max(0, Math.trunc(limit)), Number.MAX_SAFE_INTEGER)
