import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { FailureRecord } from "../../FailureRecord.js"
import { resolvedCounts } from "./counts.js"
import { failures } from "./records.js"

/** Whoever only saw that the run has completed does not know what has brought it about. */
export const byItsRun = "its run"

/** An open failure becomes a resolved one, once. */
export const resolveFailure = (id: string, by: string) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    failures.update(
      id,
      ({ details, status }) => {
        const isResolved = status === "resolved"
        if (isResolved && (details.resolvedBy !== byItsRun || by === byItsRun)) return undefined
        const resolvedAt = isResolved ? details.resolvedAt : new Date(now)
        return { status: "resolved", details: { ...details, resolvedBy: by, resolvedAt } }
      },
      ({ scope, status }) => (status === "resolved" ? [] : resolvedCounts(scope))
    )
  )

/** With it go all others of its run: there is nothing left of them to recover. */
export const resolveRun = ({ id, run }: FailureRecord, by: string) =>
  Effect.gen(function* () {
    yield* resolveFailure(id, by)
    if (run !== undefined) yield* resolveAllOf(run, by)
  })

export const resolveAllOf = (run: string, by: string) =>
  Effect.flatMap(failures.list({ subject: run, status: "open" }), (all) =>
    Effect.forEach(all, ({ id }) => resolveFailure(id, by), { discard: true })
  )

export const countRetry = (id: string) =>
  failures.update(id, ({ details }) => ({ details: { ...details, retries: details.retries + 1 } }))
