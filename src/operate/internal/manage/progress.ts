import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Foreign from "../../../resilience/Foreign.js"
import { statusCounts } from "../records/counters.js"
import {
  notBefore,
  type RecoveryDetails,
  recoveries,
  type Stored,
  scopeOf,
  startOf,
  truncateMessage
} from "../records/records.js"
import { countsOfEnd, type EndedRecovery } from "../records/recoveries.js"

/** The stored recovery has another revision: another process gave it its final status. */
export class ChangedElsewhere {
  readonly _tag = "ChangedElsewhere"
}

/** The stored record of a recovery in progress. Each change is stored before the recovery continues. */
export type Progress = Ref.Ref<Stored<RecoveryDetails>>

export const insertRecovery = Effect.fnUntraced(function* (
  id: string,
  labels: Readonly<Record<string, string>>,
  details: RecoveryDetails
) {
  const startedAt = new Date(yield* Clock.currentTimeMillis)
  const draft = { id, subject: details.failure ?? "", labels, details: { ...details, startedAt }, status: "pending" }
  const written = yield* recoveries.write(draft, statusCounts(scopeOf(labels), details.type, undefined, "pending"))
  if (Option.isNone(written)) return yield* Effect.fail(new ChangedElsewhere())
  return yield* Ref.make(written.value)
})

const update = (
  progress: Progress,
  more: Partial<RecoveryDetails>,
  status: Stored<RecoveryDetails>["status"],
  counts: Parameters<typeof recoveries.write>[1] = []
) =>
  Effect.gen(function* () {
    const { details, id, labels, revision, subject } = yield* Ref.get(progress)
    const draft = { id, subject, labels, revision, status, details: { ...details, ...more } }
    const written = yield* recoveries.write(draft, counts)
    if (Option.isNone(written)) return yield* Effect.fail(new ChangedElsewhere())
    yield* Ref.set(progress, written.value)
    // Interrupted between write and set, the next write would have an outdated revision.
  }).pipe(Effect.uninterruptible)

/** Stores details. The first of them moves the recovery from `pending` to `in_progress`. */
export const storeDetails = (progress: Progress, more: Partial<RecoveryDetails>) =>
  Effect.flatMap(Ref.get(progress), ({ details, labels, status }) =>
    update(
      progress,
      more,
      "in_progress",
      status === "pending" ? statusCounts(scopeOf(labels), details.type, "pending", "in_progress") : []
    )
  )

/** Runs one step of the plan and stores its start, its end, and the text it returns. */
export const runStep = <E, R>(progress: Progress, step: string, work: Effect.Effect<string, E, R>) =>
  Effect.gen(function* () {
    const startedAt = new Date(yield* Clock.currentTimeMillis)
    const earlier = (yield* Ref.get(progress)).details.progress
    yield* storeDetails(progress, { progress: [...earlier, { step, status: "in_progress", startedAt }] })
    const exit = yield* Effect.exit(work)
    const endedAt = notBefore(startedAt, yield* Clock.currentTimeMillis)
    const status = Exit.isSuccess(exit) ? ("completed" as const) : ("failed" as const)
    const detail = Exit.isSuccess(exit) ? exit.value : truncateMessage(messageOf(exit.cause))
    const ended = { step, status, startedAt, endedAt, detail }
    yield* Effect.uninterruptible(storeDetails(progress, { progress: [...earlier, ended] }))
    yield* exit
  })

export const messageOf = (cause: Cause.Cause<unknown>): string => {
  if (Cause.isInterruptedOnly(cause)) return "It was interrupted."
  return Foreign.messageOf(Cause.squash(cause))
}

/** Gives the recovery its final status. */
export const endRecovery = (progress: Progress, status: EndedRecovery["status"], error: string | undefined) =>
  Effect.gen(function* () {
    const found = yield* Ref.get(progress)
    const now = yield* Clock.currentTimeMillis
    const endedAt = notBefore(startOf(found), now)
    // A step that was interrupted could not store its end.
    const steps = found.details.progress.map((step) =>
      step.status === "in_progress" ? { ...step, status: "failed" as const, endedAt, detail: error } : step
    )
    const counts = countsOfFinalStatus(found, now, status)
    yield* update(progress, { error, progress: steps, completedAt: endedAt }, status, counts)
  })

/** The counters that change when a stored recovery gets its final status. */
export const countsOfFinalStatus = (found: Stored<RecoveryDetails>, now: number, status: EndedRecovery["status"]) => {
  const { details, labels, status: from } = found
  const millis = notBefore(startOf(found), now).getTime() - startOf(found).getTime()
  const results = status === "cancelled" ? [] : [{ strategy: details.type, succeeded: status === "completed" }]
  const ended = { details, labels, status, millis, results }
  return countsOfEnd(now, ended, from === "pending" ? from : "in_progress")
}
