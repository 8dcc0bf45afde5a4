import type { Run, Status } from "../Storage.js"

/** How a run stands, derived: no flag can be left behind by a process that died. */
export const statusOf = (run: Pick<Run, "outcome" | "leaseUntil">, now: number): Status => {
  if (run.outcome !== undefined) return run.outcome.status
  return run.leaseUntil !== undefined && run.leaseUntil > now ? "running" : "stopped"
}
