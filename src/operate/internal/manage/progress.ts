import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { statusCounts } from "../records/counts.js"
import { type RecoveryDetails, recoveries, type Stored, scopeOf } from "../records/records.js"
import { countsOfEnd, cutMessage, type Way } from "../records/report.js"

/** Somebody else has given the recovery its final status: it is theirs. */
export class Overtaken {
  readonly _tag = "Overtaken"
}

/** A recovery under way: each change of it is on record before anything follows. */
export interface Open {
  readonly current: Ref.Ref<Stored<RecoveryDetails>>
}

export const begin = Effect.fnUntraced(function* (
  id: string,
  labels: Readonly<Record<string, string>>,
  details: RecoveryDetails
) {
  const scope = scopeOf(labels)
  const given = { id, subject: details.failure ?? "", labels, details }
  const counts = statusCounts(scope, details.type, undefined, "pending")
  const begun = yield* recoveries.write({ ...given, status: "pending" }, counts)
  if (Option.isNone(begun)) return yield* Effect.fail(new Overtaken())
  const open: Open = { current: yield* Ref.make(begun.value) }
  return open
})

const change = (
  { current }: Open,
  more: Partial<RecoveryDetails>,
  status: Stored<RecoveryDetails>["status"],
  counts: Parameters<typeof recoveries.write>[1] = []
) =>
  Effect.gen(function* () {
    const { details, id, labels, revision, subject } = yield* Ref.get(current)
    const writing = { id, subject, labels, revision, status, details: { ...details, ...more } }
    const written = yield* recoveries.write(writing, counts)
    if (Option.isNone(written)) return yield* Effect.fail(new Overtaken())
    yield* Ref.set(current, written.value)
    // What is known of the record must not fall behind it.
  }).pipe(Effect.uninterruptible)

/** With the first thing that is noted of it, it is in progress. */
export const note = (open: Open, more: Partial<RecoveryDetails>) =>
  Effect.flatMap(Ref.get(open.current), ({ details, labels, status }) =>
    change(
      open,
      more,
      "in_progress",
      status === "pending" ? statusCounts(scopeOf(labels), details.type, "pending", "in_progress") : []
    )
  )

/** Runs one step of the plan; what it answers is its detail. */
export const step = <E, R>(open: Open, name: string, work: Effect.Effect<string, E, R>) =>
  Effect.gen(function* () {
    const startedAt = new Date(yield* Clock.currentTimeMillis)
    const { progress } = (yield* Ref.get(open.current)).details
    yield* note(open, { progress: [...progress, { step: name, status: "in_progress", startedAt }] })
    const exit = yield* Effect.exit(work)
    const endedAt = new Date(yield* Clock.currentTimeMillis)
    const status = Exit.isSuccess(exit) ? ("completed" as const) : ("failed" as const)
    const detail = Exit.isSuccess(exit) ? exit.value : cutMessage(inWords(exit.cause))
    yield* Effect.uninterruptible(
      note(open, { progress: [...progress, { step: name, status, startedAt, endedAt, detail }] })
    )
    yield* exit
  })

export const inWords = (cause: Cause.Cause<unknown>): string => {
  if (Cause.isInterruptedOnly(cause)) return "It was interrupted."
  const [first] = Cause.prettyErrors(cause)
  return first?.message ?? Cause.pretty(cause)
}

export const end = (open: Open, status: "completed" | "failed" | "cancelled", error: string | undefined) =>
  Effect.gen(function* () {
    const found = yield* Ref.get(open.current)
    const now = yield* Clock.currentTimeMillis
    const endedAt = new Date(now)
    // Whoever was interrupted in a step could not say so.
    const progress = found.details.progress.map((one) =>
      one.status === "in_progress" ? { ...one, status: "failed" as const, endedAt, detail: error } : one
    )
    yield* change(open, { error, progress, completedAt: endedAt }, status, countsAtEnd(found, now, status))
  })

/** What is counted when a recovery is given its final status. */
export const countsAtEnd = (
  { at, details, labels, status: from }: Stored<RecoveryDetails>,
  now: number,
  status: "completed" | "failed" | "cancelled"
) => {
  const ways: ReadonlyArray<Way> =
    status === "cancelled" ? [] : [{ strategy: details.type, isGood: status === "completed" }]
  return countsOfEnd(
    now,
    { details, labels, status, millis: now - at, ways },
    from === "pending" ? from : "in_progress"
  )
}
