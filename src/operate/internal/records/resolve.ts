import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Storage from "../../../storage/Storage.js"
import type { FailureRecord } from "../../FailureRecord.js"
import type { RecordDamaged } from "../../OperateError.js"
import { resolvedCounts } from "./counts.js"
import { type FailureDetails, failures, type Stored } from "./records.js"

/** Tries again while somebody else changes it. */
const change = (
  id: string,
  more: (found: Stored<FailureDetails>) => Partial<Stored<FailureDetails>> | undefined,
  counts: (found: Stored<FailureDetails>) => ReadonlyArray<Storage.Count>
): Effect.Effect<void, Storage.StorageError | RecordDamaged, Storage.Storage> =>
  Effect.gen(function* () {
    const found = Option.getOrUndefined(yield* failures.find(id))
    const changed = found && more(found)
    if (found === undefined || changed === undefined) return
    const { details, labels, revision, status, subject } = { ...found, ...changed }
    const written = yield* failures.write({ id, subject, labels, revision, status, details }, counts(found))
    if (Option.isNone(written)) yield* change(id, more, counts)
  })

/** Whoever only saw that the run has completed does not know what has brought it about. */
export const byItsRun = "its run"

/** An open failure becomes a resolved one, once. */
export const resolveFailure = (id: string, by: string) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    change(
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
  change(
    id,
    ({ details }) => ({ details: { ...details, retries: details.retries + 1 } }),
    () => []
  )
